//! Who somebody is and what they may: credentials to [`Identity`].

mod grants;

pub use grants::Grants;

use std::sync::Arc;

use crate::clock::Clock;
use crate::codes::{CloseCode, ErrorCode};
use crate::config;

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
    /// The key's own rate, in place of `limits.commands_per_second`.
    pub commands_per_second: Option<u32>,
}

/// Why a credential was refused. Nothing of the credential itself is in it.
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

/// Checks credentials against the keys in force.
#[derive(Debug)]
pub struct Auth {}

impl Auth {
    /// With the keys of `settings`.
    pub fn new(_settings: &config::Auth, _clock: Clock) -> Result<Self, config::Problem> {
        unimplemented!()
    }

    /// Takes other keys and grants; sessions ask again through [`Auth::renew`].
    pub fn reload(&self, _settings: &config::Auth) -> Result<(), config::Problem> {
        unimplemented!()
    }

    /// Everybody's identity, where there are anonymous grants.
    pub fn anonymous(&self) -> Option<Identity> {
        unimplemented!()
    }

    /// Whose token or API key this is. Everybody's grants come on top of its own.
    pub fn identify(&self, _credential: &str) -> Result<Identity, AuthError> {
        unimplemented!()
    }

    /// What `identity` has become after a reload: other grants, or refused because its key is gone. A token keeps its own
    /// grants as long as it lives and its key is still there.
    pub fn renew(&self, _identity: &Identity) -> Result<Identity, AuthError> {
        unimplemented!()
    }
}
