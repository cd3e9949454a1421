//! Whoever stands behind a session or a request, once a credential was accepted or refused.

use std::sync::Arc;

use super::grants::Grants;
use super::keys::ApiKey;
use super::verifying::VerifyingKey;
use crate::codes::{CloseCode, ErrorCode};
use crate::session_id::MemberInfo;

/// Whoever stands behind a session or a request.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The token's `sub` or the key's name; `None` when anonymous.
    pub user: Option<Arc<str>>,
    /// What it may, everybody's rights included.
    pub grants: Arc<Grants>,
    /// The token's `exp`, in Unix seconds; a key has none.
    pub expires: Option<u64>,
    /// The API key's name, if it is one.
    pub key: Option<Arc<str>>,
    /// Whether it may administer.
    pub admin: bool,
    /// What a token says to Centrifugo's protocol beside that.
    pub connection: Option<Arc<Connection>>,
    /// The key's own rate, in place of `limits.commands_per_second`.
    pub commands_per_second: Option<u32>,
    /// What it was accepted for, so that a reload can ask whether that still holds.
    pub(super) origin: Origin,
}

/// What a connection token says to Centrifugo's protocol beside user and expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// What presence and publications show of its user.
    pub info: Option<Arc<MemberInfo>>,
    /// Topics that the session is subscribed to as it connects.
    pub channels: Vec<OwnChannel>,
}

/// A topic that a token has its session subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnChannel {
    /// Its name.
    pub name: Box<str>,
    /// What presence and publications show of the session there, as JSON text.
    pub info: Option<Box<str>>,
}

/// A subscription token of Centrifugo's protocol: it allows one subscription, whatever the grants say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionToken {
    /// The topic.
    pub channel: Box<str>,
    /// Whose it is; `None`: nobody's in particular.
    pub user: Option<Arc<str>>,
    /// Its `exp`, in Unix seconds.
    pub expires: Option<u64>,
    /// The session that it is for, if it names one.
    pub client: Option<Box<str>>,
    /// What presence and publications show of the subscriber, as JSON text.
    pub info: Option<Box<str>>,
}

/// What an identity rests on.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// No credential.
    Anonymous,
    /// A token that `key` verified, with the grants in the token itself.
    Token { key: Arc<VerifyingKey>, own: Arc<Grants> },
    /// An API key.
    ApiKey(Arc<ApiKey>),
}

impl Identity {
    /// The same with another expiry, in Unix seconds.
    pub fn until(&self, expires: u64) -> Self {
        Self { expires: Some(expires), ..self.clone() }
    }

    /// Nobody in particular, with `grants`; the default ones allow nothing.
    pub fn anonymous(grants: Arc<Grants>) -> Self {
        Self {
            user: None,
            grants,
            expires: None,
            key: None,
            admin: false,
            connection: None,
            commands_per_second: None,
            origin: Origin::Anonymous,
        }
    }
}

/// Why a credential was refused. No key, secret or signature is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not a token or key that the gateway knows.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// Past its `exp`.
    #[error("the token has expired")]
    Expired,
}

impl AuthError {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    /// The reply's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::TokenInvalid,
            Self::Expired => ErrorCode::TokenExpired,
        }
    }

    /// The Close frame's code, for a credential that came with the upgrade.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Invalid(_) => CloseCode::TokenInvalid,
            Self::Expired => CloseCode::TokenExpired,
        }
    }
}
