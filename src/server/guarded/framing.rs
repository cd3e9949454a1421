//! How a request's head says where its body ends, read beside hyper, which forgets it.
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is how one request is smuggled past a proxy that goes by
//! the other of the two (RFC 9112 §6.3). hyper drops the length before anybody can see that it was there.

/// The longest name that matters, with its colon.
const NAME_BYTES_MAX: usize = "transfer-encoding:".len();

/// What is known of the head that comes now.
#[derive(Debug, Default)]
pub struct Framing {
    /// The beginning of the line that comes now, in lower case.
    line: Vec<u8>,
    /// Bytes of that line, its end not counted.
    line_bytes: usize,
    request_line_came: bool,
    ended: bool,
    has_length: bool,
    has_coding: bool,
    length: u64,
    /// Bytes that came behind the head.
    behind: u64,
    /// A head began among the bytes of an earlier request, where nobody looks for one.
    is_lost: bool,
}

impl Framing {
    /// These bytes came.
    pub fn came(&mut self, bytes: &[u8]) {
        for (index, &byte) in bytes.iter().enumerate() {
            if self.ended || self.is_lost {
                self.behind += (bytes.len() - index) as u64;
                return;
            }
            match byte {
                b'\n' => self.line_ended(),
                b'\r' => {}
                _ => self.within_line(byte),
            }
        }
    }

    /// Whether the head has both a length and a coding, or has a coding and wasn't seen whole.
    pub fn is_ambiguous(&self, has_coding: bool) -> bool {
        if self.is_lost { has_coding } else { self.has_length && self.has_coding }
    }

    /// The request was answered and its body read: the next head begins, if it didn't begin before.
    pub fn next(&mut self) {
        let whole = self.ended && !self.has_coding && self.behind == self.length;
        *self = Self { is_lost: self.is_lost || !whole, ..Self::default() };
    }

    fn within_line(&mut self, byte: u8) {
        self.line_bytes += 1;
        // What follows the length's name is the length; digits past those of a u64 are refused by hyper.
        if self.line.len() < NAME_BYTES_MAX || self.line.starts_with(b"content-length:") && self.line.len() < 64 {
            self.line.push(byte.to_ascii_lowercase());
        }
    }

    fn line_ended(&mut self) {
        let line = std::mem::take(&mut self.line);
        // Empty lines before the request line are passed over (RFC 9112 §2.2).
        match (self.line_bytes, self.request_line_came) {
            (0, came) => self.ended = came,
            (_, false) => self.request_line_came = true,
            (_, true) if line.starts_with(b"transfer-encoding:") => self.has_coding = true,
            (_, true) => {
                if let Some(length) = line.strip_prefix(b"content-length:") {
                    self.has_length = true;
                    self.length = std::str::from_utf8(length).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
                }
            }
        }
        self.line_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ntransfer-ENCODING: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n";
    const LENGTH: &str = "\r\nPOST / HTTP/1.1\r\nX: content-length: 3\r\nCONTENT-length: 2\r\n\r\nhi";
    const CHUNKED: &str = "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\r\n\r\n";

    fn seen(framing: &mut Framing, text: &str, step: usize) -> bool {
        text.as_bytes().chunks(step).for_each(|bytes| framing.came(bytes));
        framing.is_ambiguous(text.to_ascii_lowercase().contains("\ntransfer-encoding"))
    }

    /// RFC 9112 §6.3, threats row 19: a length and a coding at once; however the bytes are split.
    #[test]
    fn both_at_once_are_seen() {
        for step in [1, 2, 7, 1_000] {
            assert!(seen(&mut Framing::default(), BOTH, step), "{step}");
            assert!(!seen(&mut Framing::default(), LENGTH, step), "{step}");
            assert!(!seen(&mut Framing::default(), CHUNKED, step), "{step}");
        }
    }

    /// The next request on the connection is judged for itself.
    #[test]
    fn each_head_is_judged_for_itself() {
        let mut framing = Framing::default();
        assert!(!seen(&mut framing, LENGTH, 1_000));
        framing.next();
        assert!(seen(&mut framing, BOTH, 1_000));
    }

    /// A head that came with the body before it can't be judged, so it may have no coding at all.
    #[test]
    fn a_head_that_was_not_seen_may_have_no_coding() {
        let mut framing = Framing::default();
        seen(&mut framing, &format!("{LENGTH}{BOTH}"), 1_000);
        framing.next();
        assert!(framing.is_ambiguous(true) && !framing.is_ambiguous(false));
    }
}
