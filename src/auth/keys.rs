//! The keys in force: those that verify tokens, each with its one algorithm, beside those that are credentials themselves.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};
use subtle::ConstantTimeEq;

use super::grants::Grants;
use super::jwks;
use crate::config::{self, GrantLists, Problem, TokenKey};

/// The shortest secret that is no weaker than its hash (RFC 7518 §3.2), in bytes.
const SECRET_BYTES_ADVISED: usize = 32;
/// The lengths of a PKCS#1 public key of 2,048 bits (the least of RFC 7518 §3.3) and of 4,096 (the most that is verified).
const RSA_DER_BYTES: std::ops::RangeInclusive<usize> = 266..=530;

/// Every key and the grants of everybody, as one configuration has them; a reload makes another.
#[derive(Debug)]
pub(super) struct KeySet {
    /// What everybody may; `None` when nobody may do anything without a credential.
    pub anonymous: Option<Arc<Grants>>,
    verifying: Vec<Arc<VerifyingKey>>,
    api: Vec<Arc<ApiKey>>,
}

impl KeySet {
    /// The keys of `settings`, each tried, so that a bad one is found at the start and not with the first token.
    pub fn new(settings: &config::Auth) -> Result<Self, Problem> {
        let everybody = settings.anonymous.clone().unwrap_or_default();
        let mut verifying = Vec::new();
        for (index, key) in settings.keys.iter().enumerate() {
            let place = format!("auth.keys[{index}]");
            match key {
                TokenKey::Secret { algorithm, secret } => verifying.push(VerifyingKey::from_secret(&place, algorithm, secret)?),
                TokenKey::PublicKey { algorithm, pem } => verifying.push(VerifyingKey::from_pem(&place, algorithm.as_deref(), pem)?),
                TokenKey::Jwks { json } => verifying.extend(jwks::read(&place, json)?),
            }
        }
        let mut api = Vec::new();
        for key in &settings.api_keys {
            if key.key.is_empty() {
                return Err(Problem(format!("auth.api_keys: the key of {:?} is empty; give it a long random text", key.name)));
            }
            api.push(Arc::new(ApiKey::new(key, &everybody)));
        }
        let anonymous = settings.anonymous.clone().map(|lists| Arc::new(Grants::new(lists)));
        Ok(Self { anonymous, verifying: verifying.into_iter().map(Arc::new).collect(), api })
    }

    /// The API key that `credential` is, the first if it is there twice. Every key is compared, each in a time that only its
    /// length can be read from.
    pub fn api_key(&self, credential: &str) -> Option<&Arc<ApiKey>> {
        self.api.iter().fold(None, |found, key| found.or(key.is(credential).then_some(key)))
    }

    /// The keys that may have signed a token with this head. A `kid` chooses among the keys that have one.
    pub fn verifying<'a>(&'a self, algorithm: &'a str, kid: Option<&'a str>) -> impl Iterator<Item = &'a Arc<VerifyingKey>> {
        self.verifying.iter().filter(move |key| key.name == algorithm && (kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid))
    }

    /// Whether `key` is still among the keys, wherever it stands now; an RSA key that has moved between PEM and JWKS is taken for
    /// another one.
    pub fn still_has(&self, key: &VerifyingKey) -> bool {
        self.verifying.iter().any(|other| other.is_same_key(key))
    }

    /// `own` with everybody's grants on top.
    pub fn with_everybodys(&self, own: &Grants) -> Arc<Grants> {
        Arc::new(match &self.anonymous {
            Some(everybody) => own.union(everybody),
            None => own.clone(),
        })
    }
}

/// A key that verifies tokens. Its algorithm is its own: a token's `alg` must be the same and chooses nothing.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    name: &'static str,
    algorithm: Algorithm,
    kid: Option<String>,
    key: DecodingKey,
}

impl VerifyingKey {
    fn from_secret(place: &str, algorithm: &str, secret: &str) -> Result<Self, Problem> {
        let (name, algorithm) = match algorithm {
            "HS256" => ("HS256", Algorithm::HS256),
            "HS384" => ("HS384", Algorithm::HS384),
            "HS512" => ("HS512", Algorithm::HS512),
            _ => return Err(Problem(format!("{place}.algorithm: {algorithm:?} is not for a secret; write HS256, HS384 or HS512"))),
        };
        if secret.is_empty() {
            return Err(Problem(format!("{place}.secret is empty; give {SECRET_BYTES_ADVISED} random bytes or more")));
        }
        if secret.len() < SECRET_BYTES_ADVISED {
            tracing::warn!(
                key = place,
                bytes = secret.len(),
                advised = SECRET_BYTES_ADVISED,
                "a short secret can be guessed from one token"
            );
        }
        Ok(Self { name, algorithm, kid: None, key: DecodingKey::from_secret(secret.as_bytes()) })
    }

