//! Why a store's file can't be used.

use std::io;

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The disk.
    #[error("it can't be read")]
    Read(#[from] io::Error),
    /// It begins otherwise.
    #[error("its format is not one that this version reads")]
    Format,
    /// It ends before its seal.
    #[error("it is cut short")]
    Short,
    /// A record's checksum is another.
    #[error("a checksum in it is wrong")]
    Checksum,
    /// A record says what can't be.
    #[error("{0} in it is malformed")]
    Malformed(&'static str),
    /// Records are missing, doubled or out of place.
    #[error("{0}")]
    Order(&'static str),
}
