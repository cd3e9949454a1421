//! A stream of events in the body of an HTTP answer: its request, its answer, its chunks (RFC 9112 §7.1).

use super::upgrade::{Answer, Deflate, finish_head, head_of};

/// The longest head of a chunk: 16 hexadecimal digits and CRLF. Belfry writes no extensions.
const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// The request of a stream.
pub fn request(host: &str, path: &str, token: Option<&str>) -> Vec<u8> {
    finish_head(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"), token)
}

/// Reads the server's answer.
pub fn answer(bytes: &[u8]) -> Answer {
    let head = match head_of(bytes, 200) {
        Ok(head) => head,
        Err(answer) => return answer,
    };
    if head.header("transfer-encoding") != Some("chunked") {
        return Answer::Refused { status: head.status, reason: "its answer is no stream in chunks".to_owned() };
    }
    Answer::Accepted { head_bytes: head.bytes, deflate: Deflate::Off }
}

/// A complete chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Its data; empty in the last chunk.
    pub data: &'a [u8],
    /// Its size in bytes, including head and line end.
    pub bytes: usize,
}

/// The bytes are not a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent what is no chunk")]
pub struct NoChunk;

impl<'a> Chunk<'a> {
    /// Reads the chunk at the start of `bytes`; `None` while it is incomplete.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, NoChunk> {
        let window = &bytes[..bytes.len().min(CHUNK_HEAD_BYTES_MAX)];
        let Some(digits) = window.iter().position(|byte| !byte.is_ascii_hexdigit()) else {
            return if window.len() < CHUNK_HEAD_BYTES_MAX { Ok(None) } else { Err(NoChunk) };
        };
        let length = std::str::from_utf8(&bytes[..digits]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(length) = length else { return Err(NoChunk) };
        let start = digits + b"\r\n".len();
        let ends = |at: usize| bytes.get(at..at + 2).map(|end| end == b"\r\n");
        if ends(digits) == Some(false) {
            return Err(NoChunk);
        }
        match ends(start.saturating_add(length).min(usize::MAX - 2)) {
            None => Ok(None),
            Some(false) => Err(NoChunk),
            Some(true) => Ok(Some(Self { data: &bytes[start..start + length], bytes: start + length + 2 })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_read_once_it_is_complete() {
        let bytes = b"b\r\ndata: hello\r\n0\r\n\r\n";
        for cut in 0..16 {
            assert_eq!(Chunk::read(&bytes[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(Chunk::read(bytes), Ok(Some(Chunk { data: b"data: hello", bytes: 16 })));
        assert_eq!(Chunk::read(&bytes[16..]), Ok(Some(Chunk { data: b"", bytes: 5 })));
        for wrong in [&b"\r\n"[..], b"x\r\n", b"1\r\nab\r\n", b"1;x\r\na\r\n", b"00000000000000000001\r\na\r\n", b"fffffffffffffffff\r\n"] {
            assert_eq!(Chunk::read(wrong), Err(NoChunk), "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(Chunk::read(b"ffffffffffffffff\r\n"), Ok(None));
    }

    #[test]
    fn only_a_chunked_answer_is_accepted() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(answer(&head[..head.len() - 1]), Answer::Partial);
        assert_eq!(answer(head), Answer::Accepted { head_bytes: head.len(), deflate: Deflate::Off });
        let whole = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert!(matches!(whole, Answer::Refused { status: 200, .. }), "{whole:?}");
        let refused = Answer::Refused { status: 503, reason: "later".to_owned() };
        assert_eq!(answer(b"HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nlater"), refused);
    }
}
