//! The size of slices. A step takes about a microsecond.

/// The steps of one slice of a long command.
pub const STEPS_PER_SLICE: usize = 256;

/// A command of at most this number of steps does not wait for the queue of slices.
pub const STEPS_OF_SMALL: usize = 64;
