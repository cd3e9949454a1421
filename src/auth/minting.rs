//! Makes tokens, for `belfry token` and for tests.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::token::CREDENTIAL_BYTES_MAX;
use crate::clock::Clock;
use crate::config::GrantLists;

/// The key that signs a token.
#[derive(Clone, Copy)]
pub enum SigningKey<'a> {
    /// A shared secret, for HS256.
    Secret(&'a str),
    /// The PEM text of a private key, in PKCS#8 or, for RSA, PKCS#1. Its type gives the algorithm: RS256, ES256 or EdDSA.
    Pem(&'a str),
}

/// Why no token was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum MintError {
    #[error("the secret is empty; give 32 random bytes or more")]
    EmptySecret,
    #[error("the key is {0}; a private key in PEM is needed, as `openssl genpkey -algorithm ed25519` makes it")]
    NotPrivateKey(&'static str),
    #[error("the private key can't sign; RSA, EC on P-256 and Ed25519 can")]
    Unusable,
    #[error("the token would have {bytes} bytes, the most is {CREDENTIAL_BYTES_MAX}; give fewer patterns")]
    TooLong { bytes: usize },
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    subscribe: Vec<&'a str>,
    publish: Vec<&'a str>,
}

/// A token for `user` with `grants`, valid from now for `ttl`, which counts in whole seconds and at least one.
pub fn mint(key: SigningKey<'_>, user: &str, grants: &GrantLists, ttl: Duration, clock: &Clock) -> Result<String, MintError> {
    let iat = clock.now().0 / 1_000;
    let claims = Claims {
        sub: user,
        iat,
        exp: iat.saturating_add(ttl.as_secs().max(1)),
        subscribe: grants.subscribe.iter().map(|pattern| pattern.as_str()).collect(),
        publish: grants.publish.iter().map(|pattern| pattern.as_str()).collect(),
    };
    let (algorithm, key) = encoding_key(key)?;
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).map_err(|_| MintError::Unusable)?;
    if token.len() > CREDENTIAL_BYTES_MAX {
        return Err(MintError::TooLong { bytes: token.len() });
    }
    Ok(token)
}

fn encoding_key(key: SigningKey<'_>) -> Result<(Algorithm, EncodingKey), MintError> {
    let pem = match key {
        SigningKey::Secret("") => return Err(MintError::EmptySecret),
        SigningKey::Secret(secret) => return Ok((Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes()))),
        SigningKey::Pem(pem) => pem,
    };
    let label = pem.lines().find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    match label {
        None => return Err(MintError::NotPrivateKey("not PEM")),
        Some("PRIVATE KEY" | "RSA PRIVATE KEY") => {}
        Some("ENCRYPTED PRIVATE KEY") => return Err(MintError::NotPrivateKey("encrypted (openssl pkey takes the passphrase off)")),
        Some("EC PRIVATE KEY") => return Err(MintError::NotPrivateKey("in SEC1 form (openssl pkcs8 -topk8 -nocrypt makes it PKCS#8)")),
        Some("PUBLIC KEY" | "RSA PUBLIC KEY") => return Err(MintError::NotPrivateKey("a public one")),
        Some(_) => return Err(MintError::NotPrivateKey("something else in PEM")),
    }
    let pem = pem.as_bytes();
    if let Ok(key) = EncodingKey::from_ed_pem(pem) {
        Ok((Algorithm::EdDSA, key))
    } else if let Ok(key) = EncodingKey::from_ec_pem(pem) {
        Ok((Algorithm::ES256, key))
    } else if let Ok(key) = EncodingKey::from_rsa_pem(pem) {
        Ok((Algorithm::RS256, key))
    } else {
        Err(MintError::Unusable)
    }
}
