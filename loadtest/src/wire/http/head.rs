//! Reads the heads of HTTP/1.1 answers.

/// The largest number of header fields of an answer.
const HEADERS_MAX: usize = 64;

/// A complete head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    pub status: u16,
    /// The size of the head in bytes, including the empty line.
    pub bytes: usize,
    headers: Vec<(&'a str, &'a [u8])>,
}

/// The bytes are not an HTTP/1.1 answer.
#[derive(Debug, PartialEq, Eq)]
pub struct NoHttp;

impl<'a> Head<'a> {
    /// Reads the head at the start of `bytes`; `None` while it is incomplete.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, NoHttp> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => Ok(Some(Self {
                status: response.code.unwrap_or(0),
                bytes: length,
                headers: response.headers.iter().map(|header| (header.name, header.value)).collect(),
            })),
            Ok(httparse::Status::Partial) => Ok(None),
            Err(_) => Err(NoHttp),
        }
    }

    /// The value of the first header field called `name`.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok().map(str::trim)
    }
}

/// The head of the answer at the start of `bytes`, and its body, whose size is `Content-Length`; `None` while it is
/// incomplete.
pub fn response(bytes: &[u8]) -> Result<Option<(Head<'_>, &[u8])>, NoHttp> {
    let Some(head) = Head::read(bytes)? else { return Ok(None) };
    let length: usize = head.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let body = bytes.get(head.bytes..head.bytes.saturating_add(length));
    Ok(body.map(|body| (head, body)))
}

/// The first line of a body, at most 200 characters.
pub fn first_line(body: &[u8]) -> String {
    String::from_utf8_lossy(body).lines().next().unwrap_or("").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length:  2 \r\n\r\nok";
        assert_eq!(Head::read(&bytes[..20]), Ok(None));
        let head = Head::read(bytes).unwrap().unwrap();
        assert_eq!((head.status, head.bytes, head.header("content-length")), (200, bytes.len() - 2, Some("2")));
        assert_eq!(Head::read(b"SSH-2.0-OpenSSH\r\n"), Err(NoHttp));
    }
}
