//! Reads a JWK set (RFC 7517): a file of public keys.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::verifying::{VerifyingKey, names};
use crate::config::Problem;

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// One key of the file. Other members, as `x5c` and `x5u`, are ignored.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    alg: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl Entry {
    /// The algorithm of the key's type; `None`: the key is for encryption or for an algorithm that isn't verified here. A secret (`oct`) in a
    /// file of public keys is ignored too.
    fn algorithm(&self) -> Option<Algorithm> {
        let algorithm = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Algorithm::RS256,
            ("EC", Some("P-256")) => Algorithm::ES256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
            _ => return None,
        };
        let wanted =
            self.alg.as_deref().is_none_or(|alg| names(alg, algorithm)) && self.usage.as_deref().is_none_or(|usage| usage == "sig");
        wanted.then_some(algorithm)
    }
}

/// The keys in `json` that can verify tokens. Others are ignored (RFC 7517 §5). It is an error if no key can verify tokens.
pub(super) fn read(place: &str, json: &str) -> Result<Vec<VerifyingKey>, Vec<Problem>> {
    let set: Set = serde_json::from_str(json).map_err(|error| vec![Problem(format!("{place}.jwks is not a JSON Web Key Set: {error}"))])?;
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    for (index, value) in set.keys.into_iter().enumerate() {
        match key(&format!("{place}.jwks: keys[{index}]"), value) {
            Ok(key) => keys.extend(key),
            Err(problem) => problems.push(problem),
        }
    }
    if keys.is_empty() && problems.is_empty() {
        problems.push(Problem(format!("{place}.jwks has no key that verifies tokens; one for RS256, ES256 or EdDSA is needed")));
    }
    if problems.is_empty() { Ok(keys) } else { Err(problems) }
}

/// Reads one key of a set; `None`: the key is for another purpose.
fn key(place: &str, value: serde_json::Value) -> Result<Option<VerifyingKey>, Problem> {
    let entry: Entry = serde_json::from_value(value).map_err(|error| Problem(format!("{place} is not a JSON Web Key: {error}")))?;
    let Some(algorithm) = entry.algorithm() else { return Ok(None) };
    let key = match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_components(&entry.n, &entry.e),
        Algorithm::ES256 => DecodingKey::from_ec_components(&entry.x, &entry.y),
        _ => DecodingKey::from_ed_components(&entry.x),
    };
    let key = key.map_err(|error| Problem(format!("{place} is not a key for {algorithm:?}: {error}")))?;
    VerifyingKey::public(place, algorithm, entry.kid, key).map(Some)
}
