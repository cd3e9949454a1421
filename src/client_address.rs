//! The unit in which limits per address count: an IPv4 address, or an IPv6 network.

use std::net::{IpAddr, Ipv6Addr};

/// The address that limits per address count `address` as. An IPv4 address counts by itself, an IPv6 address as its
/// network of 64 bits, because one host has all addresses of that network.
pub fn counting_unit(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_counts_by_its_64_bit_prefix() {
        let counted = |text: &str| counting_unit(text.parse().unwrap());
        assert_eq!(counted("2001:db8:1:2:3::4"), counted("2001:db8:1:2:ffff::1"));
        assert_ne!(counted("2001:db8:1:2::1"), counted("2001:db8:1:3::1"));
        assert_eq!(counted("::ffff:1.2.3.4"), counted("1.2.3.4"));
        assert_ne!(counted("1.2.3.4"), counted("1.2.3.5"));
    }
}
