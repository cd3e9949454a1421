//! The head of a connection's first request, where it came whole with the first bytes. A handshake mostly does, and can be
//! granted without a connection of HTTP around it, which costs more than all the rest; whatever is unusual is hyper's.

use hyper::{Method, Version};

use super::head::Head;

/// The most header fields of a request.
pub const FIELDS_MAX: usize = 64;

/// Room for the fields of a head.
pub type Room<'a> = [httparse::Header<'a>; FIELDS_MAX];

/// Room with nothing in it.
pub const fn room<'a>() -> Room<'a> {
    [httparse::EMPTY_HEADER; FIELDS_MAX]
}

/// The GET that `bytes` begin with, and how many bytes its head has; `None`: it isn't there whole, or is not plain enough to be sure
/// that hyper would read it alike.
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

    /// A plain GET is read, and what follows it is left.
    #[test]
    fn a_whole_head_is_read() {
        let head = "GET /raw/a.%41?last=3&x=y?z HTTP/1.1\r\nhOsT: a\r\n\r\n";
        let expected = Some(("/raw/a.%41".to_owned(), Some("last=3&x=y?z".to_owned()), head.len()));
        assert_eq!(target(&format!("{head}\x01\x7f")), expected);
        assert_eq!(target("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(("/".to_owned(), None, 27)));
    }

    proptest::proptest! {
        /// A target is taken apart as hyper would.
        #[test]
        fn targets_are_read_alike(target in "/[ -~]{0,12}") {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut room = room();
            if let Some((head, _)) = read(head.as_bytes(), &mut room) {
                let uri: hyper::Uri = target.parse().unwrap();
                proptest::prop_assert_eq!((head.path, head.query, None), (uri.path(), uri.query(), uri.authority()));
            }
        }
    }

    /// All else is hyper's: what hasn't come whole, what isn't a GET of a path, what can't be read.
    #[test]
    fn what_is_unusual_is_left() {
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
