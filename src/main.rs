//! The `belfry` program: parses, runs, prints the chain of an error, exits.

use std::process::ExitCode;

/// Sessions live long among short-lived handshakes; the system's allocator leaves holes of kilobytes between them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match belfry::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belfry: {error:#}");
            ExitCode::FAILURE
        }
    }
}
