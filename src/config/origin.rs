//! `Origin`: what an `Origin` header names, in the form in which two are compared (RFC 6454 §4).

use std::fmt;
use std::net::Ipv4Addr;

/// Scheme, host and port of an origin; equal ones are the same origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The scheme, in lower case.
    pub scheme: String,
    /// The host, in lower case; an IPv6 address keeps its brackets.
    pub host: String,
    /// The port that was written, or the scheme's own. `None`: the scheme has no port, as those of apps and extensions.
    pub port: Option<u16>,
}

/// Why a text is not an origin; the message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No scheme and host, or more than these and a port.
    #[error(
        "is not an origin; write scheme, host and perhaps a port, without a path, as in \"https://example.com\" or \"http://localhost:*\""
    )]
    Malformed,
    /// An origin but for the slash behind it, as an address bar shows it.
    #[error("ends in a slash, which no Origin header has; write \"{right}\"")]
    Slash {
        /// The same without it.
        right: String,
    },
}

impl Origin {
    /// Reads what an `Origin` header says, but for `null`, which names none.
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

    /// Whether `authority`, as a `Host` header has it, is this origin's host and port. A port left out is that of the scheme.
    pub fn is_at(&self, authority: &str) -> bool {
        let is_port = |port: Option<u16>| self.port.is_some() && port.or(port_of(&self.scheme)) == self.port;
        split_port(authority).is_ok_and(|(host, port)| host.eq_ignore_ascii_case(&self.host) && is_port(port))
    }

    /// Whether its host is an address and not a name.
    pub(super) fn is_by_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The port that URLs of `scheme`, in lower case, mean without saying it.
fn port_of(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
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
    fn what_is_no_origin_is_refused() {
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
