//! A file to its records, one at a time: lines, or rows that may hold line ends within quotes.

use std::io::{self, BufRead, Read};

use super::csv::Quoting;

/// The longest record, in bytes: a quote that is never closed must not swallow a whole file.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Reads records from `source` with memory for one of them.
pub(super) struct Records<R> {
    source: R,
    /// Whether quotes may hold line ends.
    quoted: bool,
    lines_read: u64,
    bytes: Vec<u8>,
}

/// One record without its line end.
pub(super) struct Record<'a> {
    /// The line that it begins on, from 1.
    pub line: u64,
    /// Its text, or why it has none.
    pub text: Result<&'a str, &'static str>,
}

impl<R: BufRead> Records<R> {
    /// The records of `source`; with `quoted`, CSV's.
    pub fn new(source: R, quoted: bool) -> Self {
        Self { source, quoted, lines_read: 0, bytes: Vec::new() }
    }

    /// The next record that isn't blank; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        loop {
            self.bytes.clear();
            let line = self.lines_read + 1;
            let mut quoting = Quoting::CellStart;
            loop {
                let before = self.bytes.len();
                let room = (RECORD_BYTES_MAX + 1).saturating_sub(before) as u64;
                (&mut self.source).take(room).read_until(b'\n', &mut self.bytes)?;
                if self.bytes.len() > RECORD_BYTES_MAX {
                    self.skip_line()?;
                    return Ok(Some(Record { line, text: Err("it is longer than 1 MiB; is a quote not closed?") }));
                }
                if self.bytes.len() == before {
                    break;
                }
                self.lines_read += 1;
                quoting = quoting.after(without_mark(&self.bytes[before..], self.lines_read));
                if !self.quoted || quoting != Quoting::Quoted {
                    break;
                }
            }
            if self.bytes.is_empty() {
                return Ok(None);
            }
            if !trimmed(&self.bytes, line).is_empty() {
                let text = std::str::from_utf8(trimmed(&self.bytes, line)).map_err(|_| "it is not UTF-8");
                return Ok(Some(Record { line, text }));
            }
        }
    }

    /// Reads on to the end of the line that was cut, unless it ended there.
    fn skip_line(&mut self) -> io::Result<()> {
        self.lines_read += 1;
        while self.bytes.last() != Some(&b'\n') {
            self.bytes.clear();
            if (&mut self.source).take(64 * 1024).read_until(b'\n', &mut self.bytes)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// `bytes` without the mark (U+FEFF) that some programs begin a file with.
fn without_mark(bytes: &[u8], line: u64) -> &[u8] {
    if line == 1 { bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes) } else { bytes }
}

/// `bytes` without the mark and their line end.
fn trimmed(bytes: &[u8], line: u64) -> &[u8] {
    let bytes = without_mark(bytes, line);
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &[u8], quoted: bool) -> Vec<(u64, Result<String, &'static str>)> {
        let mut records = Records::new(source, quoted);
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            all.push((record.line, record.text.map(str::to_owned)));
        }
        all
    }

    #[test]
    fn lines_with_any_end() {
        let all = read("\u{feff}a\r\nb\n\n\r\nc".as_bytes(), true);
        assert_eq!(all, [(1, Ok("a".into())), (2, Ok("b".into())), (5, Ok("c".into()))]);
    }

    /// RFC 4180 §2.6: a line end within quotes belongs to the cell; a JSON line ends all the same.
    #[test]
    fn a_row_over_several_lines() {
        assert_eq!(read("\u{feff}\"a\nb\"\n".as_bytes(), true), [(1, Ok("\"a\nb\"".into()))]);
        let source = b"a,\"b\r\nc\"\"\nd\"\ne\n";
        assert_eq!(read(source, true), [(1, Ok("a,\"b\r\nc\"\"\nd\"".into())), (4, Ok("e".into()))]);
        assert_eq!(read(source, false).len(), 4);
    }

    #[test]
    fn what_is_no_text_is_passed_over() {
        assert_eq!(read(b"\xff\nb\n", true), [(1, Err("it is not UTF-8")), (2, Ok("b".into()))]);
    }

    /// A quote that isn't closed costs a megabyte of the file and no more.
    #[test]
    fn an_open_quote_is_bounded() {
        let mut source = b"\"open\n".to_vec();
        source.extend(std::iter::repeat_n(b"123456789\n", 110_000).flatten());
        let all = read(&source, true);
        assert!(all[0].1.is_err());
        assert_eq!(all[1].1, Ok("123456789".into()));
        assert_eq!(all.last().unwrap().0, 110_001);
    }
}
