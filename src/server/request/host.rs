//! The check of `Host` on loopback listeners.
//!
//! A site can point its own name at 127.0.0.1 (DNS rebinding). `Origin` and `Host` of its page are then equal, so the
//! same-host rule allows it. Only the name distinguishes it from the gateway's own page.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header;

use super::head::{self, Fields, Head};
use crate::config::{Server, host_of};

/// The host of a `Host` field, without its port; `None` if the field is malformed.
pub fn name(field: &[u8]) -> Option<&str> {
    let text = head::text(field)?;
    host_of(text.strip_suffix(':').unwrap_or(text)) // a port may be empty (RFC 3986 §3.2.3)
}

/// Whether a request to a loopback address names this machine or a host of `server.hosts`. With `server.origins` there
/// is no such check, because that list says which pages are allowed.
pub fn is_own<'a>(head: &Head<'a, impl Fields<'a>>, server: &Server) -> bool {
    if !server.origins.is_empty() {
        return true;
    }
    // HTTP/1.0 without Host is not a browser.
    let Some(host) = head.authority.map(str::as_bytes).or_else(|| head.fields.first(header::HOST)) else { return true };
    let Some(host) = name(host) else { return false };
    is_loopback(host) || server.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
}

fn is_loopback(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || v6.and_then(|text| text.parse::<Ipv6Addr>().ok()).is_some_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use hyper::{HeaderMap, Method, Version};

    use super::*;

    fn is_own_host(host: &str, server: &Server) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        let head = Head { method: &Method::GET, version: Version::HTTP_11, authority: None, path: "/", query: None, fields: &headers };
        is_own(&head, server)
    }

    /// PROTOCOL 7: loopback listeners accept loopback names with any port, and the names of `server.hosts`.
    #[test]
    fn loopback_listeners_accept_loopback_names() {
        let server = Server { hosts: vec!["gateway.example".to_owned()], ..Server::default() };
        for host in ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:80", "Gateway.Example:8765"] {
            assert!(is_own_host(host, &server), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "128.0.0.1", "[::2]", "127.0.0.1.evil", "", "a b"] {
            assert!(!is_own_host(host, &server), "{host}");
        }
        let listed = Server { origins: vec![crate::config::OriginPattern::parse("https://app.example").unwrap()], ..Server::default() };
        assert!(is_own_host("evil.example", &listed));
    }
}
