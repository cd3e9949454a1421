//! Feeds: publishers that live in the gateway.
