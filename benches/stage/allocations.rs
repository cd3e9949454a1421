//! Counts the allocations of the process.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocations of a period.
pub struct Allocations {
    /// The number of allocations and reallocations.
    pub count: usize,
    /// The bytes that were allocated, whether or not they were freed again.
    pub bytes: usize,
}

/// The allocations of all threads while `act` runs.
pub fn allocations(act: impl FnOnce()) -> Allocations {
    let region = Region::new(ALLOCATOR);
    act();
    let change = region.change();
    Allocations { count: change.allocations + change.reallocations, bytes: change.bytes_allocated }
}
