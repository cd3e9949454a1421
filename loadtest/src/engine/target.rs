//! The server under test: its address, and how sessions are opened there.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use anyhow::anyhow;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::wire::http::{stream, upgrade};
use crate::wire::{Deflate, Dialect, Tls};

/// The server under test.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// The `Host` of the upgrade.
    pub host: String,
    /// The path of the upgrade in the native dialect.
    pub path: String,
    pub subscriber: Dialect,
    pub publisher: Dialect,
    pub publishes_by_http: bool,
    pub deflate: Deflate,
    /// The number of sessions from each of the source addresses 127.0.0.1, 127.0.0.2 …; with 0 the kernel chooses.
    pub sessions_per_address: usize,
    /// The credentials of each session.
    pub token: Option<String>,
    pub tls: Option<Tls>,
}

impl Target {
    /// The server at `url`. With `wss`, sessions use TLS with the settings `tls`.
    pub fn parse(url: &str, subscriber: Dialect, publisher: Dialect, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let right = "write ws://127.0.0.1:8765/ws or wss://push.example.org/ws";
        let bad = |reason: &str| anyhow!("{url:?} is not an address that can be tested: {reason}; {right}");
        let secure = url.starts_with("wss://");
        let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://"));
        let rest = rest.ok_or_else(|| bad("it begins neither with ws:// nor with wss://"))?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (name, has_port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, true),
            _ => (host, false),
        };
        let with_port = if has_port { host.to_owned() } else { format!("{host}:{}", if secure { 443 } else { 80 }) };
        let address = with_port.to_socket_addrs().map_err(|error| bad(&error.to_string()))?.next();
        let address = address.ok_or_else(|| bad("the name has no address"))?;
        let sessions_per_address = if address.ip().is_loopback() && address.is_ipv4() { 900 } else { 0 };
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        let tls_name = || ServerName::try_from(name.trim_matches(['[', ']']).to_owned());
        let tls = tls.filter(|_| secure).map(|config| tls_name().map(|name| Tls { config, name })).transpose();
        Ok(Self {
            address,
            host: host.to_owned(),
            path,
            subscriber,
            publisher,
            publishes_by_http: false,
            deflate: Deflate::Off,
            sessions_per_address,
            token: None,
            tls: tls.map_err(|_| bad("its host is no name that a certificate could bear"))?,
        })
    }

    /// The request that opens a session with `topics`: an upgrade, or that of a stream, which resumes from the positions
    /// in `since`.
    pub(super) fn open_request(&self, dialect: Dialect, topics: &[&str], since: &[(&str, &str, u64)]) -> Vec<u8> {
        let (path, token) = (dialect.path(&self.path, topics, since), self.token.as_deref());
        if dialect.is_stream() {
            return stream::request(&self.host, &path, token);
        }
        let protocol = (dialect == Dialect::Json).then_some("belfry.json.v1");
        upgrade::request(&self.host, &path, self.deflate, protocol, token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_an_address_a_host_and_a_path() {
        let target = Target::parse("ws://127.0.0.1:8765/ws", Dialect::Json, Dialect::Json, None).unwrap();
        assert_eq!((target.address.port(), target.path.as_str(), target.host.as_str()), (8765, "/ws", "127.0.0.1:8765"));
        let target = Target::parse("wss://127.0.0.1/", Dialect::Json, Dialect::Json, None).unwrap();
        assert_eq!((target.address.port(), target.path.as_str()), (443, "/"));
        assert!(Target::parse("http://127.0.0.1/", Dialect::Json, Dialect::Json, None).is_err());
    }
}
