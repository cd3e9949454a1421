//! A token (JWT, RFC 7519) to what it says, if one of the keys has signed it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::expected_claims::ExpectedClaims;
use super::grants::Grants;
use super::identity::AuthError;
use super::keys::KeySet;
use super::verifying::VerifyingKey;
use crate::clock::Timestamp;
use crate::config::GrantLists;
use crate::topic_name::Pattern;

/// The longest credential that is looked at, in bytes.
pub(super) const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;
/// How far the issuer's clock may be ahead of ours for `nbf`, in seconds. `exp` has no leeway: nobody outlives a right.
const NBF_LEEWAY_SECONDS: f64 = 5.0;
/// The latest `exp`, in Unix seconds, so that it can be counted in milliseconds; a later one counts as this.
const EXPIRES_MAX: f64 = (u64::MAX / 1_000) as f64;

/// What an accepted token says.
#[derive(Debug)]
pub(super) struct Verified {
    /// `sub`; none where `auth.require_exp` is off and the token has none.
    pub user: Option<Arc<str>>,
    /// `exp`, in whole Unix seconds; none as for `sub`.
    pub expires: Option<u64>,
    /// Its own grants.
    pub own: Arc<Grants>,
    /// Which key has signed it.
    pub key: Arc<VerifyingKey>,
}

/// The head's fields that count. `jku`, `jwk`, `x5u` and `x5c` would let a token bring its own key: they aren't read.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11); none is.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// Claims as they come; each is looked at with an error of its own.
#[derive(Deserialize)]
struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    aud: Option<Value>,
    iss: Option<Value>,
    subscribe: Option<Value>,
    publish: Option<Value>,
}

/// Reads `token`; its signature is checked before anything that it claims.
pub(super) fn verify(token: &str, keys: &KeySet, now: Timestamp) -> Result<Verified, AuthError> {
    let malformed = || AuthError::invalid("it is neither an API key nor a JWT");
    let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (head, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or_else(malformed)?;
    let head: Head = part(head).ok_or_else(malformed)?;
    if head.crit {
        return Err(AuthError::invalid("its head has `crit`, and no extension is understood"));
    }
    let (key, expected) = signer(keys, &head, message.as_bytes(), signature)?;
    let claims: Claims = part(claims).ok_or_else(|| AuthError::invalid("its claims are not a JSON object, or one is there twice"))?;
    let expires = expiry(&claims)?;
    if keys.require_exp && expires.is_none() {
        return Err(AuthError::invalid("it has no `exp`"));
    }
    let now_seconds = now.0 as f64 / 1_000.0;
    if expires.is_some_and(|expires| expires <= now_seconds) {
        return Err(AuthError::Expired);
    }
    if number(&claims.nbf, "nbf")?.is_some_and(|not_before| not_before > now_seconds + NBF_LEEWAY_SECONDS) {
        return Err(AuthError::invalid("it is not valid yet (`nbf`)"));
    }
    expected.check(claims.aud.as_ref(), claims.iss.as_ref()).map_err(AuthError::invalid)?;
    let user = match claims.sub {
        Some(Value::String(user)) => Some(user.into()),
        None if !keys.require_exp => None,
        _ => return Err(AuthError::invalid("it has no `sub` that is a string")),
    };
    let own = GrantLists { subscribe: patterns(claims.subscribe, "subscribe")?, publish: patterns(claims.publish, "publish")? };
    Ok(Verified { user, expires: expires.map(|expires| expires as u64), own: Arc::new(Grants::new(own)), key })
}

/// A part of the token: base64url without padding, of a JSON object.
fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    // A struct would be read from an array too.
    (json.first() == Some(&b'{')).then(|| serde_json::from_slice(&json).ok()).flatten()
}

type Signer = (Arc<VerifyingKey>, Arc<ExpectedClaims>);

fn signer(keys: &KeySet, head: &Head, message: &[u8], signature: &str) -> Result<Signer, AuthError> {
    let mut candidates = keys.verifying(&head.alg, head.kid.as_deref()).peekable();
    if candidates.peek().is_none() {
        return Err(AuthError::invalid("there is no key here for its `alg` and `kid`"));
    }
    let signer = candidates.find(|(key, _)| key.verifies(message, signature));
    signer.cloned().ok_or_else(|| AuthError::invalid("its signature is not one of the keys' here"))
}

fn expiry(claims: &Claims) -> Result<Option<f64>, AuthError> {
    Ok(number(&claims.exp, "exp")?.map(|expires| expires.clamp(0.0, EXPIRES_MAX).floor()))
}

/// A NumericDate (RFC 7519 §2): seconds, a fraction is allowed.
fn number(claim: &Option<Value>, name: &str) -> Result<Option<f64>, AuthError> {
    let Some(value) = claim else { return Ok(None) };
    value.as_f64().map(Some).ok_or_else(|| AuthError::Invalid(format!("its `{name}` is not a number")))
}

fn patterns(claim: Option<Value>, name: &str) -> Result<Vec<Pattern>, AuthError> {
    let not_a_list = || AuthError::Invalid(format!("its `{name}` is not a list of patterns"));
    let list = match claim {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(not_a_list()),
    };
    let pattern = |value: &Value| {
        let text = value.as_str().ok_or_else(not_a_list)?;
        Pattern::parse(text).map_err(|error| AuthError::Invalid(format!("its `{name}` has a bad pattern: {error}")))
    };
    list.iter().map(pattern).collect()
}

/// Whether a field is there, whatever it holds, `null` too.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}
