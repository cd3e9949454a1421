//! Identities: the results of verified credentials, and the errors of refused ones.

use std::sync::Arc;

use super::grants::Grants;
use super::keys::ApiKey;
use super::verifying::VerifyingKey;
use crate::codes::{CloseCode, ErrorCode};
use crate::session_id::MemberInfo;

/// The identity of a session or a request.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The token's `sub`, or the API key's name; `None`: anonymous.
    pub user: Option<Arc<str>>,
    /// The grants, which include those of everybody.
    pub grants: Arc<Grants>,
    /// The token's `exp`, in Unix seconds; a key has none.
    pub expires: Option<u64>,
    /// The API key's name, if the credential is one.
    pub key: Option<Arc<str>>,
    /// Whether it may use the administrators' API.
    pub admin: bool,
    /// The token's further claims for Centrifugo's protocol.
    pub connection: Option<Arc<ConnectionClaims>>,
    /// The key's own rate, in place of `limits.commands_per_second`.
    pub commands_per_second: Option<u32>,
    /// The credential that was accepted, so that a reload can check whether it is still valid.
    pub(super) credential: Credential,
}

/// The claims of a connection token for Centrifugo's protocol, beside user and expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionClaims {
    /// The information that presence and publications show of the user.
    pub info: Option<Arc<MemberInfo>>,
    /// The topics that the gateway subscribes the session to at `connect`.
    pub channels: Vec<OwnChannel>,
}

/// A topic that the gateway subscribes a session to, by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnChannel {
    /// Its name.
    pub name: Box<str>,
    /// The information that presence and publications of this topic show, as JSON text.
    pub info: Option<Box<str>>,
}

/// A subscription token of Centrifugo's protocol. It authorizes one subscription, independent of grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionToken {
    /// The topic.
    pub channel: Box<str>,
    /// The user of the token; `None`: it names none.
    pub user: Option<Arc<str>>,
    /// Its `exp`, in Unix seconds.
    pub expires: Option<u64>,
    /// The session of the token, if it names one.
    pub client: Option<Box<str>>,
    /// The information that presence and publications show of the subscriber, as JSON text.
    pub info: Option<Box<str>>,
}

/// The credential of an identity.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// No credential.
    Anonymous,
    /// A token that `key` verified, with the grants in the token itself.
    Token { key: Arc<VerifyingKey>, own: Arc<Grants> },
    /// An API key.
    ApiKey(Arc<ApiKey>),
}

impl Identity {
    /// The same identity with another expiry, in Unix seconds.
    pub fn until(&self, expires: u64) -> Self {
        Self { expires: Some(expires), ..self.clone() }
    }

    /// The anonymous identity with `grants`.
    pub fn anonymous(grants: Arc<Grants>) -> Self {
        Self {
            user: None,
            grants,
            expires: None,
            key: None,
            admin: false,
            connection: None,
            commands_per_second: None,
            credential: Credential::Anonymous,
        }
    }
}

/// Why a credential was refused. The error contains no key, secret or signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The credential is no valid token, and no known API key.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// The token's `exp` has passed.
    #[error("the token has expired")]
    Expired,
}

impl AuthError {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    /// The contract's code for the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::TokenInvalid,
            Self::Expired => ErrorCode::TokenExpired,
        }
    }

    /// The close code for a credential of an upgrade (PROTOCOL section 6).
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Invalid(_) => CloseCode::TokenInvalid,
            Self::Expired => CloseCode::TokenExpired,
        }
    }
}
