//! Who is behind a trusted proxy: `Forwarded` (RFC 7239) or `X-Forwarded-For`, read from the right.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{self, HeaderName};
use ipnet::IpNet;

use super::head::{self, Fields};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that limits count: the peer's, or, where the peer is one of `trusted`, the right-most hop that is not.
/// A hop that can't be read ends the search at the last one that could: nothing further left was vouched for.
pub fn address<'a>(peer: SocketAddr, fields: impl Fields<'a>, trusted: &[IpNet]) -> SocketAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if !is_trusted(peer.ip()) {
        return peer;
    }
    let mut hop = peer;
    for next in hops(fields) {
        let Some(next) = next else { break };
        hop = next;
        if !is_trusted(hop.ip()) {
            break;
        }
    }
    hop
}

/// The hops from right to left; `None` for one that names no address. `Forwarded` counts alone where there is one.
fn hops<'a>(fields: impl Fields<'a>) -> Vec<Option<SocketAddr>> {
    let texts = |name: HeaderName| fields.all(name).rev().map(|value| head::text(value).unwrap_or(""));
    if fields.first(header::FORWARDED).is_some() {
        texts(header::FORWARDED).flat_map(|line| line.rsplit(',')).map(|element| for_parameter(element).and_then(node)).collect()
    } else {
        texts(X_FORWARDED_FOR).flat_map(|line| line.rsplit(',')).map(|hop| node(hop.trim())).collect()
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

    fn seen(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        address(peer.parse().unwrap(), &headers, &trusted).ip().to_string()
    }

    /// Threats, row 27: only trusted proxies are believed, and the right-most untrusted hop counts.
    #[test]
    fn the_rightmost_untrusted_hop_counts() {
        let xff = "x-forwarded-for";
        assert_eq!(seen("192.0.2.9:1", &[(xff, "1.2.3.4")]), "192.0.2.9");
        assert_eq!(seen("10.0.0.1:1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1:1", &[(xff, "")]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1:1", &[(xff, "1.2.3.4")]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1:1", &[(xff, "6.6.6.6, 1.2.3.4, 10.0.0.2")]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1:1", &[(xff, "6.6.6.6"), (xff, "1.2.3.4")]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1:1", &[(xff, "1.2.3.4, junk")]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1:1", &[(xff, "10.0.0.7")]), "10.0.0.7");
        assert_eq!(seen("[::1]:1", &[(xff, "2001:db8::7")]), "2001:db8::7");
        assert_eq!(seen("[::ffff:10.0.0.1]:1", &[(xff, "1.2.3.4:99")]), "1.2.3.4");
    }

    #[test]
    fn forwarded_is_read_and_goes_first() {
        let line = r#"for=6.6.6.6, For="[2001:db8::1]:4711";proto=https;by=10.0.0.2"#;
        assert_eq!(seen("10.0.0.1:1", &[("forwarded", line), ("x-forwarded-for", "1.1.1.1")]), "2001:db8::1");
        assert_eq!(seen("10.0.0.1:1", &[("forwarded", "for=unknown")]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1:1", &[("forwarded", "for=1.2.3.4, for=10.0.0.3")]), "1.2.3.4");
    }
}
