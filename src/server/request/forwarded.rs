//! The client behind trusted proxies: `Forwarded` (RFC 7239) or `X-Forwarded-For`, read from the right.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{self, HeaderName};

use super::head::{self, Fields};
use crate::config::{ClientAddressHeader, Server};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that limits count: the peer's, or, if the peer is a trusted proxy, the right-most hop that is not one. A
/// malformed hop ends the search at the hop to its right, because no trusted proxy has vouched for the others.
pub fn address<'a>(peer: SocketAddr, fields: impl Fields<'a>, server: &Server) -> SocketAddr {
    let is_trusted = |address: IpAddr| is_trusted(address, server);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if !is_trusted(peer.ip()) {
        return peer;
    }
    let mut hop = peer;
    for next in hops(fields, server.client_address_header) {
        let Some(next) = next else { break };
        hop = next;
        if !is_trusted(hop.ip()) {
            break;
        }
    }
    hop
}

/// Whether `address` is a trusted proxy's.
pub fn is_trusted(address: IpAddr, server: &Server) -> bool {
    let address = address.to_canonical();
    server.trusted_proxies.iter().any(|network| network.contains(&address))
}

/// The hops from right to left; `None` for a hop without an address. Only the header that the proxies set is read,
/// because the other may be the client's own. Empty elements are ignored (RFC 9110 §5.6.1).
fn hops<'a>(fields: impl Fields<'a>, header: ClientAddressHeader) -> Vec<Option<SocketAddr>> {
    let texts = |name: HeaderName| fields.all(name).rev().map(|value| head::text(value).unwrap_or(""));
    let elements = |name| texts(name).flat_map(|line| line.rsplit(',')).map(str::trim).filter(|element| !element.is_empty());
    match header {
        ClientAddressHeader::Forwarded => elements(header::FORWARDED).map(|element| for_parameter(element).and_then(node)).collect(),
        ClientAddressHeader::XForwardedFor => elements(X_FORWARDED_FOR).map(node).collect(),
    }
}

fn for_parameter(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn node(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, 0),
        Err(_) => text.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;

    fn client_by(header: ClientAddressHeader, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let server = Server { trusted_proxies, client_address_header: header, ..Server::default() };
        address(peer.parse().unwrap(), &headers, &server).ip().to_string()
    }

    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        client_by(ClientAddressHeader::XForwardedFor, peer, lines)
    }

    /// Threats, row 27: only headers of trusted proxies are read, and the right-most untrusted hop counts.
    #[test]
    fn the_rightmost_untrusted_hop_counts() {
        let xff = "x-forwarded-for";
        assert_eq!(client("192.0.2.9:1", &[(xff, "1.2.3.4")]), "192.0.2.9");
        assert_eq!(client("10.0.0.1:1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1:1", &[(xff, "")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1:1", &[(xff, "1.2.3.4")]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1", &[(xff, "6.6.6.6, 1.2.3.4, 10.0.0.2")]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1", &[(xff, "6.6.6.6"), (xff, "1.2.3.4")]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1", &[(xff, "1.2.3.4, junk")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1:1", &[(xff, "10.0.0.7")]), "10.0.0.7");
        assert_eq!(client("[::1]:1", &[(xff, "2001:db8::7")]), "2001:db8::7");
        assert_eq!(client("[::ffff:10.0.0.1]:1", &[(xff, "1.2.3.4:99")]), "1.2.3.4");
    }

    /// PROTOCOL 7: empty elements are ignored. `Forwarded` is ignored if the proxies set `X-Forwarded-For`, and the
    /// reverse.
    #[test]
    fn only_the_configured_header_counts() {
        assert_eq!(client("10.0.0.1:1", &[("x-forwarded-for", "1.2.3.4, , ")]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1", &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.2.3.4")]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1", &[("forwarded", "for=6.6.6.6")]), "10.0.0.1");
        let both = [("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "6.6.6.6")];
        assert_eq!(client_by(ClientAddressHeader::Forwarded, "10.0.0.1:1", &both), "1.2.3.4");
    }

    #[test]
    fn the_elements_of_forwarded_are_parsed() {
        let client = |lines: &[(&'static str, &str)]| client_by(ClientAddressHeader::Forwarded, "10.0.0.1:1", lines);
        let line = r#"for=6.6.6.6, For="[2001:db8::1]:4711";proto=https;by=10.0.0.2"#;
        assert_eq!(client(&[("forwarded", line)]), "2001:db8::1");
        assert_eq!(client(&[("forwarded", "for=unknown")]), "10.0.0.1");
        assert_eq!(client(&[("forwarded", "for=1.2.3.4, for=10.0.0.3")]), "1.2.3.4");
    }
}
