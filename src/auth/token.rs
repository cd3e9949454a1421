//! Verifies tokens (JWT, RFC 7519) and reads their claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::expected_claims::ExpectedClaims;
use super::grants::Grants;
use super::identity::{AuthError, ConnectionClaims, OwnChannel, SubscriptionToken};
use super::keys::KeySet;
use super::verifying::VerifyingKey;
use crate::clock::Timestamp;
use crate::config::GrantLists;
use crate::session_id::MemberInfo;
use crate::topic_name::Scope;

/// The longest credential that is verified, in bytes.
pub(super) const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;
/// How far the issuer's clock may be ahead of the gateway's for `nbf`, in seconds. `exp` has no leeway, so that no right outlives its token.
const NBF_LEEWAY_SECONDS: f64 = 5.0;

/// The claims of a verified token.
#[derive(Debug)]
pub(super) struct Verified {
    /// `sub`; `None` is possible only with `auth.require_exp` off.
    pub user: Option<Arc<str>>,
    /// `exp`, in whole Unix seconds; `None` is possible only with `auth.require_exp` off.
    pub expires: Option<u64>,
    /// The token's own grants, for its user.
    pub own: Arc<Grants>,
    /// The key that signed the token.
    pub key: Arc<VerifyingKey>,
    /// The claims for Centrifugo's protocol.
    pub connection: Option<Arc<ConnectionClaims>>,
}

/// The header fields that are read. `jku`, `jwk`, `x5u` and `x5c` would let a token name its own key, so they are ignored.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Whether there is a `crit` (RFC 7515 §4.1.11). The gateway understands no extension, so such a token is refused.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// The claims as JSON values. Each is checked with an error of its own.
#[derive(Deserialize)]
struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    aud: Option<Value>,
    iss: Option<Value>,
    subscribe: Option<Value>,
    publish: Option<Value>,
    info: Option<Box<RawValue>>,
    b64info: Option<Value>,
    expire_at: Option<Value>,
    channels: Option<Value>,
    subs: Option<BTreeMap<Box<str>, Option<SubClaims>>>,
    channel: Option<Value>,
    client: Option<Value>,
}

/// The options of one of a token's `subs`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct SubClaims {
    info: Option<Box<RawValue>>,
    b64info: Option<Value>,
}

/// A token whose signature, times and audience were checked.
struct Checked {
    claims: Claims,
    user: Option<Arc<str>>,
    expires: Option<u64>,
    key: Arc<VerifyingKey>,
}

/// Verifies the token of a session. The signature is checked before the claims.
pub(super) fn verify(token: &str, keys: &KeySet, now: Timestamp) -> Result<Verified, AuthError> {
    let Checked { claims, user, expires, key } = check(token, keys, now)?;
    if claims.channel.is_some() {
        return Err(AuthError::invalid("it is for a subscription, which its `channel` names"));
    }
    let own = GrantLists { subscribe: patterns(claims.subscribe, "subscribe")?, publish: patterns(claims.publish, "publish")? };
    let own = Arc::new(Grants::of(&own, user.as_deref()));
    let named = claims.channels.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut channels: Vec<OwnChannel> = named.map(|name| OwnChannel { name: name.into(), info: None }).collect();
    for (name, of_channel) in claims.subs.into_iter().flatten() {
        let of_channel = of_channel.unwrap_or_default();
        channels.push(OwnChannel { name, info: info(of_channel.info, of_channel.b64info)? });
    }
    let info = info(claims.info, claims.b64info)?.map(|info| Arc::new(MemberInfo { session: Some(info), topic: None }));
    let connection = (info.is_some() || !channels.is_empty()).then(|| Arc::new(ConnectionClaims { info, channels }));
    Ok(Verified { user, expires, own, key, connection })
}

/// Verifies a subscription token of Centrifugo's protocol.
pub(super) fn verify_subscription(token: &str, keys: &KeySet, now: Timestamp) -> Result<SubscriptionToken, AuthError> {
    let Checked { claims, user, expires, .. } = check(token, keys, now)?;
    let text = |claim: &Option<Value>| claim.as_ref().and_then(Value::as_str).map(Into::into);
    let channel = text(&claims.channel).ok_or_else(|| AuthError::invalid("it has no `channel` that is a string"))?;
    Ok(SubscriptionToken { channel, user, expires, client: text(&claims.client), info: info(claims.info, claims.b64info)? })
}

