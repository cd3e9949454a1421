//! A configuration may be any text: each problem is told in a line, and what is taken can be used (PROTOCOL section 8).
//! The input is the file's text, and behind each NUL one `--set`.
#![no_main]

use std::path::PathBuf;

use belfry::auth;
use belfry::config::{Config, Sources};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|&byte| byte == 0);
    let mut sources = Sources { file: Some(file_of(parts.next().unwrap_or_default())), ..Sources::default() };
    for assignment in parts {
        if let Err(problem) = sources.set(&String::from_utf8_lossy(assignment)) {
            assert!(problem.0.contains("--set"));
        }
    }
    match Config::load(&sources) {
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.0.is_empty() && !problem.0.contains('\n'), "{problem:?}");
            }
        }
        Ok(config) => {
            assert!(config.server.shards > 0);
            let again = Config::load(&sources);
            assert!(again.is_ok_and(|again| again.fixed_differences(&config).is_empty()));
            config.warnings().iter().chain(auth::check(&config.auth).iter().map(|problem| &problem.0)).for_each(|told| assert!(!told.is_empty()));
        }
    }
});

/// `text` in a file of this thread's own; the files that it names are looked for beside it, and none is there.
fn file_of(text: &[u8]) -> PathBuf {
    thread_local! {
        static FOLDER: TempDir = TempDir::new().expect("a folder for temporary files can be written to");
    }
    let file = FOLDER.with(|folder| folder.path().join("belfry.toml"));
    std::fs::write(&file, text).expect("a temporary file can be written");
    file
}
