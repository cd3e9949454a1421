//! CSV rows (RFC 4180) to cells, or to JSON objects in which numbers keep their digits.

use std::borrow::Cow;

/// Why a row can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CsvError {
    /// A quote in the middle of a cell that has none around it, or text after the closing one.
    #[error("cell {cell} has a quote in its middle; a cell with quotes in it is quoted whole, and they are doubled")]
    Quote {
        /// Which cell, from 1.
        cell: usize,
    },
    /// The closing quote is missing.
    #[error("the quote of cell {cell} isn't closed")]
    Open {
        /// Which cell, from 1.
        cell: usize,
    },
}

/// Follows quotes through a row's bytes, so that a line end within quotes doesn't end the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    CellStart,
    Plain,
    Quoted,
    /// After a quote within quotes: the cell's end, or the first half of a doubled one.
    QuoteInQuoted,
}

impl Quoting {
    /// The state after `bytes`.
    pub fn after(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |state, byte| match (state, byte) {
            (Self::Quoted, b'"') => Self::QuoteInQuoted,
            (Self::Quoted, _) | (Self::CellStart | Self::QuoteInQuoted, b'"') => Self::Quoted,
            (_, b',') => Self::CellStart,
            _ => Self::Plain,
        })
    }
}

/// The cells of `row`, which has no line end after it.
pub(super) fn cells(row: &str) -> Result<Vec<Cow<'_, str>>, CsvError> {
    let mut cells = Vec::new();
    let mut rest = Some(row);
    while let Some(text) = rest {
        let (cell, after) = match text.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted, cells.len() + 1)?,
            None => {
                let (cell, after) = text.split_once(',').map_or((text, None), |(cell, after)| (cell, Some(after)));
                if cell.contains('"') {
                    return Err(CsvError::Quote { cell: cells.len() + 1 });
                }
                (Cow::Borrowed(cell), after)
            }
        };
        cells.push(cell);
        rest = after;
    }
    Ok(cells)
}

/// The cell whose opening quote stood before `text`, then what is after its comma.
fn quoted_cell(text: &str, cell: usize) -> Result<(Cow<'_, str>, Option<&str>), CsvError> {
    let mut end = 0;
    loop {
        end += text[end..].find('"').ok_or(CsvError::Open { cell })?;
        if text[end + 1..].starts_with('"') {
            end += 2;
            continue;
        }
        let content = &text[..end];
        let content = if content.contains('"') { Cow::Owned(content.replace("\"\"", "\"")) } else { Cow::Borrowed(content) };
        return match text[end + 1..].strip_prefix(',') {
            Some(after) => Ok((content, Some(after))),
            None if text.len() == end + 1 => Ok((content, None)),
            None => Err(CsvError::Quote { cell }),
        };
    }
}

/// An object with `keys` in their order; a cell that is a JSON number stands in it with its own digits, any other as a string.
/// `keys` are JSON strings already, quotes included.
pub(super) fn object(keys: &[String], cells: &[Cow<'_, str>]) -> Vec<u8> {
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

/// RFC 8259 §6: no leading zero, no plus, digits on both sides of the point.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4180 §2.
    #[test]
    fn cells_with_quotes() {
        assert_eq!(cells("a,b,").unwrap(), ["a", "b", ""]);
        assert_eq!(cells("").unwrap(), [""]);
        assert_eq!(cells("\"a,b\",\"say \"\"hi\"\"\",\"\",\"x\r\ny\"").unwrap(), ["a,b", "say \"hi\"", "", "x\r\ny"]);
        assert_eq!(cells("\"\"\"\"").unwrap(), ["\""]);
        assert_eq!(cells("a,\"b").unwrap_err(), CsvError::Open { cell: 2 });
        assert_eq!(cells("a\"b").unwrap_err(), CsvError::Quote { cell: 1 });
        assert_eq!(cells("a,\"b\"c").unwrap_err(), CsvError::Quote { cell: 2 });
    }

    /// PROTOCOL 8: numbers keep their digits; what JSON doesn't know as a number is a string.
    #[test]
    fn numbers_keep_their_digits() {
        for number in ["0", "-0", "86.655", "1.10", "-1.5e+10", "1E5", "123456789012345678901234567890.10"] {
            assert!(is_json_number(number), "{number}");
        }
        for text in ["", "007", "+1", ".5", "5.", "1e", "0x1", "1 ", "NaN", "Infinity", "--1", "1.2.3", "1e5.0", "-", "true", "null", "１"]
        {
            assert!(!is_json_number(text), "{text}");
        }
        let keys = ["\"a\"".to_owned(), "\"b\"".to_owned(), "\"c\"".to_owned()];
        assert_eq!(
            object(&keys, &["1.10".into(), "007".into(), "x\"\n\u{1}é".into()]),
            "{\"a\":1.10,\"b\":\"007\",\"c\":\"x\\\"\\n\\u0001é\"}".as_bytes()
        );
    }

    proptest! {
        /// What is written by the RFC's rule is read back, and each row made of it is JSON.
        #[test]
        fn cells_come_back(texts in prop::collection::vec("[a-c0-9.,\"\r\n é-]{0,6}", 1..5)) {
            let row = texts.iter().map(|text| format!("\"{}\"", text.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
            let read = cells(&row).unwrap();
            prop_assert_eq!(&read, &texts);
            prop_assert_eq!(Quoting::CellStart.after(row.as_bytes()), Quoting::QuoteInQuoted);
            let keys: Vec<_> = (0..texts.len()).map(|i| format!("\"{i}\"")).collect();
            let object: serde_json::Value = serde_json::from_slice(&object(&keys, &read)).unwrap();
            prop_assert_eq!(object.as_object().unwrap().len(), texts.len());
        }

        #[test]
        fn no_row_panics(row in "[a\",\r\n]{0,20}") {
            let _ = cells(&row);
        }
    }
}