    /// A key from a public key's PEM text. Its kind says the algorithm; one that is `given` must be the same.
    fn from_pem(place: &str, given: Option<&str>, pem: &str) -> Result<Self, Problem> {
        if pem.contains("PRIVATE KEY") {
            return Err(Problem(format!(
                "{place}.public_key is a private key; the gateway needs the public one alone (openssl pkey -pubout)"
            )));
        }
        if !pem.contains("PUBLIC KEY") {
            return Err(Problem(format!("{place}.public_key is no public key in PEM; it begins with `-----BEGIN PUBLIC KEY-----`")));
        }
        let bytes = pem.as_bytes();
        let kinds = [
            ("RS256", DecodingKey::from_rsa_pem(bytes)),
            ("ES256", DecodingKey::from_ec_pem(bytes)),
            ("EdDSA", DecodingKey::from_ed_pem(bytes)),
        ];
        let Some((algorithm, key)) = kinds.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?))) else {
            return Err(Problem(format!("{place}.public_key is not a key for RS256, ES256 or EdDSA")));
        };
        if let Some(given) = given.filter(|&given| given != algorithm) {
            return Err(Problem(format!("{place}.algorithm: {given:?} is not for this public_key, which is one for {algorithm}")));
        }
        Self::public(&format!("{place}.public_key"), algorithm, None, key)
    }

    /// A public key for `algorithm`, if it can be one: of this kind, on this curve, of a length that is safe.
    pub fn public(place: &str, algorithm: &str, kid: Option<String>, key: DecodingKey) -> Result<Self, Problem> {
        let (name, algorithm) = match algorithm {
            "RS256" => ("RS256", Algorithm::RS256),
            "ES256" => ("ES256", Algorithm::ES256),
            "EdDSA" => ("EdDSA", Algorithm::EdDSA),
            _ => return Err(Problem(format!("{place}: {algorithm:?} is not for a public key; write RS256, ES256 or EdDSA"))),
        };
        let fits = match (algorithm, key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => RSA_DER_BYTES.contains(&der.len()),
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => (256..=512).contains(&n.len()) && !e.is_empty(),
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(bytes)) if bytes.len() != 32 => false,
            // Trying the key on nothing parses it; what it says of the signature is of no interest.
            _ => crypto::verify("", b"", &key, algorithm).is_ok(),
        };
        if fits {
            return Ok(Self { name, algorithm, kid, key });
        }
        let right = match algorithm {
            Algorithm::RS256 => "RSA has 2,048 to 4,096 bits",
            Algorithm::ES256 => "the curve is P-256",
            _ => "the curve is Ed25519",
        };
        Err(Problem(format!("{place} is not a key for {name}: {right}")))
    }

    /// Whether `signature` (base64url) is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        crypto::verify(signature, message, &self.key, self.algorithm).unwrap_or(false)
    }

    fn is_same_key(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm
            && match (self.key.kind(), other.key.kind()) {
                (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(two)) => one.ct_eq(two).into(),
                (DecodingKeyKind::RsaModulusExponent { n, e }, DecodingKeyKind::RsaModulusExponent { n: n2, e: e2 }) => n == n2 && e == e2,
                _ => false,
            }
    }
}

/// A key that is a credential itself.
pub(super) struct ApiKey {
    /// The `user` of what is done with it.
    pub name: Arc<str>,
    /// What it may, everybody's rights included.
    pub grants: Arc<Grants>,
    /// Whether it may administer.
    pub admin: bool,
    /// A rate of its own.
    pub commands_per_second: Option<u32>,
    secret: String,
}

impl ApiKey {
    fn new(key: &config::ApiKey, everybody: &GrantLists) -> Self {
        Self {
            name: key.name.as_str().into(),
            grants: Arc::new(Grants::new(key.grants.clone()).union(&Grants::new(everybody.clone()))),
            admin: key.admin,
            commands_per_second: key.commands_per_second,
            secret: key.key.clone(),
        }
    }

    /// Whether `credential` is this key, compared in constant time.
    pub fn is(&self, credential: &str) -> bool {
        self.secret.as_bytes().ct_eq(credential.as_bytes()).into()
    }

    /// The key of `set` with the same secret, whatever it is called there and may do.
    pub fn renewed<'a>(&self, set: &'a KeySet) -> Option<&'a Arc<ApiKey>> {
        set.api_key(&self.secret)
    }
}

impl fmt::Debug for ApiKey {
    /// Without the secret, which no log may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("admin", &self.admin).finish_non_exhaustive()
    }
}
