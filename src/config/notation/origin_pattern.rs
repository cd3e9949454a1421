//! The entries of `server.origins`: one origin, the subdomains of a host, or all ports of a host.

use super::origin::{Origin, OriginError};

/// An entry of `server.origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    /// The origin. If the port is a wildcard, it has the default port.
    origin: Origin,
    /// Written `*.host`: the subdomains, without the host itself.
    subdomains: bool,
    /// Written `host:*`: any port.
    any_port: bool,
}

impl OriginPattern {
    /// Reads an entry.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.eq_ignore_ascii_case("null") {
            return Err(OriginError::Null);
        }
        let (scheme, authority) = text.split_once("://").ok_or(OriginError::Malformed)?;
        let (authority, any_port) = authority.strip_suffix(":*").map_or((authority, false), |host| (host, true));
        let (authority, subdomains) = authority.strip_prefix("*.").map_or((authority, false), |host| (host, true));
        let origin = Origin::parse(&format!("{scheme}://{authority}"))?;
        if subdomains && origin.is_by_address() {
            return Err(OriginError::Malformed);
        }
        Ok(Self { origin, subdomains, any_port })
    }

    /// Whether the value of an `Origin` header matches.
    pub fn matches(&self, origin: &str) -> bool {
        let named = &self.origin;
        let Ok(origin) = Origin::parse(origin) else { return false };
        let is_host = match self.subdomains {
            true => origin.host.strip_suffix(&*named.host).is_some_and(|above| above.len() > 1 && above.ends_with('.')),
            false => origin.host == named.host,
        };
        is_host && origin.scheme == named.scheme && (self.any_port || origin.port == named.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_matches_only_the_origins_that_it_names() {
        for (entry, origin, passes) in [
            ("https://example.com", "https://Example.com:443", true),
            ("https://example.com", "https://a.example.com", false),
            ("http://localhost:*", "http://localhost", true),
            ("http://localhost:*", "http://localhost:5173", true),
            ("http://localhost:*", "https://localhost:5173", false),
            ("http://localhost:*", "http://localhost.evil.example:1", false),
            ("http://[::1]:*", "http://[::1]:9", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            ("https://*.example.com", "https://a.example.com:444", false),
            ("https://*.example.com:*", "https://a.example.com:444", true),
            ("https://*.example.com:*", "null", false),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("capacitor://localhost", "ionic://localhost", false),
            ("chrome-extension://abcdef", "chrome-extension://abcdef", true),
            ("app://shell", "app://shell:1", false),
        ] {
            assert_eq!(OriginPattern::parse(entry).unwrap().matches(origin), passes, "{entry} and {origin}");
        }
    }

    #[test]
    fn patterns_that_match_every_origin_are_refused() {
        for text in
            ["*", "https://*", "*://example.com", "https://*.*.a", "https://a.*", "https://*.", "https://*.[::1]", "https://*.127.0.0.1"]
        {
            assert!(OriginPattern::parse(text).is_err(), "{text}");
        }
    }

    /// PROTOCOL 7: `null` never passes. The bug: it passed where it was listed.
    #[test]
    fn the_entry_null_is_refused() {
        for text in ["null", "NULL"] {
            assert_eq!(OriginPattern::parse(text), Err(OriginError::Null), "{text}");
        }
    }
}
