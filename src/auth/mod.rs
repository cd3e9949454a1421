//! Who somebody is and what they may: credentials to [`Identity`].

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
pub use identity::{AuthError, Connection, Identity, SubscriptionToken};
pub use minting::{MintError, SigningKey, mint};

use std::sync::Arc;

use parking_lot::RwLock;

use crate::clock::Clock;
use crate::config;
use identity::Origin;
use keys::{ApiKey, KeySet};

/// Everything wrong with the keys of `settings` that only using them shows, for `belfry check`; empty if all can be used.
pub fn check(settings: &config::Auth) -> Vec<config::Problem> {
    KeySet::new(settings).err().unwrap_or_default()
}

/// Checks credentials against the keys in force.
#[derive(Debug)]
pub struct Auth {
    clock: Clock,
    /// Held for one clone of the `Arc`, so that a reload never waits for a signature.
    in_force: RwLock<Arc<InForce>>,
}

/// What one configuration says.
#[derive(Debug)]
struct InForce {
    keys: KeySet,
    /// One for all who come without a credential: there may be a hundred thousand.
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
    /// With the keys of `settings`; each that can't be used is told with its place and what would be right.
    pub fn new(settings: &config::Auth, clock: Clock) -> Result<Self, config::Problem> {
        Ok(Self { clock, in_force: RwLock::new(InForce::new(settings)?) })
    }

    /// Takes other keys and grants; sessions ask again through [`Auth::renew`]. A problem changes nothing.
    pub fn reload(&self, settings: &config::Auth) -> Result<(), config::Problem> {
        let in_force = InForce::new(settings)?;
        *self.in_force.write() = in_force;
        Ok(())
    }

    /// Everybody's identity, where there are anonymous grants.
    pub fn anonymous(&self) -> Option<Arc<Identity>> {
        self.in_force().anonymous.clone()
    }

    /// Whose token or API key this is. Everybody's grants come on top of its own, and those of everybody with a user.
    pub fn identify(&self, credential: &str) -> Result<Arc<Identity>, AuthError> {
        if credential.len() > token::CREDENTIAL_BYTES_MAX {
            return Err(AuthError::Invalid(format!("it has {} bytes, the most is {}", credential.len(), token::CREDENTIAL_BYTES_MAX)));
        }
        let in_force = self.in_force();
        let keys = &in_force.keys;
        if let Some(key) = keys.api_key(credential) {
            return Ok(by_api_key(key));
        }
        let verified = token::verify(credential, keys, self.clock.now())?;
        Ok(Arc::new(Identity {
            grants: keys.with_common(&verified.own, verified.user.as_deref()),
            user: verified.user,
            expires: verified.expires,
            key: None,
            admin: false,
            connection: verified.connection,
            commands_per_second: None,
            origin: Origin::Token { key: verified.key, own: verified.own },
        }))
    }

    /// The subscription that `token` allows by Centrifugo's protocol.
    pub fn subscription(&self, token: &str) -> Result<SubscriptionToken, AuthError> {
        if token.len() > token::CREDENTIAL_BYTES_MAX {
            return Err(AuthError::Invalid(format!("it has {} bytes, the most is {}", token.len(), token::CREDENTIAL_BYTES_MAX)));
        }
        token::verify_subscription(token, &self.in_force().keys, self.clock.now())
    }

    /// What `identity` has become after a reload: other grants, or refused because its key is gone. A token keeps its own
    /// grants as long as it lives and its key is still there; an API key becomes what its entry says now. Who is
    /// anonymous stays so, and may do nothing where there are no anonymous grants any more.
    pub fn renew(&self, identity: &Identity) -> Result<Arc<Identity>, AuthError> {
        let in_force = self.in_force();
        let keys = &in_force.keys;
        match &identity.origin {
            Origin::Anonymous => Ok(in_force.anonymous.clone().unwrap_or_else(|| Arc::new(Identity::anonymous(Arc::default())))),
            Origin::ApiKey(key) => key.renewed(keys).map(by_api_key).ok_or_else(|| AuthError::invalid("its API key is gone")),
            Origin::Token { key, own } => {
                if !keys.still_has(key) {
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

fn joined(problems: Vec<config::Problem>) -> config::Problem {
    config::Problem(problems.into_iter().map(|problem| problem.0).collect::<Vec<_>>().join("; "))
}

fn by_api_key(key: &Arc<ApiKey>) -> Arc<Identity> {
    Arc::new(Identity {
        user: Some(Arc::clone(&key.name)),
        grants: Arc::clone(&key.grants),
        expires: None,
        key: Some(Arc::clone(&key.name)),
        admin: key.admin,
        connection: None,
        commands_per_second: key.commands_per_second,
        origin: Origin::ApiKey(Arc::clone(key)),
    })
}
