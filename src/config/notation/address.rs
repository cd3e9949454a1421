//! Parses addresses: `host:port` to listen on, and networks to trust.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use ipnet::{IpNet, Ipv4Net};

/// The address of all peers on Unix sockets. No peer of a network has this address.
pub const UNIX_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// `address` as text; `unix` for [`UNIX_PEER`].
pub fn peer_name(address: IpAddr) -> String {
    if address == UNIX_PEER { "unix".to_owned() } else { address.to_string() }
}

/// Reads an address to listen on. The host may be a name.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let malformed = "is not an address; write host and port, as in \"127.0.0.1:8765\" (port 0 picks one), \"unix:/path\" or \"systemd\"";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or(malformed)?;
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    // Digits and dots only are a mistyped address, which a resolver may still accept (127.1).
    let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let port: u16 = port.parse().map_err(|_| malformed)?;
    if !is_name || is_number {
        return Err(malformed.to_owned());
    }
    let unresolved = |error: &dyn Display| format!("names a host without address here ({error}); write one, as in \"127.0.0.1:{port}\"");
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|error| unresolved(&error))?.collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied().ok_or_else(|| unresolved(&"none found"))
}

/// Turns an IPv4-mapped network (`::ffff:10.0.0.0/104`) into the IPv4 network, because peers are compared as IPv4.
fn without_mapping(network: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let IpNet::V6(mapped) = network else { return network };
    let v4 = mapped.addr().to_ipv4_mapped().filter(|_| mapped.prefix_len() >= MAPPED_PREFIX);
    v4.and_then(|address| Ipv4Net::new(address, mapped.prefix_len() - MAPPED_PREFIX).ok()).map_or(network, IpNet::V4)
}

/// Reads a network, a single address, or `unix` for all peers on Unix sockets.
pub fn network(text: &str) -> Result<IpNet, &'static str> {
    if text == "unix" {
        return Ok(UNIX_PEER.into());
    }
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(without_mapping).ok_or("is neither an address nor a network; write as in \"10.0.0.7\", \"10.0.0.0/8\" or \"unix\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv4-mapped networks and addresses become IPv4.
    #[test]
    fn mapped_networks_are_ipv4() {
        for (text, plain) in
            [("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:10.0.0.7", "10.0.0.7/32"), ("::ffff:0.0.0.0/80", "::ffff:0.0.0.0/80")]
        {
            assert_eq!(network(text).unwrap(), plain.parse::<IpNet>().unwrap(), "{text}");
        }
    }
}
