//! Parses, runs, prints the chain of an error, exits: 0 when all held, 1 when something could not run, 2 when a check failed.

use std::process::ExitCode;

fn main() -> ExitCode {
    match belfry_loadtest::cli::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("belfry-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
