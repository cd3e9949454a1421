//! One line for the person at the terminal, on standard error.

use std::fmt::Display;
use std::io::Write;

/// Writes `text` behind the program's name. Where standard error is closed or full, nothing is written and the program goes on.
pub(super) fn tell(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "belfry: {text}");
}
