//! `[auth]`, typed: who may do what, and the keys that say who somebody is.

use std::fmt;

use crate::topic_name::Pattern;

/// The shortest secret that is no weaker than its hash, in bytes: HS256's is the shortest (RFC 7518 §3.2).
pub const SECRET_BYTES_ADVISED: usize = 32;

/// `[auth]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Auth {
    /// What everybody may; `None` when neither list names a pattern.
    pub anonymous: Option<GrantLists>,
    /// The keys that verify tokens.
    pub keys: Vec<TokenKey>,
    /// Keys that are credentials themselves.
    pub api_keys: Vec<ApiKey>,
}

/// The two lists of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantLists {
    /// What may be subscribed to.
    pub subscribe: Vec<Pattern>,
    /// Where may be published.
    pub publish: Vec<Pattern>,
}

/// One of `auth.keys`. Files are read when the configuration is loaded, so that `check` finds a bad one.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenKey {
    /// A shared secret.
    Secret {
        /// `HS256`, `HS384` or `HS512`.
        algorithm: String,
        /// The secret's bytes.
        secret: String,
    },
    /// A public key.
    PublicKey {
        /// `RS256`, `ES256` or `EdDSA`; where it was left out, the key itself says which.
        algorithm: Option<String>,
        /// The file's PEM text.
        pem: String,
    },
    /// A set of public keys.
    Jwks {
        /// The file's JSON text.
        json: String,
    },
}

impl TokenKey {
    /// The secret, where it is one.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Secret { secret, .. } => Some(secret),
            Self::PublicKey { .. } | Self::Jwks { .. } => None,
        }
    }
}

/// One of `auth.api_keys`.
#[derive(Clone, PartialEq)]
pub struct ApiKey {
    /// Its name: the `user` of what is done with it.
    pub name: String,
    /// The credential itself.
    pub key: String,
    /// What it may.
    pub grants: GrantLists,
    /// Whether it may administer.
    pub admin: bool,
    /// A rate of its own, in place of `limits.commands_per_second`.
    pub commands_per_second: Option<u32>,
}

// A configuration may be logged whole; what opens doors is left out of that.
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { algorithm, .. } => f.debug_struct("Secret").field("algorithm", algorithm).finish_non_exhaustive(),
            Self::PublicKey { algorithm, pem } => f.debug_struct("PublicKey").field("algorithm", algorithm).field("pem", pem).finish(),
            Self::Jwks { json } => f.debug_struct("Jwks").field("json", json).finish(),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("grants", &self.grants).field("admin", &self.admin).finish_non_exhaustive()
    }
}
