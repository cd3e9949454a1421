//! Publishing over HTTP/1.1 on a connection that is kept: Belfry's batches (PROTOCOL 5), and nchan's way, a request for each message.

use serde_json::Value;

use super::Dialect;

/// What one answer says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not all of it is there yet.
    Partial,
    /// It has so many bytes; what it refused, with code and words.
    Whole {
        /// Its size, head and body.
        bytes: usize,
        /// `None` where all was taken.
        refused: Option<(String, String)>,
    },
}

/// Takes what publishes `payload`: into `batch` where the server takes several in one request, else as a request of its own into `out`.
pub fn push(dialect: Dialect, out: &mut Vec<u8>, batch: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    if dialect == Dialect::Nchan {
        return request(out, &format!("/pub/{topic}"), payload);
    }
    batch.extend_from_slice(b"{\"topic\":\"");
    batch.extend_from_slice(topic.as_bytes());
    batch.extend_from_slice(b"\",\"data\":");
    batch.extend_from_slice(payload);
    batch.extend_from_slice(b"}\n");
}

/// Makes one request of what was gathered.
pub fn seal(out: &mut Vec<u8>, batch: &mut Vec<u8>) {
    if !batch.is_empty() {
        request(out, "/v1/publish", batch);
        batch.clear();
    }
}

fn request(out: &mut Vec<u8>, path: &str, body: &[u8]) {
    out.extend_from_slice(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
}

/// Reads the answer at the start of `bytes`.
pub fn answer(bytes: &[u8]) -> Answer {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Answer::Partial };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let length = lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
    let Some(body) = bytes.get(end + 4..end + 4 + length) else { return Answer::Partial };
    Answer::Whole { bytes: end + 4 + length, refused: refused(status, body) }
}

fn refused(status: u16, body: &[u8]) -> Option<(String, String)> {
    if !(200..300).contains(&status) {
        let words = String::from_utf8_lossy(body);
        return Some((format!("http {status}"), words.lines().next().unwrap_or("").chars().take(200).collect()));
    }
    let said: Value = serde_json::from_slice(body).ok()?;
    let first = said["errors"].as_array()?.first()?;
    let text = |key: &str| first[key].as_str().unwrap_or("").to_owned();
    Some((text("code"), text("message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_one_request_and_nchan_has_one_for_each() {
        let (mut out, mut batch) = (Vec::new(), Vec::new());
        push(Dialect::Json, &mut out, &mut batch, "a", b"1");
        push(Dialect::Json, &mut out, &mut batch, "b", b"2");
        seal(&mut out, &mut batch);
        let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
        assert!(text.starts_with("POST /v1/publish HTTP/1.1\r\n") && text.contains("Content-Length: 46\r\n"), "{text}");
        assert!(text.ends_with("{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"b\",\"data\":2}\n"), "{text}");
        push(Dialect::Nchan, &mut out, &mut batch, "a", b"1");
        seal(&mut out, &mut batch);
        assert_eq!(out, b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1");
    }

    /// PROTOCOL 5: a batch is answered by 200 even where lines of it were refused.
    #[test]
    fn a_refused_line_is_told() {
        let body = r#"{"published":1,"errors":[{"line":2,"code":"not_allowed","message":"no"}]}"#;
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(answer(&text.as_bytes()[..text.len() - 1]), Answer::Partial);
        let refused = Some(("not_allowed".to_owned(), "no".to_owned()));
        assert_eq!(answer(text.as_bytes()), Answer::Whole { bytes: text.len(), refused });
        let fine = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nokHTTP/1.1";
        assert_eq!(answer(fine), Answer::Whole { bytes: fine.len() - 8, refused: None });
    }
}
