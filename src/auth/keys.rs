//! The keys in force: those that verify tokens, each with its one algorithm, and API keys.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::expected_claims::ExpectedClaims;
use super::grants::Grants;
use super::jwks;
use super::verifying::VerifyingKey;
use crate::config::{self, GrantLists, KeyMaterial, Problem};

/// The keys and the common grants of one configuration. A reload makes another set.
#[derive(Debug)]
pub(super) struct KeySet {
    /// The grants without a credential; `None`: there are none.
    pub anonymous: Option<Arc<Grants>>,
    /// The grants that are added to those of every credential.
    common: Common,
    /// Whether a token must have `exp` and `sub`.
    pub require_exp: bool,
    verifying: Vec<(Arc<VerifyingKey>, Arc<ExpectedClaims>)>,
    api: Vec<Arc<ApiKey>>,
}

impl KeySet {
    /// The keys of `settings`. Each key is tried, so that an unusable one is found at the start and not with the first
    /// token. An error lists all problems.
    pub fn new(settings: &config::Auth) -> Result<Self, Vec<Problem>> {
        let everybody = settings.anonymous.clone().unwrap_or_default();
        let common = Common { everybody, authenticated: settings.authenticated.clone() };
        let (mut verifying, mut problems) = (Vec::new(), Vec::new());
        for (index, key) in settings.keys.iter().enumerate() {
            let expected = Arc::new(ExpectedClaims::of(key, settings));
            match verifying_keys(&format!("auth.keys[{index}]"), &key.material) {
                Ok(keys) => verifying.extend(keys.into_iter().map(|key| (Arc::new(key), Arc::clone(&expected)))),
                Err(found) => problems.extend(found),
            }
        }
        for key in settings.api_keys.iter().filter(|key| key.key.is_empty()) {
            problems.push(Problem(format!("auth.api_keys: the key of {:?} is empty; give it a long random text", key.name)));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let api = settings.api_keys.iter().map(|key| Arc::new(ApiKey::new(key, &common))).collect();
        let anonymous = Some(Grants::of(&common.everybody, None)).filter(|grants| !grants.is_empty()).map(Arc::new);
        Ok(Self { anonymous, common, require_exp: settings.require_exp, verifying, api })
    }

    /// The first API key that equals `credential`. All keys are compared, each in a time that depends only on its
    /// length.
    pub fn api_key(&self, credential: &str) -> Option<&Arc<ApiKey>> {
        self.api.iter().fold(None, |found, key| found.or(key.is(credential).then_some(key)))
    }

    /// The keys that may have signed a token with this header (RFC 7515 §4.1), each with the claims that it expects. A
    /// `kid` selects among the keys that have one.
    pub fn verifying<'a>(
        &'a self,
        algorithm: &'a str,
        kid: Option<&'a str>,
    ) -> impl Iterator<Item = &'a (Arc<VerifyingKey>, Arc<ExpectedClaims>)> {
        self.verifying.iter().filter(move |(key, _)| key.may_have_signed(algorithm, kid))
    }

    /// Whether `key` is in the set, at any place. An RSA key that was moved between PEM and JWKS counts as another key.
    pub fn contains(&self, key: &VerifyingKey) -> bool {
        self.verifying.iter().any(|(other, _)| other.is_same_key(key))
    }

    /// `own` with the grants of everybody and, if there is a `user`, those of everybody with a user.
    pub fn with_common(&self, own: &Grants, user: Option<&str>) -> Arc<Grants> {
        Arc::new(self.common.on_top_of(own, user))
    }
}

/// The grants that are added to those of every credential.
#[derive(Debug)]
struct Common {
    everybody: GrantLists,
    authenticated: GrantLists,
}

impl Common {
    fn on_top_of(&self, own: &Grants, user: Option<&str>) -> Grants {
        let with_everybodys = own.union(&Grants::of(&self.everybody, user));
        // Centrifugo's tokens have an empty `sub` for no user.
        match user.filter(|user| !user.is_empty()) {
            Some(user) => with_everybodys.union(&Grants::of(&self.authenticated, Some(user))),
            None => with_everybodys,
        }
    }
}

fn verifying_keys(place: &str, key: &KeyMaterial) -> Result<Vec<VerifyingKey>, Vec<Problem>> {
    let key = match key {
        KeyMaterial::Secret { algorithm, secret } => VerifyingKey::from_secret(place, algorithm, secret),
        KeyMaterial::PublicKey { algorithm, pem } => VerifyingKey::from_pem(place, algorithm.as_deref(), pem),
        KeyMaterial::Jwks { json } => return jwks::read(place, json),
    };
    key.map(|key| vec![key]).map_err(|problem| vec![problem])
}

/// An API key.
pub(super) struct ApiKey {
    /// The name, which is the `user` of its sessions and requests.
    pub name: Arc<str>,
    /// The grants, which include those of everybody.
    pub grants: Arc<Grants>,
    /// Whether it may use the administrators' API.
    pub admin: bool,
    /// The key's own rate of commands.
    pub commands_per_second: Option<u32>,
    secret: String,
}

impl ApiKey {
    fn new(key: &config::ApiKey, common: &Common) -> Self {
        let name = key.name.as_str();
        Self {
            name: name.into(),
            grants: Arc::new(common.on_top_of(&Grants::of(&key.grants, Some(name)), Some(name))),
            admin: key.admin,
            commands_per_second: key.commands_per_second,
            secret: key.key.clone(),
        }
    }

    /// Whether `credential` equals this key, compared in constant time.
    pub fn is(&self, credential: &str) -> bool {
        self.secret.as_bytes().ct_eq(credential.as_bytes()).into()
    }

    /// The key of `set` with the same secret. Its name and grants may differ.
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
