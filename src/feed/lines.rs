//! Reads the lines of a JSON Lines file, one at a time.

use std::io::{self, BufRead, Read};

/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Reads lines from `R` with memory for one of them. A line ends with LF or CR LF, and blank lines are skipped.
pub(super) struct Lines<R> {
    source: R,
    lines_read: u64,
    bytes: Vec<u8>,
}

/// One line, without its line end.
pub(super) struct Line<'a> {
    /// The number of the line, from 1.
    pub number: u64,
    /// The text, or why it can't be read.
    pub text: Result<&'a str, &'static str>,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `source`.
    pub fn new(source: R) -> Self {
        Self { source, lines_read: 0, bytes: Vec::new() }
    }

    /// The next line that is not blank; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.bytes.clear();
            (&mut self.source).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut self.bytes)?;
            if self.bytes.is_empty() {
                return Ok(None);
            }
            self.lines_read += 1;
            let number = self.lines_read;
            if self.bytes.len() > LINE_BYTES_MAX {
                self.skip_rest()?;
                return Ok(Some(Line { number, text: Err("it is longer than 1 MiB") }));
            }
            if !trimmed(&self.bytes, number).is_empty() {
                let text = std::str::from_utf8(trimmed(&self.bytes, number)).map_err(|_| "it is not UTF-8");
                return Ok(Some(Line { number, text }));
            }
        }
    }

    /// Skips the rest of a line that was cut, unless it ended there.
    fn skip_rest(&mut self) -> io::Result<()> {
        while self.bytes.last() != Some(&b'\n') {
            self.bytes.clear();
            if (&mut self.source).take(64 * 1024).read_until(b'\n', &mut self.bytes)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Removes the line end and, on the first line, the byte order mark (U+FEFF).
fn trimmed(bytes: &[u8], number: u64) -> &[u8] {
    let bytes = if number == 1 { bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes) } else { bytes };
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &[u8]) -> Vec<(u64, Result<String, &'static str>)> {
        let mut lines = Lines::new(source);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.text.map(str::to_owned)));
        }
        all
    }

    #[test]
    fn blank_lines_are_skipped_and_line_ends_removed() {
        let all = read("\u{feff}a\r\nb\n\n\r\nc".as_bytes());
        assert_eq!(all, [(1, Ok("a".into())), (2, Ok("b".into())), (5, Ok("c".into()))]);
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_reported() {
        assert_eq!(read(b"\xff\nb\n"), [(1, Err("it is not UTF-8")), (2, Ok("b".into()))]);
    }

    #[test]
    fn a_line_past_the_limit_is_skipped_to_its_end() {
        let mut source = vec![b'x'; 3 * LINE_BYTES_MAX];
        source.extend_from_slice(b"\nb\n");
        assert_eq!(read(&source), [(1, Err("it is longer than 1 MiB")), (2, Ok("b".into()))]);
    }
}
