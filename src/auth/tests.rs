//! Authentication by tokens and API keys (PROTOCOL sections 2, 3, 6 and 8): what the tests share.

mod grants;
mod keys;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::config::{GrantLists, KeyMaterial, Problem, TokenKey};
use crate::topic_name::Scope;
use crate::topic_name::tests::{name as topic, pattern};

const NOW: u64 = 1_732_233_600;
const SECRET: &str = "a secret of more than thirty-two bytes";
const RSA: &str = include_str!("testdata/rsa.pem");
const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub.pem");
const EC: &str = include_str!("testdata/ec-p256.pem");
const EC_PUBLIC: &str = include_str!("testdata/ec-p256.pub.pem");
const ED: &str = include_str!("testdata/ed.pem");
const ED_PUBLIC: &str = include_str!("testdata/ed.pub.pem");

fn lists(subscribe: &[&str], publish: &[&str]) -> GrantLists {
    let parse = |list: &[&str]| list.iter().map(|text| Scope::parse(text).unwrap()).collect();
    GrantLists { subscribe: parse(subscribe), publish: parse(publish) }
}

fn secret_key(secret: &str) -> TokenKey {
    KeyMaterial::Secret { algorithm: "HS256".into(), secret: secret.into() }.into()
}

fn public_key(algorithm: &str, pem: &str) -> TokenKey {
    KeyMaterial::PublicKey { algorithm: Some(algorithm.into()), pem: pem.into() }.into()
}

fn api_key(name: &str, key: &str, publish: &[&str]) -> config::ApiKey {
    config::ApiKey { name: name.into(), key: key.into(), grants: lists(&[], publish), admin: false, commands_per_second: None }
}

fn settings(keys: Vec<TokenKey>) -> config::Auth {
    config::Auth {
        anonymous: Some(lists(&["quotes.>"], &[])),
        keys,
        api_keys: vec![api_key("feed", "feed-key", &["quotes.>"])],
        ..config::Auth::default()
    }
}

fn clock() -> Clock {
    Clock::by_hand(Timestamp(NOW * 1_000))
}

fn auth(keys: Vec<TokenKey>) -> Auth {
    Auth::new(&settings(keys), clock()).unwrap()
}

/// A token with this header and these claims as text, signed by `key` whatever the header says.
fn signed_text(head: &str, claims: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn by_secret(head: &str, claims: &str, algorithm: Algorithm) -> String {
    signed_text(head, claims, algorithm, &EncodingKey::from_secret(SECRET.as_bytes()))
}

fn hs256(head: &Value, claims: &Value) -> String {
    by_secret(&head.to_string(), &claims.to_string(), Algorithm::HS256)
}

fn with_claims(claims: &str) -> String {
    by_secret(r#"{"alg":"HS256"}"#, claims, Algorithm::HS256)
}

fn good_claims() -> Value {
    json!({"sub": "ann", "exp": NOW + 60, "subscribe": ["chat.>"], "publish": ["chat.lobby"]})
}

/// The Ed25519 test key as a JWK: the last 32 bytes of its DER are the key.
fn jwk_of_ed(kid: &str) -> String {
    let base64: String = ED_PUBLIC.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": URL_SAFE_NO_PAD.encode(&der[der.len() - 32..])}).to_string()
}
