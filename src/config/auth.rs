//! `[auth]`, typed: who may do what, and the keys that say who somebody is.

use std::fmt;

use crate::topic_name::Scope;

/// The shortest secret that is no weaker than its hash, in bytes: HS256's is the shortest (RFC 7518 §3.2).
pub const SECRET_BYTES_ADVISED: usize = 32;

/// `[auth]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// What everybody may; `None` when neither list names a pattern.
    pub anonymous: Option<GrantLists>,
    /// What every session with a user may besides.
    pub authenticated: GrantLists,
    /// A token's `aud` must name one of these, where it has one and its key says nothing else.
    pub audience: Vec<String>,
    /// What a token's `iss` must be, where its key says nothing else.
    pub issuer: Option<String>,
    /// Whether a token must have `exp` and `sub`.
    pub require_exp: bool,
    /// The keys that verify tokens.
    pub keys: Vec<TokenKey>,
    /// Keys that are credentials themselves.
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

/// The two lists of a grant, as written: `{user}` stands in them for the session's user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantLists {
    /// What may be subscribed to.
    pub subscribe: Vec<Scope>,
    /// Where may be published.
    pub publish: Vec<Scope>,
}

/// One of `auth.keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// What verifies.
    pub material: KeyMaterial,
    /// Tokens of this key must have an `aud` that names one of these.
    pub audience: Option<Vec<String>>,
    /// What `iss` must be in tokens of this key.
    pub issuer: Option<String>,
}

/// What verifies tokens. Files are read when the configuration is loaded, so that `check` finds a bad one.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
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
        match &self.material {
            KeyMaterial::Secret { secret, .. } => Some(secret),
            KeyMaterial::PublicKey { .. } | KeyMaterial::Jwks { .. } => None,
        }
    }
}

impl From<KeyMaterial> for TokenKey {
    /// A key that expects of its tokens what holds for all.
    fn from(material: KeyMaterial) -> Self {
        Self { material, audience: None, issuer: None }
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
