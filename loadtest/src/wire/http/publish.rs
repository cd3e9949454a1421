//! Publishes over a persistent HTTP/1.1 connection: Belfry's batches (PROTOCOL section 5), and nchan's requests, one
//! for each message.

use serde_json::Value;

use super::head::{NoHttp, first_line, response};
use crate::wire::dialect::Dialect;

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Partial,
    Whole {
        /// Its size in bytes, head and body.
        bytes: usize,
        /// The code and message of the first refusal; `None` if everything was published.
        refused: Option<(String, String)>,
    },
}

/// Appends a publish of `payload`: to `batch` if the server has batches, or as a request to `out`.
pub fn push_message(dialect: Dialect, out: &mut Vec<u8>, batch: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    if dialect == Dialect::Nchan {
        return request(out, &format!("/pub/{topic}"), payload, None);
    }
    batch.extend_from_slice(&[b"{\"topic\":\"", topic.as_bytes(), b"\",\"data\":", payload, b"}\n"].concat());
}

/// Appends the request that publishes `batch`, and empties it.
pub fn push_batch(out: &mut Vec<u8>, batch: &mut Vec<u8>, token: Option<&str>) {
    if !batch.is_empty() {
        request(out, "/v1/publish", batch, token);
        batch.clear();
    }
}

fn request(out: &mut Vec<u8>, path: &str, body: &[u8], token: Option<&str>) {
    let credentials = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{credentials}Content-Length: {}\r\n\r\n", body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// Reads the answer at the start of `bytes`.
pub fn answer(bytes: &[u8]) -> Answer {
    match response(bytes) {
        Ok(Some((head, body))) => Answer::Whole { bytes: head.bytes + body.len(), refused: refused(head.status, body) },
        Ok(None) => Answer::Partial,
        Err(NoHttp) => Answer::Whole { bytes: bytes.len(), refused: Some(("http".to_owned(), first_line(bytes))) },
    }
}

/// The code and message of the first refusal in an answer (PROTOCOL section 5 for batches).
fn refused(status: u16, body: &[u8]) -> Option<(String, String)> {
    if !(200..300).contains(&status) {
        return Some((format!("http {status}"), first_line(body)));
    }
    let batch: Value = serde_json::from_slice(body).ok()?;
    let error = &batch["errors"][0];
    Some((error["code"].as_str()?.to_owned(), error["message"].as_str().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_one_request_and_nchan_has_one_for_each() {
        let (mut out, mut batch) = (Vec::new(), Vec::new());
        push_message(Dialect::Json, &mut out, &mut batch, "a", b"1");
        push_message(Dialect::Json, &mut out, &mut batch, "b", b"2");
        push_batch(&mut out, &mut batch, None);
        let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
        assert!(text.starts_with("POST /v1/publish HTTP/1.1\r\n") && text.contains("Content-Length: 46\r\n"), "{text}");
        assert!(text.ends_with("{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"b\",\"data\":2}\n"), "{text}");
        push_message(Dialect::Nchan, &mut out, &mut batch, "a", b"1");
        push_batch(&mut out, &mut batch, None);
        assert_eq!(out, b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1");
    }

    /// PROTOCOL 5: the answer to a batch is 200 even if lines were refused.
    #[test]
    fn a_refused_line_is_reported() {
        let body = r#"{"published":1,"errors":[{"line":2,"code":"not_allowed","message":"no"}]}"#;
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(answer(&text.as_bytes()[..text.len() - 1]), Answer::Partial);
        let refused = Some(("not_allowed".to_owned(), "no".to_owned()));
        assert_eq!(answer(text.as_bytes()), Answer::Whole { bytes: text.len(), refused });
        let fine = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nokHTTP/1.1";
        assert_eq!(answer(fine), Answer::Whole { bytes: fine.len() - 8, refused: None });
    }
}
