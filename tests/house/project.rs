//! The files of the project, and the report of a violated rule.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the project, which is that of the main crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of the file `path`, which is relative to the root.
#[track_caller]
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `folder`, except those of git, cargo and npm.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && ![".git", "target", "node_modules"].iter().any(|skipped| name == *skipped) {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every Rust file below `folder`, which is relative to the root.
pub fn rust_files(folder: &str) -> Vec<PathBuf> {
    files(&root().join(folder)).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// `path`, relative to the root.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// Fails with `rule` and its violations, if any were found.
#[track_caller]
pub fn expect_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}
