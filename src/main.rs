//! The `belfry` program: parses, runs, prints the chain of an error, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    match belfry::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belfry: {error:#}");
            ExitCode::FAILURE
        }
    }
}
