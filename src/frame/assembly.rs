//! Fragments to messages, UTF-8 checked as it arrives (RFC 6455 §5.4, §8.1).
