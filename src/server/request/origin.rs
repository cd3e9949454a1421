//! The check of the `Origin` header (RFC 6454, PROTOCOL section 7).

use hyper::header;

use super::head::{self, Fields};
use crate::config::{Origin, OriginPattern};

/// Whether a request with these header fields is allowed. `authority` is that of an absolute-form target. A request
/// without `Origin` is allowed, because browsers always send one. A non-empty `listed` replaces the same-host rule.
pub fn is_allowed<'a>(fields: impl Fields<'a>, authority: Option<&str>, listed: &[OriginPattern]) -> bool {
    let mut origins = fields.all(header::ORIGIN);
    let Some(first) = origins.next() else { return true };
    if origins.next().is_some() {
        return false;
    }
    let Some(value) = head::text(first) else { return false };
    if !listed.is_empty() {
        return listed.iter().any(|entry| entry.matches(value));
    }
    let Ok(origin) = Origin::parse(value) else { return false };
    authority.or_else(|| fields.only(header::HOST).and_then(head::text)).is_some_and(|host| origin.is_at(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;

    fn headers(origin: Option<&str>, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    /// PROTOCOL 7: the same-host rule compares host and port with `Host`, the port defaulting by the Origin's scheme.
    #[test]
    fn an_origin_of_the_same_host_is_allowed() {
        for (origin, host, allowed) in [
            (Some("http://localhost:8765"), "localhost:8765", true),
            (Some("http://LocalHost:8765"), "localhost:8765", true),
            (Some("http://example.com"), "example.com", true),
            (Some("http://example.com"), "example.com:80", true),
            (Some("https://example.com"), "example.com", true),
            (Some("https://example.com"), "example.com:443", true),
            (Some("https://example.com"), "example.com:80", false),
            (Some("https://example.com:443"), "example.com", true),
            (Some("http://[::1]:8765"), "[::1]:8765", true),
            (Some("http://[::1]"), "[::1]:8765", false),
            (Some("http://localhost:8766"), "localhost:8765", false),
            (Some("http://localhost"), "localhost:8765", false),
            (Some("http://example.com.evil"), "example.com", false),
            (Some("http://evil.example.com"), "example.com", false),
            (Some("http://example.com@evil"), "example.com", false),
            (Some("http://example.com/"), "example.com", false),
            (Some("null"), "example.com", false),
            (Some(""), "example.com", false),
            (Some("example.com"), "example.com", false),
            (Some("http://example.com:"), "example.com", false),
            (Some("http://example.com:+80"), "example.com", false),
            (None, "example.com", true),
        ] {
            assert_eq!(is_allowed(&headers(origin, host), None, &[]), allowed, "{origin:?} at {host}");
        }
    }

    /// PROTOCOL 7: `origins` replaces the same-host rule; scheme, host and port are compared.
    #[test]
    fn listed_origins_replace_the_same_host_rule() {
        let listed = ["https://app.example.com", "http://localhost:3000"].map(|text| OriginPattern::parse(text).unwrap());
        for (origin, allowed) in [
            (Some("https://app.example.com"), true),
            (Some("https://app.example.com:443"), true),
            (Some("https://APP.example.com"), true),
            (Some("http://app.example.com"), false),
            (Some("http://app.example.com:443"), false),
            (Some("https://app.example.com:8443"), false),
            (Some("http://localhost:3000"), true),
            (Some("http://gateway:8765"), false),
            (Some("null"), false),
            (None, true),
        ] {
            assert_eq!(is_allowed(&headers(origin, "gateway:8765"), None, &listed), allowed, "{origin:?}");
        }
    }

    #[test]
    fn two_origins_or_two_hosts_are_refused() {
        let mut twice = headers(Some("http://a"), "a");
        twice.append(header::ORIGIN, HeaderValue::from_static("http://a"));
        assert!(!is_allowed(&twice, None, &[]));
        let mut hosts = headers(Some("http://a"), "a");
        hosts.append(header::HOST, HeaderValue::from_static("a"));
        assert!(!is_allowed(&hosts, None, &[]));
    }
}
