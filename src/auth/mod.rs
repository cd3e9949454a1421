//! Authentication: verifies credentials and returns an [`Identity`] with grants.

mod expected_claims;
mod grants;
mod identity;
mod jwks;
mod keys;
mod minting;
#[cfg(test)]
mod tests;
mod token;
mod verifying;

pub use grants::Grants;
pub use identity::{AuthError, ConnectionClaims, Identity, SubscriptionToken};
pub use minting::{MintError, SigningKey, mint};

use std::sync::Arc;

use parking_lot::RwLock;

use crate::clock::Clock;
use crate::config;
use identity::Credential;
use keys::{ApiKey, KeySet};

/// The problems that appear when the keys of `settings` are used, for `belfry check`; empty: all keys can be used.
pub fn check(settings: &config::Auth) -> Vec<config::Problem> {
    KeySet::new(settings).err().unwrap_or_default()
}

/// Verifies credentials against the keys in force.
#[derive(Debug)]
pub struct Auth {
    clock: Clock,
    /// Locked for one clone of the `Arc`, so that a reload never waits for the verification of a signature.
    in_force: RwLock<Arc<InForce>>,
}

/// The keys and grants of one configuration.
#[derive(Debug)]
struct InForce {
    keys: KeySet,
    /// The identity that all sessions without a credential share. There may be a hundred thousand.
    anonymous: Option<Arc<Identity>>,
}

impl InForce {
    fn new(settings: &config::Auth) -> Result<Arc<Self>, config::Problem> {
        let keys = KeySet::new(settings).map_err(joined)?;
        let anonymous = keys.anonymous.clone().map(|grants| Arc::new(Identity::anonymous(grants)));
        Ok(Arc::new(Self { keys, anonymous }))
    }
}

impl Auth {
    /// Uses the keys of `settings`. An error has the place of each unusable key, and what is allowed there.
    pub fn new(settings: &config::Auth, clock: Clock) -> Result<Self, config::Problem> {
        Ok(Self { clock, in_force: RwLock::new(InForce::new(settings)?) })
    }

    /// Sets other keys and grants. Sessions then call [`Auth::renew`]. After an error nothing has changed.
    pub fn reload(&self, settings: &config::Auth) -> Result<(), config::Problem> {
        let in_force = InForce::new(settings)?;
        *self.in_force.write() = in_force;
        Ok(())
    }

    /// The anonymous identity; `None`: there are no anonymous grants.
    pub fn anonymous(&self) -> Option<Arc<Identity>> {
        self.in_force().anonymous.clone()
    }

    /// Verifies a token or an API key. The grants of everybody, and those of everybody with a user, are added to its
    /// own.
    pub fn identify(&self, credential: &str) -> Result<Arc<Identity>, AuthError> {
        check_length(credential)?;
        let in_force = self.in_force();
        let keys = &in_force.keys;
        if let Some(key) = keys.api_key(credential) {
            return Ok(by_api_key(key));
        }
        let verified = token::verify(credential, keys, self.clock.now())?;
        let grants = keys.with_common(&verified.own, verified.user.as_deref());
        Ok(Arc::new(Identity {
            user: verified.user,
            expires: verified.expires,
            connection: verified.connection,
            credential: Credential::Token { key: verified.key, own: verified.own },
            ..Identity::anonymous(grants)
        }))
    }

    /// Verifies a subscription token of Centrifugo's protocol.
    pub fn subscription(&self, token: &str) -> Result<SubscriptionToken, AuthError> {
        check_length(token)?;
        token::verify_subscription(token, &self.in_force().keys, self.clock.now())
    }

    /// Verifies `identity` again after a reload. A token keeps its own grants while it has not expired and its key is
    /// in force. An API key has the grants of its entry. The anonymous identity has the anonymous grants, which may be
    /// none. An error: the credential is no longer valid.
    pub fn renew(&self, identity: &Identity) -> Result<Arc<Identity>, AuthError> {
        let in_force = self.in_force();
        let keys = &in_force.keys;
        match &identity.credential {
            Credential::Anonymous => Ok(in_force.anonymous.clone().unwrap_or_else(|| Arc::new(Identity::anonymous(Arc::default())))),
            Credential::ApiKey(key) => key.renewed(keys).map(by_api_key).ok_or_else(|| AuthError::invalid("its API key is gone")),
            Credential::Token { key, own } => {
                if !keys.contains(key) {
                    return Err(AuthError::invalid("the key that signed it is gone"));
                }
                if identity.expires.is_some_and(|expires| expires.saturating_mul(1_000) <= self.clock.now().0) {
                    return Err(AuthError::Expired);
                }
                Ok(Arc::new(Identity { grants: keys.with_common(own, identity.user.as_deref()), ..identity.clone() }))
            }
        }
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read())
    }
}

fn check_length(credential: &str) -> Result<(), AuthError> {
    let (bytes, most) = (credential.len(), token::CREDENTIAL_BYTES_MAX);
    if bytes > most { Err(AuthError::Invalid(format!("it has {bytes} bytes, the most is {most}"))) } else { Ok(()) }
}

fn joined(problems: Vec<config::Problem>) -> config::Problem {
    config::Problem(problems.into_iter().map(|problem| problem.0).collect::<Vec<_>>().join("; "))
}

fn by_api_key(key: &Arc<ApiKey>) -> Arc<Identity> {
    Arc::new(Identity {
        user: Some(Arc::clone(&key.name)),
        key: Some(Arc::clone(&key.name)),
        admin: key.admin,
        commands_per_second: key.commands_per_second,
        credential: Credential::ApiKey(Arc::clone(key)),
        ..Identity::anonymous(Arc::clone(&key.grants))
    })
}
