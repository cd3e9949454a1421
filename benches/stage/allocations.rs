//! Counts what the process allocates.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What was allocated in a while.
pub struct Allocations {
    /// How often something was allocated or grew.
    pub count: usize,
    /// How many bytes that were; what was freed meanwhile is not taken off.
    pub bytes: usize,
}

/// What `act` allocates, all threads together.
pub fn allocations(act: impl FnOnce()) -> Allocations {
    let region = Region::new(ALLOCATOR);
    act();
    let change = region.change();
    Allocations { count: change.allocations + change.reallocations, bytes: change.bytes_allocated }
}
