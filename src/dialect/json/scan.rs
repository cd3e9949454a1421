//! A scanner for JSON (RFC 8259) over borrowed text. It finds the extent of values and does not parse them.
//!
//! The scanner allocates no memory and does not recurse: 64 bits hold the nesting, one for each level.

use std::borrow::Cow;

/// The deepest nesting of arrays and objects that a value may have.
pub const DEPTH_MAX: u32 = u64::BITS;

/// Why a text is not JSON, or exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the text ends at byte {at}, before its JSON does")]
    Ends { at: usize },
    #[error("byte {at} is not valid in JSON")]
    Unexpected { at: usize },
    #[error("the value at byte {at} is nested deeper than 64 levels")]
    TooDeep { at: usize },
    #[error("a key holds half a surrogate pair, which is no character")]
    HalfSurrogate,
}

/// Whether `bytes` are one JSON text with at most 64 levels of nesting. Numbers may be of any size.
pub fn is_json_text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut scan = Scan::new(text);
    scan.value().and_then(|_| scan.end()).is_ok()
}

/// The text of a JSON string, whose raw form has its quotes; `None`: it has half a surrogate pair.
pub fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// A position in a text.
#[derive(Debug)]
pub struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// The arrays and objects that are open at a position. Bit 0 is the innermost; 1 means an object.
#[derive(Debug, Default)]
struct Nesting {
    objects: u64,
    depth: u32,
}

impl<'a> Scan<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next value's raw text, without the white space around it.
    pub fn value(&mut self) -> Result<&'a str, Fault> {
        self.skip_space();
        let start = self.at;
        let mut nesting = Nesting::default();
        loop {
            if self.scalar_or_open(&mut nesting)? {
                continue;
            }
            loop {
                if nesting.depth == 0 {
                    return Ok(&self.text[start..self.at]);
                }
                if self.close_or_comma(&mut nesting)? {
                    break;
                }
            }
        }
    }

    /// The next string's raw text, with its quotes.
    pub fn string(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let plain = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ');
            self.at += plain.unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at]);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.fault()),
            }
        }
    }

    /// Scans the next key of an object and its `:`. Returns the raw key with its quotes.
    pub fn key(&mut self) -> Result<&'a str, Fault> {
        self.skip_space();
        let key = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        Ok(key)
    }

    /// Whether `byte` is next.
    pub fn is_at(&self, byte: u8) -> bool {
        self.peek() == Some(byte)
    }

    /// Skips `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.is_at(byte);
        self.at += usize::from(found);
        found
    }

    /// Skips `byte`, which must be next.
    pub fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte) { Ok(()) } else { Err(self.fault()) }
    }

    /// Fails unless only white space is left.
    pub fn end(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.fault()) }
    }

    pub fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Scans a scalar, or the opening of an array or object. `true`: its first value is next.
    fn scalar_or_open(&mut self, nesting: &mut Nesting) -> Result<bool, Fault> {
        self.skip_space();
        match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                let is_object = open == b'{';
                if !nesting.enter(is_object) {
                    return Err(Fault::TooDeep { at: self.at });
                }
                self.at += 1;
                self.skip_space();
                if self.take(if is_object { b'}' } else { b']' }) {
                    nesting.leave();
                    return Ok(false);
                }
                if is_object {
                    self.key()?;
                }
                return Ok(true);
            }
            Some(b'"') => {
                self.string()?;
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.literal()?,
        }
        Ok(false)
    }

    /// Scans what follows a value within an array or object. `true`: a comma, so another value is next.
    fn close_or_comma(&mut self, nesting: &mut Nesting) -> Result<bool, Fault> {
        self.skip_space();
        let is_object = nesting.is_in_object();
        if self.take(b',') {
            if is_object {
                self.key()?;
            }
            return Ok(true);
        }
        self.expect(if is_object { b'}' } else { b']' })?;
        nesting.leave();
        Ok(false)
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.fault());
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.fault()),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault()) } else { Ok(()) }
    }

    fn literal(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let word = [&b"true"[..], b"false", b"null"].into_iter().find(|word| rest.starts_with(word));
        self.at += word.ok_or_else(|| self.fault())?.len();
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The fault that the text does not go on as JSON here.
    pub fn fault(&self) -> Fault {
        if self.at == self.text.len() { Fault::Ends { at: self.at } } else { Fault::Unexpected { at: self.at } }
    }
}

impl Nesting {
    /// Enters an array or object; `false`: the nesting would be too deep.
    fn enter(&mut self, is_object: bool) -> bool {
        if self.depth == DEPTH_MAX {
            return false;
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(is_object);
        true
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    /// PROTOCOL 3: payloads are RFC 8259, with numbers of any size and at most 64 levels.
    #[test]
    fn json_texts_are_recognized() {
        let valid = [
            "0",
            "-0.0e-1",
            "1e999",
            "\"\\ud800\"",
            " [1 , {\"a\" : null}] ",
            "{}",
            "[]",
            "\"\u{2028}聊\"",
            "1234567890123456789012345678901234567890",
        ];
        let invalid = [
            "",
            " ",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,}",
            "nul",
            "[1}",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"",
            "1 2",
            "NaN",
            "\u{feff}1",
            "[",
            "]",
        ];
        valid.iter().for_each(|text| assert!(is_json_text(text.as_bytes()), "{text:?}"));
        invalid.iter().for_each(|text| assert!(!is_json_text(text.as_bytes()), "{text:?}"));
        assert!(!is_json_text(b"\"\xff\""));
    }

    #[test]
    fn sixty_four_levels_are_accepted_and_no_more() {
        let nested = |open: &str, close: &str, depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert!(is_json_text(nested("[", "]", 64).as_bytes()));
        assert!(is_json_text(nested("{\"a\":", "}", 64).as_bytes()));
        assert!(!is_json_text(nested("[", "]", 65).as_bytes()));
        assert!(!is_json_text(nested("[{\"a\":", "}]", 33).as_bytes()));
        assert!(!is_json_text("[".repeat(1 << 20).as_bytes()));
    }

    proptest! {
        /// This holds also for texts that are almost JSON.
        #[test]
        fn the_scanner_agrees_with_serde_json(text in "([\\[\\]{},:\" 0-9.eE+\\-]|\"a\":|\\\\u00e9|true|null|\"x\"){0,24}") {
            prop_assert_eq!(is_json_text(text.as_bytes()), serde_json::from_str::<IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = is_json_text(&bytes);
        }
    }
}
