//! Why a store's file can't be used.

use std::io;

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The disk failed.
    #[error("it can't be read")]
    Read(#[from] io::Error),
    /// The file begins otherwise, or has another version.
    #[error("its format is not one that this version reads")]
    Format,
    /// The file ends before its seal.
    #[error("it is cut short")]
    Short,
    /// The checksum of a record is wrong.
    #[error("a checksum in it is wrong")]
    Checksum,
    /// The content of a record is invalid.
    #[error("{0} in it is malformed")]
    Malformed(&'static str),
    /// Records are missing, duplicated or out of order.
    #[error("{0}")]
    Order(&'static str),
}
