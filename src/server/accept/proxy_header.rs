//! The PROXY protocol, versions 1 and 2: the header in which a proxy names its client
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

use std::net::SocketAddr;

use ppp::{v1, v2};

/// The longest header of version 1, in bytes.
const VERSION_1_BYTES_MAX: usize = 107;
/// The first bytes of version 1.
const VERSION_1_PREFIX: &[u8] = b"PROXY ";
/// The size of the fixed part of version 2, which its length field does not count.
const VERSION_2_FIXED_BYTES: usize = 16;
/// The longest accepted header, in bytes. Addresses take 52 bytes, those of Unix sockets 232. The rest is room for the
/// type-length-values that proxies add.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 << 10;

/// One complete header.
#[derive(Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client; `None` if the connection is the proxy's own (`LOCAL`) or the client's address is unknown.
    pub client: Option<SocketAddr>,
    /// The size of the header, in bytes.
    pub len: usize,
}

/// Why bytes are not a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum ProxyHeaderError {
    #[error("no PROXY header came first")]
    Absent,
    #[error("the PROXY header is too long")]
    TooLong,
    #[error("the PROXY header is malformed")]
    Malformed,
}

/// Reads the header at the start of `bytes`; `None` while it is incomplete.
pub fn read_proxy_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let begin_as = |prefix: &[u8]| bytes.starts_with(prefix) || prefix.starts_with(bytes);
    if begin_as(v2::PROTOCOL_PREFIX) {
        version_2(bytes)
    } else if begin_as(VERSION_1_PREFIX) {
        version_1(bytes)
    } else {
        Err(ProxyHeaderError::Absent)
    }
}

fn version_1(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let within = bytes.get(..VERSION_1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < VERSION_1_BYTES_MAX { Ok(None) } else { Err(ProxyHeaderError::TooLong) };
    };
    let (line, len) = (&bytes[..end], end + 2);
    // Section 2.1: the rest of an UNKNOWN line is ignored.
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        return Ok(Some(ProxyHeader { client: None, len }));
    }
    let header = v1::Header::try_from(&bytes[..len]).map_err(|_| ProxyHeaderError::Malformed)?;
    let client = match header.addresses {
        v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
        v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
        v1::Addresses::Unknown => None,
    };
    Ok(Some(ProxyHeader { client: client.map(canonical), len }))
}

