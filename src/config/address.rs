//! Addresses as they are written: `host:port` to listen on, networks to trust.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use ipnet::IpNet;

/// An address to listen on, or a host's name in its place.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let malformed = "is not an address; write host and port, as in \"127.0.0.1:8765\" (port 0 picks one)";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or(malformed)?;
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    // Digits and dots alone are a damaged address, which a resolver may still take (127.1).
    let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let port: u16 = port.parse().map_err(|_| malformed)?;
    if !is_name || is_number {
        return Err(malformed.to_owned());
    }
    let unresolved = |error: &dyn Display| format!("names a host without address here ({error}); write one, as in \"127.0.0.1:{port}\"");
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|error| unresolved(&error))?.collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied().ok_or_else(|| unresolved(&"none found"))
}

/// A network, or an address that stands for itself.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or("is neither an address nor a network; write as in \"10.0.0.7\" or \"10.0.0.0/8\"")
}
