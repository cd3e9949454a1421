//! Origins in normalized form, so that two can be compared (RFC 6454 §4).

use std::fmt;
use std::net::Ipv4Addr;

/// The scheme, host and port of an origin. Equal values are the same origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The scheme, in lower case.
    pub scheme: String,
    /// The host, in lower case; an IPv6 address keeps its brackets.
    pub host: String,
    /// The port, or else the default of the scheme. `None` if the scheme has no ports, as those of apps and extensions.
    pub port: Option<u16>,
}

/// Why a text is not an origin. The message has what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum OriginError {
    #[error(
        "is not an origin; write scheme, host and perhaps a port, without a path, as in \"https://example.com\" or \"http://localhost:*\""
    )]
    Malformed,
    #[error(
        "is the origin of every sandboxed page and local file and never passes; serve the page over HTTP and write its origin, as in \"http://localhost:*\""
    )]
    Null,
    #[error("ends in a slash, which no Origin header has; write \"{right}\"")]
    Slash { right: String },
}

impl Origin {
    /// Reads the value of an `Origin` header other than `null`.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if let Some(right) = text.strip_suffix('/').filter(|right| Self::parse(right).is_ok()) {
            return Err(OriginError::Slash { right: right.to_owned() });
        }
        let (scheme, authority) = text.split_once("://").ok_or(OriginError::Malformed)?;
        let scheme_fits = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let (host, port) = split_port(authority)?;
        if !scheme_fits || !is_host(host) {
            return Err(OriginError::Malformed);
        }
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(port_of(&scheme));
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// Whether `authority`, the value of `Host`, has this origin's host and port. An absent port is the default of the
    /// scheme.
    pub fn is_at(&self, authority: &str) -> bool {
        let is_port = |port: Option<u16>| self.port.is_some() && port.or(port_of(&self.scheme)) == self.port;
        split_port(authority).is_ok_and(|(host, port)| host.eq_ignore_ascii_case(&self.host) && is_port(port))
    }

    /// Whether the host is an IP address.
    pub fn is_by_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The default port of `scheme`, which is in lower case.
fn port_of(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// The host of `authority`, the value of `Host`, without its port. `None` if the authority is malformed.
pub fn host_of(authority: &str) -> Option<&str> {
    split_port(authority).ok().map(|(host, _)| host).filter(|host| is_host(host))
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), OriginError> {
    match authority.rsplit_once(':') {
        // A colon within brackets belongs to an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => {
            let digits_only = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|_| digits_only).ok_or(OriginError::Malformed)?;
            Ok((host, Some(port)))
        }
        _ => Ok((authority, None)),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 7: listed origins compare scheme, host and port.
    #[test]
    fn equal_origins_have_one_form() {
        for (text, form) in [
            ("https://example.com", "https://example.com:443"),
            ("HTTPS://Example.COM:443", "https://example.com:443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]", "http://[::1]:80"),
            ("app://shell:1", "app://shell:1"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), form);
        }
    }

    #[test]
    fn malformed_origins_are_refused() {
        assert_eq!(Origin::parse("https://a/"), Err(OriginError::Slash { right: "https://a".to_owned() }));
        for text in [
            "",
            "null",
            "*",
            "example.com",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://a:",
            "https://a:+1",
            "https://a:99999",
            "https://*.a",
            "://a",
            "https://[x]",
            "https://a b",
        ] {
            assert_eq!(Origin::parse(text), Err(OriginError::Malformed), "{text}");
        }
    }
}
