//! Inflation of one message up to a bound that holds while it runs (RFC 7692 §7.2.2).

/// Inflates messages one at a time; a shard owns one for all its sessions.
#[derive(Debug, Default)]
pub struct Inflater {}
