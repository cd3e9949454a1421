//! The `belfry` program: parses, runs, prints the chain of an error, exits.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::return_free_pages_at_once();
    match belfry::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belfry: {error:#}");
            ExitCode::FAILURE
        }
    }
}
