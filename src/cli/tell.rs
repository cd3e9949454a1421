//! Prints one line on standard error.

use std::fmt::Display;
use std::io::Write;

/// Prints the program's name and `text`. Errors of standard error are ignored.
pub(super) fn tell(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "belfry: {text}");
}
