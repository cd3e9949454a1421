//! The name by which other gateways know one run of a gateway.

use std::fmt;

use rand::Rng;

use crate::session_id::parse_hex;

/// One run of a gateway: 64 random bits, written as 16 hexadecimal digits. A gateway that is started again has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(u64);

impl GatewayId {
    /// A new name.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The name that `text` writes, which is then a valid token of a NATS subject.
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text, 16).ok().map(|number| Self(number as u64))
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
