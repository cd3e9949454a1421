//! Reads the files that a configuration names. They are read with it, so that `check` finds a bad one.

use std::path::{Path, PathBuf};

use super::raw::Raw;
use super::section::Entry;

/// The path and text of a PEM file.
pub fn pem_file(entry: &Entry<'_>, raw: &Raw) -> Option<(PathBuf, String)> {
    let (file, text) = text_file(entry, raw)?;
    if !text.contains("-----BEGIN ") {
        entry.refuse("is not a PEM file; give one that holds a line with -----BEGIN …-----");
        return None;
    }
    Some((file, text))
}

/// The path and text of a file.
pub fn text_file(entry: &Entry<'_>, raw: &Raw) -> Option<(PathBuf, String)> {
    let file = raw.resolve(entry.text()?, entry.origin());
    match std::fs::read_to_string(&file) {
        Ok(text) => Some((file, text)),
        Err(error) => {
            refuse_unread(entry, &file, &error);
            None
        }
    }
}

/// Reports that `file`, which `entry` names, can't be read.
pub fn refuse_unread(entry: &Entry<'_>, file: &Path, error: &std::io::Error) {
    let place = if entry.is_shown() { format!("{}: ", file.display()) } else { String::new() };
    entry.refuse(format_args!("can't be read ({place}{error}); give a file that is there and that may be read"));
}
