//! Reads the rows of a CSV file (RFC 4180), and turns them into JSON objects.

use std::io::{self, Read};

use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::value::RawValue;

/// The longest row, in bytes. Without a bound, a quote that is never closed would read the whole file into memory.
const ROW_BYTES_MAX: usize = 1024 * 1024;

/// Reads rows from `R` with memory for one of them. A line ends with LF, CR LF or CR, and blank lines are skipped.
pub(super) struct Rows<R> {
    reader: Reader<Bounded<R>>,
    record: ByteRecord,
}

pub(super) struct Row<'a> {
    /// The line on which the row begins, from 1. Lines that end with CR only are not counted.
    pub line: u64,
    /// The cells, or an error if the row is not UTF-8.
    pub cells: Result<Vec<&'a str>, &'static str>,
}

/// A reader that returns at most `left` bytes, until `left` is set again.
struct Bounded<R> {
    source: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a row is longer than 1 MiB; is a quote not closed?"));
        }
        let most = buffer.len().min(self.left);
        let read = self.source.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

impl<R: Read> Rows<R> {
    /// The rows of `source`.
    pub fn new(source: R) -> Self {
        let bounded = Bounded { source, left: ROW_BYTES_MAX };
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded);
        Self { reader, record: ByteRecord::new() }
    }

    /// The next row; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Row<'_>>> {
        self.reader.get_mut().left = ROW_BYTES_MAX;
        if !self.reader.read_byte_record(&mut self.record)? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let cells = self.record.iter().map(std::str::from_utf8).collect::<Result<_, _>>().map_err(|_| "it is not UTF-8");
        Ok(Some(Row { line, cells }))
    }
}

/// An object with `keys` in order. A cell that is a JSON number keeps its digits, and any other cell becomes a string.
/// `keys` are JSON strings, quotes included.
pub(super) fn object(keys: &[String], cells: &[&str]) -> Vec<u8> {
    let mut object = Vec::with_capacity(64);
    for (index, (key, cell)) in keys.iter().zip(cells).enumerate() {
        object.push(if index == 0 { b'{' } else { b',' });
        object.extend_from_slice(key.as_bytes());
        object.push(b':');
        if is_json_number(cell) {
            object.extend_from_slice(cell.as_bytes());
        } else {
            object.extend_from_slice(json_string(cell).as_bytes());
        }
    }
    object.push(b'}');
    object
}

/// `text` as a JSON string.
pub(super) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether `text` is a JSON number (RFC 8259 §6).
fn is_json_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|number| number.get().len() == text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(source: &[u8]) -> Vec<(u64, Result<Vec<String>, &'static str>)> {
        let mut rows = Rows::new(source);
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            all.push((row.line, row.cells.map(|cells| cells.into_iter().map(str::to_owned).collect())));
        }
        all
    }

    fn row(line: u64, cells: &[&str]) -> (u64, Result<Vec<String>, &'static str>) {
        (line, Ok(cells.iter().map(|&cell| cell.to_owned()).collect()))
    }

    /// RFC 4180 §2: quotes, doubled quotes, and line ends within quotes. A byte order mark at the beginning is skipped.
    #[test]
    fn quoted_cells_are_parsed() {
        let source = "\u{feff}a,b,\n\"a,b\",\"say \"\"hi\"\"\",\"x\r\ny\"\nc,,\"\"\n";
        let expected = [row(1, &["a", "b", ""]), row(2, &["a,b", "say \"hi\"", "x\r\ny"]), row(4, &["c", "", ""])];
        assert_eq!(read(source.as_bytes()), expected);
    }

    #[test]
    fn rows_end_with_lf_cr_lf_or_cr() {
        let cells = |source: &[u8]| read(source).into_iter().map(|(_, cells)| cells.unwrap().concat()).collect::<Vec<_>>();
        for source in ["a,b\nc,d\n", "a,b\r\n\r\nc,d", "a,b\rc,d\r", "a,b\n\n\nc,d\n"] {
            assert_eq!(cells(source.as_bytes()), ["ab", "cd"], "{source:?}");
        }
    }

    #[test]
    fn a_row_that_is_not_utf_8_is_reported() {
        assert_eq!(read(b"\xff\nb\n"), [(1, Err("it is not UTF-8")), row(2, &["b"])]);
    }

    /// An unclosed quote takes at most a megabyte of memory.
    #[test]
    fn an_open_quote_is_bounded() {
        let mut source = b"a\n\"open\n".to_vec();
        source.extend(std::iter::repeat_n(b"123456789\n", 110_000).flatten());
        let mut rows = Rows::new(&*source);
        assert!(rows.next().is_ok());
        assert!(rows.next().err().unwrap().to_string().contains("is a quote not closed?"));
    }

    /// PROTOCOL 8: numbers keep their digits. A cell that is not a JSON number is a string.
    #[test]
    fn numbers_keep_their_digits() {
        for number in ["0", "-0", "86.655", "1.10", "-1.5e+10", "1E5", "1e999", "123456789012345678901234567890.10"] {
            assert!(is_json_number(number), "{number}");
        }
        for text in ["", "007", "+1", ".5", "5.", "1e", "0x1", "1 ", " 1", "NaN", "Infinity", "--1", "1.2.3", "1e5.0", "-", "true", "null"]
        {
            assert!(!is_json_number(text), "{text}");
        }
        assert!(!is_json_number("１"), "a digit of another script");
        let keys = ["\"a\"".to_owned(), "\"b\"".to_owned(), "\"c\"".to_owned()];
        assert_eq!(object(&keys, &["1.10", "007", "x\"\n\u{1}é"]), "{\"a\":1.10,\"b\":\"007\",\"c\":\"x\\\"\\n\\u0001é\"}".as_bytes());
    }

    proptest! {
        /// Cells that are quoted as the RFC demands are read back, and the object is valid JSON.
        #[test]
        fn quoted_cells_round_trip(texts in prop::collection::vec("[a-c0-9.,\"\r\n é-]{0,6}", 1..5)) {
            let line = texts.iter().map(|text| format!("\"{}\"", text.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
            let all = read(line.as_bytes());
            let cells = all[0].1.clone().unwrap();
            prop_assert_eq!(&cells, &texts);
            let keys: Vec<_> = (0..cells.len()).map(|index| json_string(&index.to_string())).collect();
            let object = object(&keys, &cells.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&object).is_ok());
        }
    }
}
