//! `[auth]`, typed: grants, and the keys that identify users.

use std::fmt;

use crate::topic_name::Scope;

/// The shortest secret that is as strong as HS256, in bytes (RFC 7518 §3.2).
pub const SECRET_BYTES_ADVISED: usize = 32;

/// `[auth]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// The grants of every session; `None` if both lists are empty.
    pub anonymous: Option<GrantLists>,
    /// Further grants of every session that has a user.
    pub authenticated: GrantLists,
    /// If a token has `aud`, it must name one of these, unless the token's key has its own list.
    pub audience: Vec<String>,
    /// The `iss` of tokens, unless the token's key has its own.
    pub issuer: Option<String>,
    /// Whether a token must have `exp` and `sub`.
    pub require_exp: bool,
    /// The keys that verify tokens.
    pub keys: Vec<TokenKey>,
    /// API keys.
    pub api_keys: Vec<ApiKey>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            anonymous: None,
            authenticated: GrantLists::default(),
            audience: vec!["belfry".to_owned()],
            issuer: None,
            require_exp: true,
            keys: Vec::new(),
            api_keys: Vec::new(),
        }
    }
}

/// The two lists of grants. `{user}` in a pattern is replaced by the session's user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantLists {
    /// Patterns that may be subscribed to.
    pub subscribe: Vec<Scope>,
    /// Patterns that may be published to.
    pub publish: Vec<Scope>,
}

/// One of `auth.keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// The key itself.
    pub material: KeyMaterial,
    /// This key's tokens must have an `aud` that names one of these.
    pub audience: Option<Vec<String>>,
    /// The `iss` of this key's tokens.
    pub issuer: Option<String>,
}

/// A key that verifies tokens. Its file is read when the configuration is loaded, so that `check` finds a bad one.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// A shared secret.
    Secret {
        /// `HS256`, `HS384` or `HS512`.
        algorithm: String,
        /// The secret.
        secret: String,
    },
    /// A public key.
    PublicKey {
        /// `RS256`, `ES256` or `EdDSA`; if absent, it follows from the key.
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
    /// The secret, if it is a shared secret.
    pub fn secret(&self) -> Option<&str> {
        match &self.material {
            KeyMaterial::Secret { secret, .. } => Some(secret),
            KeyMaterial::PublicKey { .. } | KeyMaterial::Jwks { .. } => None,
        }
    }
}

impl From<KeyMaterial> for TokenKey {
    /// A key with the audience and issuer of `[auth]`.
    fn from(material: KeyMaterial) -> Self {
        Self { material, audience: None, issuer: None }
    }
}

/// One of `auth.api_keys`. The default has no grants.
#[derive(Clone, Default, PartialEq)]
pub struct ApiKey {
    /// Its name, which is the `user` of its sessions and requests.
    pub name: String,
    /// The credential.
    pub key: String,
    /// Its grants.
    pub grants: GrantLists,
    /// Whether it is an administrator's.
    pub admin: bool,
    /// Its rate, in place of `limits.commands_per_second`.
    pub commands_per_second: Option<u32>,
}

// A configuration may be logged, so secrets are not printed.
impl fmt::Debug for KeyMaterial {
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
