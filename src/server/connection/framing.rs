//! How a request's head announces the end of its body. The head is read beside hyper, which discards the header that
//! matters.
//!
//! With both `Content-Length` and `Transfer-Encoding`, a request can be smuggled past a proxy that uses the other of
//! the two (RFC 9112 §6.3). hyper removes the length before a handler sees the request.

/// The size of the longest relevant field name with its colon, in bytes.
const NAME_BYTES_MAX: usize = "transfer-encoding:".len();

/// The part of a `Content-Length` line that is kept, in bytes. hyper refuses lengths beyond a u64.
const LENGTH_LINE_BYTES_MAX: usize = 64;

/// The state of the current head.
#[derive(Debug, Default)]
pub struct Framing {
    /// The beginning of the current line, in lower case.
    line: Vec<u8>,
    /// Whether the current line has a byte beside its line end.
    has_text: bool,
    has_request_line: bool,
    ended: bool,
    has_length: bool,
    has_coding: bool,
    length: u64,
    /// The number of bytes received behind the head.
    behind: u64,
    /// Whether a head began among the bytes of an earlier request's body, so that it was not read.
    is_lost: bool,
}

impl Framing {
    /// Reads bytes from the socket.
    pub fn receive(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.ended || self.is_lost {
                self.behind += rest.len() as u64;
                return;
            }
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return self.within_line(rest) };
            let (line, next) = rest.split_at(end);
            if self.has_text || matters(line) {
                self.within_line(line);
            } else {
                self.has_text = true;
            }
            self.line_ended();
            rest = &next[1..];
        }
    }

    /// Whether the head has both a length and a coding, or has a coding and was not read whole.
    pub fn is_ambiguous(&self, has_coding: bool) -> bool {
        if self.is_lost { has_coding } else { self.has_length && self.has_coding }
    }

    /// Whether the request has no body, and nothing was received behind its head.
    pub fn is_head_alone(&self) -> bool {
        self.ended && !self.is_lost && !self.has_coding && self.length == 0 && self.behind == 0
    }

    /// Begins the next head, unless it has begun already. Called once the request is answered and its body read.
    pub fn next(&mut self) {
        let whole = self.ended && !self.has_coding && self.behind == self.length;
        *self = Self { is_lost: self.is_lost || !whole, ..Self::default() };
    }

    fn within_line(&mut self, bytes: &[u8]) {
        self.line.reserve(LENGTH_LINE_BYTES_MAX.saturating_sub(self.line.len()));
        for byte in bytes.iter().filter(|&&byte| byte != b'\r') {
            self.has_text = true;
            let most = if self.line.starts_with(b"content-length:") { LENGTH_LINE_BYTES_MAX } else { NAME_BYTES_MAX };
            if self.line.len() == most {
                return;
            }
            self.line.push(byte.to_ascii_lowercase());
        }
    }

    fn line_ended(&mut self) {
        let line = &self.line;
        // Empty lines before the request line are ignored (RFC 9112 §2.2).
        match (self.has_text, self.has_request_line) {
            (false, has_request_line) => self.ended = has_request_line,
            (true, false) => self.has_request_line = true,
            (true, true) if line.starts_with(b"transfer-encoding:") => self.has_coding = true,
            (true, true) => {
                if let Some(length) = line.strip_prefix(b"content-length:") {
                    self.has_length = true;
                    self.length = std::str::from_utf8(length).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
                }
            }
        }
        self.line.clear();
        self.has_text = false;
    }
}

/// Whether a whole line is empty or may be a relevant field. Most lines are skipped by their first byte.
fn matters(line: &[u8]) -> bool {
    line.first().is_none_or(|first| matches!(first, b'\r' | b'c' | b'C' | b't' | b'T'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ntransfer-ENCODING: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n";
    const LENGTH: &str = "\r\nPOST / HTTP/1.1\r\nX: content-length: 3\r\nCONTENT-length: 2\r\n\r\nhi";
    const CHUNKED: &str = "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\r\n\r\n";

    fn is_ambiguous(framing: &mut Framing, text: &str, step: usize) -> bool {
        text.as_bytes().chunks(step).for_each(|bytes| framing.receive(bytes));
        framing.is_ambiguous(text.to_ascii_lowercase().contains("\ntransfer-encoding"))
    }

    /// RFC 9112 §6.3, threats row 19: a length and a coding together are ambiguous, however the bytes are split.
    #[test]
    fn a_length_with_a_coding_is_ambiguous() {
        for step in [1, 2, 7, 1_000] {
            assert!(is_ambiguous(&mut Framing::default(), BOTH, step), "{step}");
            assert!(!is_ambiguous(&mut Framing::default(), LENGTH, step), "{step}");
            assert!(!is_ambiguous(&mut Framing::default(), CHUNKED, step), "{step}");
        }
    }

    /// No state of one request is left for the next request of its connection.
    #[test]
    fn each_head_is_scanned_alone() {
        let mut framing = Framing::default();
        assert!(!is_ambiguous(&mut framing, LENGTH, 1_000));
        framing.next();
        assert!(is_ambiguous(&mut framing, BOTH, 1_000));
    }

    /// A request with an announced body, or with bytes behind its head, is more than a head.
    #[test]
    fn a_request_without_a_body_is_a_head_alone() {
        for (text, alone) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nx", false),
            (CHUNKED, false),
        ] {
            let mut framing = Framing::default();
            framing.receive(text.as_bytes());
            assert_eq!(framing.is_head_alone(), alone, "{text}");
        }
    }

    /// A head that arrives together with the earlier body is not scanned. Such a head must have no coding.
    #[test]
    fn a_head_that_was_not_scanned_may_have_no_coding() {
        let mut framing = Framing::default();
        is_ambiguous(&mut framing, &format!("{LENGTH}{BOTH}"), 1_000);
        framing.next();
        assert!(framing.is_ambiguous(true) && !framing.is_ambiguous(false));
    }
}
