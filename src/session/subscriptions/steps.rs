//! How much of a long command is done at a time. A step takes about a microsecond.

/// The steps of a slice.
pub const STEPS_PER_SLICE: usize = 256;

/// A command of so many steps needs no turn of its own.
pub const STEPS_OF_SMALL: usize = 64;
