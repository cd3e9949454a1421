//! Keys that verify tokens, each with one algorithm.

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};
use subtle::ConstantTimeEq;

use crate::config::{Problem, SECRET_BYTES_ADVISED};

/// The lengths of PKCS#1 public keys from 2,048 bits, the minimum of RFC 7518 §3.3, to 4,096 bits, the most that is accepted; in bytes.
const RSA_DER_BYTES: std::ops::RangeInclusive<usize> = 266..=530;

/// A key that verifies tokens. The key has one algorithm. A token's `alg` must be the same, and does not select one.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    algorithm: Algorithm,
    kid: Option<String>,
    key: DecodingKey,
}

impl VerifyingKey {
    /// A shared secret.
    pub fn from_secret(place: &str, algorithm: &str, secret: &str) -> Result<Self, Problem> {
        let algorithm = match algorithm.parse() {
            Ok(algorithm @ (Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)) => algorithm,
            _ => return Err(Problem(format!("{place}.algorithm: {algorithm:?} is not for a secret; write HS256, HS384 or HS512"))),
        };
        if secret.is_empty() {
            return Err(Problem(format!("{place}.secret is empty; give {SECRET_BYTES_ADVISED} random bytes or more")));
        }
        Ok(Self { algorithm, kid: None, key: DecodingKey::from_secret(secret.as_bytes()) })
    }

    /// A public key in PEM. Its type gives the algorithm; the `given` one must be the same.
    pub fn from_pem(place: &str, given: Option<&str>, pem: &str) -> Result<Self, Problem> {
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
            (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(bytes)),
        ];
        let Some((algorithm, key)) = kinds.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?))) else {
            return Err(Problem(format!("{place}.public_key is not a key for RS256, ES256 or EdDSA")));
        };
        if let Some(given) = given.filter(|&given| !names(given, algorithm)) {
            return Err(Problem(format!("{place}.algorithm: {given:?} is not for this public_key, which is one for {algorithm:?}")));
        }
        Self::public(&format!("{place}.public_key"), algorithm, None, key)
    }

    /// A public key for `algorithm`: RS256, ES256 or EdDSA. An error: it has another type or curve, or an unsafe length.
    pub fn public(place: &str, algorithm: Algorithm, kid: Option<String>, key: DecodingKey) -> Result<Self, Problem> {
        let fits = match (algorithm, key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => RSA_DER_BYTES.contains(&der.len()),
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => (256..=512).contains(&n.len()) && !e.is_empty(),
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(bytes)) if bytes.len() != 32 => false,
            // A verification parses the key. The result for the empty signature is ignored.
            _ => crypto::verify("", b"", &key, algorithm).is_ok(),
        };
        if fits {
            return Ok(Self { algorithm, kid, key });
        }
        let right = match algorithm {
            Algorithm::RS256 => "RSA has 2,048 to 4,096 bits",
            Algorithm::ES256 => "the curve is P-256",
            _ => "the curve is Ed25519",
        };
        Err(Problem(format!("{place} is not a key for {algorithm:?}: {right}")))
    }

    /// Whether the key may have signed a token with this header. A `kid` selects among the keys that have one.
    pub fn may_have_signed(&self, algorithm: &str, kid: Option<&str>) -> bool {
        names(algorithm, self.algorithm) && (kid.is_none() || self.kid.is_none() || self.kid.as_deref() == kid)
    }

    /// Whether `signature`, in base64url, is that of this key over `message`.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        crypto::verify(signature, message, &self.key, self.algorithm).unwrap_or(false)
    }

    /// Whether both are the same key in the same form, PEM or JWK.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm
            && match (self.key.kind(), other.key.kind()) {
                (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(two)) => one.ct_eq(two).into(),
                (DecodingKeyKind::RsaModulusExponent { n, e }, DecodingKeyKind::RsaModulusExponent { n: n2, e: e2 }) => n == n2 && e == e2,
                _ => false,
            }
    }
}

/// Whether `name`, as in a token's `alg` or a JWK's, is that of `algorithm`.
pub(super) fn names(name: &str, algorithm: Algorithm) -> bool {
    name.parse().is_ok_and(|named: Algorithm| named == algorithm)
}
