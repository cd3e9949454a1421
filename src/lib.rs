//! Belfry, a push gateway: every message published on a topic reaches all of its subscribers at once.
//!
//! Each module has a layer, and a file imports from lower layers only (`ARCHITECTURE.md` has the map,
//! `tests/house/` holds it to the code).
//!
//! | layer | modules |
//! |---|---|
//! | 8 | [`cli`] |
//! | 7 | [`server`] |
//! | 6 | [`session`] |
//! | 5 | [`shard`] |
//! | 4 | [`dialect`], [`feed`], [`store`], [`cluster`] |
//! | 3 | [`hub`], [`auth`] |
//! | 2 | [`frame`] |
//! | 1 | [`config`], [`metrics`] |
//! | 0 | [`topic_name`], [`position`], [`session_id`], [`codes`], [`clock`], [`token_bucket`], [`client_address`] |

#![forbid(unsafe_code)]

pub mod auth;
pub mod cli;
pub mod client_address;
pub mod clock;
pub mod cluster;
pub mod codes;
pub mod config;
pub mod dialect;
pub mod feed;
pub mod frame;
pub mod hub;
pub mod metrics;
pub mod position;
pub mod server;
pub mod session;
pub mod session_id;
pub mod shard;
pub mod store;
pub mod token_bucket;
pub mod topic_name;
