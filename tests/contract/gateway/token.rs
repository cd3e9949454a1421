//! Tokens signed with the secret of the base configuration.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::unix_seconds;

/// The secret of the base configuration.
pub const SECRET: &str = "a secret of the tests, 32 bytes or more";

/// A token of `user` for an hour, with these grants.
pub fn token(user: &str, subscribe: &[&str], publish: &[&str]) -> String {
    expiring(user, unix_seconds() + 3600, subscribe, publish)
}

/// A token of `user` until `exp`, in Unix seconds.
pub fn expiring(user: &str, exp: u64, subscribe: &[&str], publish: &[&str]) -> String {
    signed(SECRET, &json!({"sub": user, "exp": exp, "subscribe": subscribe, "publish": publish}))
}

/// A token without `exp`, which no gateway takes.
pub fn forever(user: &str) -> String {
    signed(SECRET, &json!({"sub": user, "subscribe": [">"], "publish": [">"]}))
}

/// Any claims under any secret.
pub fn signed(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("claims can be signed")
}
