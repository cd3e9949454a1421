//! The address of an emulated session: the gateway's name, the number of the shard, and a secret.

use std::sync::Arc;

use crate::session_id::SessionSecret;
use crate::shard::SessionContext;

/// The address of one emulated session, as its own protocol knows it.
pub struct EmulatedAddress {
    secret: SessionSecret,
    /// The name of the gateway, as clients receive it.
    node: Arc<str>,
}

/// The address of a session within one gateway, as a request gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAddress {
    /// The number of the session's shard.
    pub shard: usize,
    /// The session's secret.
    pub secret: SessionSecret,
}

impl EmulatedAddress {
    /// The address of a new session of the gateway `node`.
    pub fn new(node: &Arc<str>) -> Self {
        Self { secret: SessionSecret::random(), node: Arc::clone(node) }
    }

    pub fn secret(&self) -> SessionSecret {
        self.secret
    }

    pub fn node(&self) -> &str {
        &self.node
    }

    /// The text that clients receive, which [`SessionAddress::parse`] parses: the secret and the shard's number.
    pub fn session(&self, context: &SessionContext<'_>) -> String {
        format!("{}{}", self.secret, context.shard())
    }
}

impl SessionAddress {
    /// Parses the address in a request; `None`: the text has another form.
    pub fn parse(session: &str) -> Option<Self> {
        const SECRET_BYTES: usize = 32;
        let (secret, shard) = session.split_at_checked(SECRET_BYTES)?;
        let is_number = !shard.is_empty() && shard.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| Some(Self { shard: shard.parse().ok()?, secret: secret.parse().ok()? }))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_address_is_parsed() {
        let secret = SessionSecret::random();
        assert_eq!(SessionAddress::parse(&format!("{secret}12")), Some(SessionAddress { shard: 12, secret }));
        assert!(!format!("{secret:?}").contains(&secret.to_string()), "no log has the secret");
        for text in ["", "1", "é", &format!("{secret}"), &format!("{secret}-1"), &format!("{secret}+1"), &format!("x{secret}1")] {
            assert_eq!(SessionAddress::parse(text), None, "{text:?}");
        }
    }
}
