//! How requests that speak for a session find it: by the gateway, the shard and a secret.

use std::sync::Arc;

use crate::session_id::SessionSecret;
use crate::shard::SessionContext;

/// What a session is known by to the requests that speak for it.
pub struct ByRequests {
    secret: SessionSecret,
    /// The gateway, as it is told to clients.
    node: Arc<str>,
}

/// Which session a request speaks for, within one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addressed {
    /// Its shard's number.
    pub shard: usize,
    /// Its secret.
    pub secret: SessionSecret,
}

impl ByRequests {
    /// A new session of the gateway `node`.
    pub fn new(node: &Arc<str>) -> Self {
        Self { secret: SessionSecret::random(), node: Arc::clone(node) }
    }

    pub fn secret(&self) -> SessionSecret {
        self.secret
    }

    pub fn node(&self) -> &str {
        &self.node
    }

    /// What the client is told of the session, which [`Addressed::read`] reads.
    pub fn session(&self, context: &SessionContext<'_>) -> String {
        format!("{}{}", self.secret, context.shard())
    }
}

impl Addressed {
    /// Reads what a client says of its session; `None`: no session was ever called so.
    pub fn read(session: &str) -> Option<Self> {
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
    fn what_was_told_is_read() {
        let secret = SessionSecret::random();
        assert_eq!(Addressed::read(&format!("{secret}12")), Some(Addressed { shard: 12, secret }));
        assert!(!format!("{secret:?}").contains(&secret.to_string()), "it goes into no log");
        for text in ["", "1", "é", &format!("{secret}"), &format!("{secret}-1"), &format!("{secret}+1"), &format!("x{secret}1")] {
            assert_eq!(Addressed::read(text), None, "{text:?}");
        }
    }
}
