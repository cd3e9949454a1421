//! Writes to standard error and standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::anyhow;

/// Prints the program's name and `text` on standard error. Errors of standard error are ignored.
pub(super) fn report(text: impl Display) {
    let _ = writeln!(io::stderr(), "belfry: {text}");
}

/// Prints `text` on standard output. Returns whether the reader has closed it.
pub(super) fn print(text: &[u8]) -> anyhow::Result<bool> {
    let mut output = io::stdout().lock();
    is_closed(output.write_all(text).and_then(|()| output.flush()))
}

/// Whether the reader has closed standard output, which is not an error.
pub(super) fn is_closed(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(anyhow!("can't write to standard output: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_output_is_not_a_failure() {
        assert!(is_closed(Err(ErrorKind::BrokenPipe.into())).unwrap());
        assert!(is_closed(Err(ErrorKind::StorageFull.into())).is_err());
        assert!(!is_closed(Ok(())).unwrap());
    }
}
