//! Tokens signed with the secret of the base configuration.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::unix_seconds;

/// The secret of the base configuration.
pub const SECRET: &str = "a secret of the tests, 32 bytes or more";

/// A token of `user` that expires in an hour, with these grants.
pub fn token(user: &str, subscribe: &[&str], publish: &[&str]) -> String {
    expiring(user, unix_seconds() + 3600, subscribe, publish)
}

/// A token of `user` that expires at `exp`, in Unix seconds.
pub fn expiring(user: &str, exp: u64, subscribe: &[&str], publish: &[&str]) -> String {
    signed(SECRET, &json!({"sub": user, "exp": exp, "subscribe": subscribe, "publish": publish}))
}

/// A token without `exp`, which a gateway refuses.
pub fn without_exp(user: &str) -> String {
    signed(SECRET, &json!({"sub": user, "subscribe": [">"], "publish": [">"]}))
}

/// A token with these claims, signed with this secret.
pub fn signed(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("claims can be signed")
}
