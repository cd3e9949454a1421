//! Parses the URL of a gateway's WebSocket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{anyhow, ensure};
use hyper::Uri;

/// The address of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The path of its Unix socket; `None` if it is reached by `host` and `port`.
    pub unix: Option<PathBuf>,
    /// Whether the scheme is `wss`.
    pub tls: bool,
    /// A name or an address, without the brackets of an IPv6 address.
    pub host: String,
    /// The port; the scheme's default if the URL has none.
    pub port: u16,
    /// The path and query; `/ws` if the URL has no path.
    pub path: String,
}

impl Endpoint {
    /// Parses `ws://HOST[:PORT][/PATH]`, `wss://…`, `HOST:PORT` or `unix:/FILE`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let example = "write it as ws://127.0.0.1:8765/ws, wss://push.example.org/ws, HOST:PORT or unix:/FILE";
        if let Some(file) = text.strip_prefix("unix:") {
            ensure!(file.starts_with('/'), "{text:?} names no file from the root on; write it as unix:/run/belfry/belfry.sock");
            let unix = Some(PathBuf::from(file));
            return Ok(Self { unix, tls: false, host: "localhost".to_owned(), port: 80, path: "/ws".to_owned() });
        }
        let with_scheme = if text.contains("://") || !text.contains(':') { text.to_owned() } else { format!("ws://{text}") };
        let uri = Uri::from_str(&with_scheme).map_err(|error| anyhow!("{text:?} is no URL ({error}); {example}"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(anyhow!("{text:?} is not the URL of a WebSocket; {example}")),
        };
        let authority = uri.authority().ok_or_else(|| anyhow!("{text:?} names no host; {example}"))?;
        ensure!(!authority.as_str().contains('@'), "{text:?} holds a user's name; give a token by --token instead");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        ensure!(!host.is_empty(), "{text:?} names no host; {example}");
        let after_host = &authority.as_str()[authority.host().len()..];
        let port = match after_host.strip_prefix(':') {
            None => Self::default_port(tls),
            Some(port) => port.parse().map_err(|_| anyhow!("port {port:?} in {text:?} is not one of 1 to 65535"))?,
        };
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => "/ws".to_owned(),
            Some(path) if path.starts_with('?') => format!("/ws{path}"),
            Some(path) => path.to_owned(),
        };
        Ok(Self { unix: None, tls, host, port, path })
    }

    /// The value of `Host`, without the scheme's default port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == Self::default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }

    fn default_port(tls: bool) -> u16 {
        if tls { 443 } else { 80 }
    }
}

/// Leaves the query out, which may have a token.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.unix {
            return write!(f, "unix:{}", file.display());
        }
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", if self.tls { "wss" } else { "ws" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(tls: bool, host: &str, port: u16, path: &str) -> Endpoint {
        Endpoint { unix: None, tls, host: host.into(), port, path: path.into() }
    }

    #[test]
    fn valid_urls_are_parsed() {
        for (text, expected, shown) in [
            ("ws://127.0.0.1:8765/ws", endpoint(false, "127.0.0.1", 8765, "/ws"), "ws://127.0.0.1:8765/ws"),
            ("ws://127.0.0.1:8765", endpoint(false, "127.0.0.1", 8765, "/ws"), "ws://127.0.0.1:8765/ws"),
            ("ws://localhost/", endpoint(false, "localhost", 80, "/ws"), "ws://localhost/ws"),
            ("wss://push.example.org", endpoint(true, "push.example.org", 443, "/ws"), "wss://push.example.org/ws"),
            ("ws://[::1]:9/a?token=t", endpoint(false, "::1", 9, "/a?token=t"), "ws://[::1]:9/a"),
            ("localhost:8765", endpoint(false, "localhost", 8765, "/ws"), "ws://localhost:8765/ws"),
            ("[::1]:8765", endpoint(false, "::1", 8765, "/ws"), "ws://[::1]:8765/ws"),
            ("wss://[::1]/push/ws", endpoint(true, "::1", 443, "/push/ws"), "wss://[::1]/push/ws"),
        ] {
            let parsed = Endpoint::parse(text).unwrap();
            assert_eq!(parsed, expected, "{text}");
            assert_eq!(parsed.to_string(), shown);
        }
    }

    #[test]
    fn a_unix_socket_is_an_endpoint() {
        let parsed = Endpoint::parse("unix:/run/belfry/belfry.sock").unwrap();
        assert_eq!((parsed.unix.as_deref(), parsed.tls), (Some(std::path::Path::new("/run/belfry/belfry.sock")), false));
        assert_eq!((parsed.authority(), parsed.to_string()), ("localhost".to_owned(), "unix:/run/belfry/belfry.sock".to_owned()));
    }

    #[test]
    fn malformed_urls_are_refused() {
        for text in [
            "",
            "localhost",
            "localhost:port",
            "http://localhost/ws",
            "ws://",
            "ws://host:0x1/",
            "ws://host:99999/",
            "ws://u:p@host/",
            "ws://a b/",
            "unix:",
            "unix:belfry.sock",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text:?}");
        }
    }
}