/// Checks the signature, the times, the audience and the issuer.
fn check(token: &str, keys: &KeySet, now: Timestamp) -> Result<Checked, AuthError> {
    let malformed = || AuthError::invalid("it is neither an API key nor a JWT");
    let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (head, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or_else(malformed)?;
    let head: Head = part(head).ok_or_else(malformed)?;
    if head.crit {
        return Err(AuthError::invalid("its head has `crit`, and no extension is understood"));
    }
    let (key, expected) = signer(keys, &head, message.as_bytes(), signature)?;
    let claims: Claims = part(claims).ok_or_else(|| AuthError::invalid("its claims are not a JSON object, or one is there twice"))?;
    let expires = seconds(&claims.exp, "exp")?;
    if keys.require_exp && expires.is_none() {
        return Err(AuthError::invalid("it has no `exp`"));
    }
    if expires.is_some_and(|expires| expires.saturating_mul(1_000) <= now.0) {
        return Err(AuthError::Expired);
    }
    let now_seconds = now.0 as f64 / 1_000.0;
    if number(&claims.nbf, "nbf")?.is_some_and(|not_before| not_before > now_seconds + NBF_LEEWAY_SECONDS) {
        return Err(AuthError::invalid("it is not valid yet (`nbf`)"));
    }
    expected.check(claims.aud.as_ref(), claims.iss.as_ref()).map_err(AuthError::invalid)?;
    let user = match &claims.sub {
        Some(Value::String(user)) => Some(user.as_str().into()).filter(|user: &Arc<str>| !user.is_empty()),
        None if !keys.require_exp => None,
        _ => return Err(AuthError::invalid("it has no `sub` that is a string")),
    };
    // `expire_at` may let the session or subscription end later or earlier than the token expires.
    let expires = match number(&claims.expire_at, "expire_at")? {
        Some(0.0) => None,
        Some(_) => seconds(&claims.expire_at, "expire_at")?,
        None => expires,
    };
    Ok(Checked { claims, user, expires, key })
}

/// The text of an `info`, which is JSON, or of the claim that has it in Base64.
fn info(claim: Option<Box<RawValue>>, in_base64: Option<Value>) -> Result<Option<Box<str>>, AuthError> {
    let given = claim.map(Box::<str>::from).filter(|info| &**info != "null");
    let (None, Some(text)) = (&given, in_base64.filter(|text| !text.is_null())) else { return Ok(given) };
    let bytes = text.as_str().and_then(|text| STANDARD.decode(text).ok());
    let json = bytes.and_then(|bytes| serde_json::from_slice::<Box<RawValue>>(&bytes).ok());
    json.map(|json| Some(json.into())).ok_or_else(|| AuthError::invalid("its `b64info` is not JSON in Base64"))
}

/// Decodes a part of the token: a JSON object in base64url without padding (RFC 7515 §3).
fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    // serde would read a struct from an array too.
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

/// Reads a NumericDate as whole seconds, exactly. A time before 1970 counts as 0, and one that a `u64` can't hold as the
/// latest that it can.
fn seconds(claim: &Option<Value>, name: &str) -> Result<Option<u64>, AuthError> {
    let (Some(value), Some(seconds)) = (claim, number(claim, name)?) else { return Ok(None) };
    Ok(Some(value.as_u64().unwrap_or(seconds as u64)))
}

/// Reads a NumericDate (RFC 7519 §2): seconds, with a fraction allowed.
fn number(claim: &Option<Value>, name: &str) -> Result<Option<f64>, AuthError> {
    let Some(value) = claim else { return Ok(None) };
    value.as_f64().map(Some).ok_or_else(|| AuthError::Invalid(format!("its `{name}` is not a number")))
}

fn patterns(claim: Option<Value>, name: &str) -> Result<Vec<Scope>, AuthError> {
    let not_a_list = || AuthError::Invalid(format!("its `{name}` is not a list of patterns"));
    let list = match claim {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(not_a_list()),
    };
    let pattern = |value: &Value| {
        let text = value.as_str().ok_or_else(not_a_list)?;
        Scope::parse(text).map_err(|error| AuthError::Invalid(format!("its `{name}` has a bad pattern: {error}")))
    };
    list.iter().map(pattern).collect()
}

/// Whether a field is present, with any value or `null`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}
