//! What a token must claim beside its grants: for whom it is, who made it, until when it holds (RFC 7519 §4.1).

use serde_json::Value;

use crate::config::{self, TokenKey};

/// What tokens of one key must claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpectedClaims {
    /// An `aud` must name one of these.
    audience: Vec<String>,
    /// Whether there must be an `aud`: where the key itself says which.
    audience_required: bool,
    /// What `iss` must be.
    issuer: Option<String>,
}

impl ExpectedClaims {
    /// What `key` says, else what holds for all keys.
    pub fn of(key: &TokenKey, settings: &config::Auth) -> Self {
        Self {
            audience: key.audience.as_ref().unwrap_or(&settings.audience).clone(),
            audience_required: key.audience.is_some(),
            issuer: key.issuer.clone().or_else(|| settings.issuer.clone()),
        }
    }

    /// Checks `aud` and `iss`. The reason of a refusal names neither what was expected nor what was claimed.
    pub fn check(&self, audience: Option<&Value>, issuer: Option<&Value>) -> Result<(), &'static str> {
        let is_ours = |named: &Value| named.as_str().is_some_and(|named| self.audience.iter().any(|ours| ours == named));
        let for_us = match audience {
            None => !self.audience_required,
            Some(Value::Array(named)) => named.iter().any(is_ours),
            Some(named) => is_ours(named),
        };
        if !for_us {
            return Err("it is not for this gateway (`aud`)");
        }
        match &self.issuer {
            Some(expected) if issuer.and_then(Value::as_str) != Some(expected) => Err("its issuer is not the one that is expected (`iss`)"),
            _ => Ok(()),
        }
    }
}
