//! A request's head, read by hyper or by `first_head.rs`.

use hyper::header::{self, HeaderName};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Version};

/// Header fields (RFC 9110 §5).
pub trait Fields<'a>: Copy {
    /// The values of the field `name`, in their order.
    fn all(self, name: HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]>;

    /// The first value of the field `name`.
    fn first(self, name: HeaderName) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The value of the field `name`; `None` if it is absent or repeated.
    fn only(self, name: HeaderName) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Whether a body follows the head (RFC 9112 §6).
    fn has_body(self) -> bool {
        self.first(header::TRANSFER_ENCODING).is_some() || self.all(header::CONTENT_LENGTH).any(|length| length != b"0")
    }

    /// The elements of the field `name`, which is a list (RFC 9110 §5.6.1).
    fn elements(self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
    }
}

impl<'a> Fields<'a> for &'a HeaderMap {
    fn all(self, name: HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.get_all(name).into_iter().map(|value| value.as_bytes())
    }
}

impl<'a> Fields<'a> for &'a [httparse::Header<'a>] {
    fn all(self, name: HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.iter().filter(move |line| line.name.eq_ignore_ascii_case(name.as_str())).map(|line| line.value)
    }
}

/// A field's value as text; `None` if it is not ASCII.
pub fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

/// A request without its body.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a, F> {
    pub method: &'a Method,
    pub version: Version,
    /// The authority of an absolute-form target (RFC 9112 §3.2.2).
    pub authority: Option<&'a str>,
    /// The path of the target.
    pub path: &'a str,
    /// The query of the target, without its question mark.
    pub query: Option<&'a str>,
    pub fields: F,
}

impl<'a> From<&'a Parts> for Head<'a, &'a HeaderMap> {
    fn from(parts: &'a Parts) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        let authority = uri.authority().map(|authority| authority.as_str());
        Self { method, version: *version, authority, path: uri.path(), query: uri.query(), fields: headers }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{self, HeaderValue};

    use super::*;

    const HOPS: HeaderName = HeaderName::from_static("x-forwarded-for");

    fn check<'a>(fields: impl Fields<'a>) {
        assert_eq!(fields.all(HOPS).rev().collect::<Vec<_>>(), [&b"3 ,4"[..], b"1, 2"]);
        assert_eq!(fields.elements(HOPS).collect::<Vec<_>>(), [b"1", b"2", b"3", b"4"]);
        assert_eq!((fields.only(header::HOST), fields.only(HOPS)), (Some(&b"a"[..]), None));
        assert_eq!((fields.first(HOPS), fields.first(header::ORIGIN)), (Some(&b"1, 2"[..]), None));
    }

    /// Both implementations return the same values in the same order, whatever the case of the names.
    #[test]
    fn fields_are_found_by_name() {
        const LINES: &[(&str, &str)] =
            &[("Host", "a"), ("X-Forwarded-For", "1, 2"), ("connection", "Upgrade"), ("x-forwarded-for", "3 ,4")];
        let mut map = HeaderMap::new();
        for (name, value) in LINES {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
        }
        check(&map);
        let lines: Vec<httparse::Header<'_>> =
            LINES.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        check(lines.as_slice());
    }

    #[test]
    fn text_is_ascii() {
        assert_eq!((text(b"a b"), text("ä".as_bytes()), text(b"\xff")), (Some("a b"), None, None));
    }
}