fn version_2(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    if let Some(&[high, low]) = bytes.get(VERSION_2_FIXED_BYTES - 2..VERSION_2_FIXED_BYTES)
        && VERSION_2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low])) > PROXY_HEADER_BYTES_MAX
    {
        return Err(ProxyHeaderError::TooLong);
    }
    let header = match v2::Header::try_from(bytes) {
        Err(v2::ParseError::Incomplete(_) | v2::ParseError::Partial(..)) => return Ok(None),
        read => read.map_err(|_| ProxyHeaderError::Malformed)?,
    };
    let client = match (header.command, header.protocol, header.addresses) {
        (v2::Command::Local, ..) => None,
        (v2::Command::Proxy, v2::Protocol::Datagram, _) => return Err(ProxyHeaderError::Malformed),
        (v2::Command::Proxy, _, v2::Addresses::IPv4(of)) => Some((of.source_address, of.source_port).into()),
        (v2::Command::Proxy, _, v2::Addresses::IPv6(of)) => Some((of.source_address, of.source_port).into()),
        (v2::Command::Proxy, _, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    Ok(Some(ProxyHeader { client: client.map(canonical), len: header.header.len() }))
}

/// Turns an IPv4-mapped IPv6 address into the IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> (Option<String>, usize) {
        let header = read_proxy_header(bytes).unwrap().expect("the header is whole");
        (header.client.map(|client| client.to_string()), header.len)
    }

    /// A header of version 2 with this command, this family and transport, and these bytes behind its length.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &u16::try_from(rest.len()).unwrap().to_be_bytes(), rest].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x01, 0xbb];

    /// Section 2.1, with its examples and its longest lines.
    #[test]
    fn version_1_is_read() {
        for (line, client) in [
            ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", Some("192.168.0.1:56324")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 4 5\r\n", Some("[2001:db8::1]:4")),
            (
                "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 4 5\r\n", Some("192.0.2.1:4")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", None),
            ("PROXY UNKNOWN a b c d e f g h\r\n", None),
        ] {
            let bytes = format!("{line}GET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n");
            assert_eq!(parsed(bytes.as_bytes()), (client.map(str::to_owned), line.len()), "{line}");
            for cut in 0..line.len() {
                assert_eq!(read_proxy_header(&line.as_bytes()[..cut]), Ok(None), "{line} cut at {cut}");
            }
        }
    }

    #[test]
    fn malformed_version_1_is_refused() {
        for line in [
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 65536\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 056324 443\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.168.0.1 ::1 1 2\r\n",
            "PROXY TCP4  192.168.0.1 192.168.0.11 1 2\r\n",
            "PROXY UDP4 192.168.0.1 192.168.0.11 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY TCP4 \u{fc} 192.168.0.11 1 2\r\n",
        ] {
            assert_eq!(read_proxy_header(line.as_bytes()), Err(ProxyHeaderError::Malformed), "{line:?}");
        }
        for bytes in ["GET / HTTP/1.1\r\n", "proxy TCP4", "PROXYTCP4", "\r\n\r\nGET", "\u{16}\u{3}\u{1}"] {
            assert_eq!(read_proxy_header(bytes.as_bytes()), Err(ProxyHeaderError::Absent), "{bytes:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(read_proxy_header(endless.as_bytes()), Err(ProxyHeaderError::TooLong));
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(read_proxy_header(too_long.as_bytes()), Err(ProxyHeaderError::TooLong));
    }

    /// Section 2.2: each family, LOCAL, and type-length-values, which are skipped.
    #[test]
    fn version_2_is_read() {
        let mut ipv6 = [0; 36];
        ipv6[..2].copy_from_slice(&[0x20, 0x01]);
        ipv6[32..34].copy_from_slice(&[0, 80]);
        let with_values = [&IPV4[..], &[0x02, 0, 3, b'a', b'.', b'b', 0x04, 0, 0]].concat();
        for (bytes, client) in [
            (v2(1, 0x11, &IPV4), Some("192.0.2.1:56324")),
            (v2(1, 0x11, &with_values), Some("192.0.2.1:56324")),
            (v2(1, 0x21, &ipv6), Some("[2001::]:80")),
            (v2(1, 0x31, &[0; 216]), None),
            (v2(1, 0x00, &[]), None),
            (v2(0, 0x00, &[]), None),
            (v2(0, 0x11, &IPV4), None),
            (v2(0, 0x00, &[1; 100]), None),
            (v2(1, 0x11, &[&IPV4[..], &[0; PROXY_HEADER_BYTES_MAX - 28]].concat()), Some("192.0.2.1:56324")),
        ] {
            assert_eq!(parsed(&[&bytes[..], b"GET"].concat()), (client.map(str::to_owned), bytes.len()), "{bytes:x?}");
            for cut in 0..bytes.len() {
                assert_eq!(read_proxy_header(&bytes[..cut]), Ok(None), "{bytes:x?} cut at {cut}");
            }
        }
    }

    #[test]
    fn malformed_version_2_is_refused() {
        for bytes in [v2(2, 0x11, &IPV4), v2(1, 0x11, &IPV4[..11]), v2(1, 0x12, &IPV4), v2(1, 0x41, &IPV4), v2(1, 0x13, &IPV4)] {
            assert_eq!(read_proxy_header(&bytes), Err(ProxyHeaderError::Malformed), "{bytes:x?}");
        }
        let mut other_version = v2(1, 0x11, &IPV4);
        other_version[12] = 0x11;
        assert_eq!(read_proxy_header(&other_version), Err(ProxyHeaderError::Malformed));
        // The length field alone refuses the header.
        let long = v2(1, 0x11, &[0; PROXY_HEADER_BYTES_MAX]);
        assert_eq!(read_proxy_header(&long[..VERSION_2_FIXED_BYTES]), Err(ProxyHeaderError::TooLong));
    }
}
