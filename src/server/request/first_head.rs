//! Reads the head of a connection's first request, if the first bytes hold all of it. Most handshakes are like that,
//! and are granted without hyper, which would cost more than all other work. Unusual heads are left to hyper.

use hyper::{Method, Version};

use super::head::Head;

/// The largest number of header fields of a request.
pub const FIELDS_MAX: usize = 64;

/// Room for the fields of a head.
pub type Room<'a> = [httparse::Header<'a>; FIELDS_MAX];

/// Empty room.
pub const fn room<'a>() -> Room<'a> {
    [httparse::EMPTY_HEADER; FIELDS_MAX]
}

/// The GET request at the start of `bytes`, and the size of its head. `None` if the head is incomplete, or so unusual
/// that hyper might read it otherwise.
pub fn read<'a>(bytes: &'a [u8], room: &'a mut Room<'a>) -> Option<(Head<'a, &'a [httparse::Header<'a>]>, usize)> {
    let mut request = httparse::Request::new(room);
    let httparse::Status::Complete(len) = request.parse(bytes).ok()? else { return None };
    let (Some("GET"), Some(1), Some(target)) = (request.method, request.version, request.path) else { return None };
    let plain = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let head = Head { method: &Method::GET, version: Version::HTTP_11, authority: None, path, query, fields: &*request.headers };
    plain.then_some((head, len))
}

#[cfg(test)]
mod tests {
    use hyper::header;

    use super::super::head::Fields;
    use super::*;

    fn target(head: &str) -> Option<(String, Option<String>, usize)> {
        let mut room = room();
        let (head, len) = read(head.as_bytes(), &mut room)?;
        assert_eq!(head.fields.all(header::HOST).collect::<Vec<_>>(), [b"a"]);
        Some((head.path.to_owned(), head.query.map(str::to_owned), len))
    }

    /// The bytes behind the head are left.
    #[test]
    fn a_plain_get_is_parsed() {
        let head = "GET /raw/a.%41?last=3&x=y?z HTTP/1.1\r\nhOsT: a\r\n\r\n";
        let expected = Some(("/raw/a.%41".to_owned(), Some("last=3&x=y?z".to_owned()), head.len()));
        assert_eq!(target(&format!("{head}\x01\x7f")), expected);
        assert_eq!(target("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(("/".to_owned(), None, 27)));
    }

    proptest::proptest! {
        #[test]
        fn targets_are_parsed_as_by_hyper(target in "/[ -~]{0,12}") {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut room = room();
            if let Some((head, _)) = read(head.as_bytes(), &mut room) {
                let uri: hyper::Uri = target.parse().unwrap();
                proptest::prop_assert_eq!((head.path, head.query, None), (uri.path(), uri.query(), uri.authority()));
            }
        }
    }

    /// These are incomplete heads, other methods, other targets and malformed heads.
    #[test]
    fn other_heads_are_left_to_hyper() {
        for head in [
            "",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /ä HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a{b} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        ] {
            assert_eq!(target(head), None, "{head:?}");
        }
        let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
        assert!(target(&many(FIELDS_MAX)).is_some() && target(&many(FIELDS_MAX + 1)).is_none());
    }
}
