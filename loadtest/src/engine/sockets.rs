//! The target of sessions, and their resources: source addresses, ports, file descriptors.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;

use anyhow::anyhow;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::Tls;
use crate::wire::http::{stream, upgrade};
use crate::wire::{Deflate, Dialect};

/// The server under test.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// The `Host` of the upgrade.
    pub host: String,
    /// The path of the upgrade in the native dialect.
    pub path: String,
    /// The dialect of subscribers.
    pub subscriber: Dialect,
    /// The dialect of publishers.
    pub publisher: Dialect,
    /// Whether publishers use HTTP.
    pub publishers_post: bool,
    /// The offer of permessage-deflate.
    pub deflate: Deflate,
    /// The source addresses of sessions.
    pub spread: Spread,
    /// The credentials of each session.
    pub token: Option<String>,
    /// TLS, for `wss`.
    pub tls: Option<Tls>,
}

/// How sessions are spread over source addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The number of sessions from each of 127.0.0.1, 127.0.0.2 …; with 0 the kernel chooses.
    pub sessions_per_address: usize,
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
        let spread = Spread { sessions_per_address: if address.ip().is_loopback() && address.is_ipv4() { 900 } else { 0 } };
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        let tls = match tls.filter(|_| secure) {
            Some(config) => {
                let name = name.trim_matches(['[', ']']).to_owned();
                Some(Tls {
                    config,
                    name: ServerName::try_from(name).map_err(|_| bad("its host is no name that a certificate could bear"))?,
                })
            }
            None => None,
        };
        let host = host.to_owned();
        Ok(Self { address, host, path, subscriber, publisher, publishers_post: false, deflate: Deflate::Off, spread, token: None, tls })
    }
}

impl Spread {
    fn source(self, index: usize) -> Option<Ipv4Addr> {
        let number = index.checked_div(self.sessions_per_address)?;
        Some(Ipv4Addr::new(127, 0, (number / 250 % 250) as u8, (1 + number % 250) as u8))
    }
}

/// Begins to connect the session `index`.
pub(super) fn connect(target: &Target, index: usize) -> anyhow::Result<TcpStream> {
    let source = target.spread.source(index);
    open(target.address, source).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => no_files(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => anyhow!(
            "out of ports from {} to the target; use more source addresses with a smaller --spread, or widen net.ipv4.ip_local_port_range",
            source.unwrap_or(Ipv4Addr::UNSPECIFIED)
        ),
        _ => anyhow!("can't connect to {}: {error}", target.address),
    })
}

/// The limit of open files is too low: `hard` at most.
fn no_files(hard: u64) -> anyhow::Error {
    anyhow!("out of file descriptors (the hard limit is {hard}); raise it with `ulimit -Hn`, or ask for fewer --sessions")
}

fn open(address: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// The request of a session that takes `topics`: an upgrade, or that of a stream, which resumes from the positions in
/// `since`.
pub(super) fn upgrade_request(target: &Target, dialect: Dialect, topics: &[&str], since: &[(&str, &str, u64)]) -> Vec<u8> {
    let (path, token) = (dialect.path(&target.path, topics, since), target.token.as_deref());
    if dialect.is_stream() {
        return stream::request(&target.host, &path, token);
    }
    let protocol = (dialect == Dialect::Json).then_some("belfry.json.v1");
    upgrade::request(&target.host, &path, target.deflate, protocol, token)
}

/// Raises the soft limit of open files to the hard one; an error if that is less than `sessions` need.
pub fn raise_file_limit(sessions: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    match limit.maximum {
        Some(maximum) if maximum < sessions as u64 + 32 => Err(no_files(maximum)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target = Target::parse("ws://127.0.0.1:8765/ws", Dialect::Json, Dialect::Json, None).unwrap();
        assert_eq!((target.address.port(), target.path.as_str(), target.host.as_str()), (8765, "/ws", "127.0.0.1:8765"));
        let target = Target::parse("wss://127.0.0.1/", Dialect::Json, Dialect::Json, None).unwrap();
        assert_eq!((target.address.port(), target.path.as_str()), (443, "/"));
        assert!(Target::parse("http://127.0.0.1/", Dialect::Json, Dialect::Json, None).is_err());
    }

    #[test]
    fn sessions_are_spread_over_addresses() {
        let spread = Spread { sessions_per_address: 900 };
        assert_eq!(spread.source(899), Some(Ipv4Addr::new(127, 0, 0, 1)));
        assert_eq!(spread.source(900), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(spread.source(250 * 900), Some(Ipv4Addr::new(127, 0, 1, 1)));
        assert_eq!(Spread { sessions_per_address: 0 }.source(900), None);
    }
}
