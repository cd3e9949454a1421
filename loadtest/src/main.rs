//! The program. Its exit status is 0 if all checks held, 1 if the test could not run, 2 if a check failed.

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
