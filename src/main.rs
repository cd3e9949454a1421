//! The `belfry` program: the command line, with the allocator set up for it.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::return_free_pages_at_once();
    allocator::avoid_huge_pages();
    belfry::cli::run()
}
