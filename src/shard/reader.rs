//! The trait through which what was read goes up to whoever decides.

/// What a shard lends for one reading.
pub struct Lent {}

/// Reads what one session said and decides what follows.
pub trait Reader: Send {}
