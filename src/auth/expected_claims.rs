//! The claims that a token must have beside its grants: its audience and its issuer (RFC 7519 §4.1).

use serde_json::Value;

use crate::config::{self, TokenKey};

/// The claims that tokens of one key must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpectedClaims {
    /// `aud` must name one of these.
    audience: Vec<String>,
    /// Whether a token must have an `aud`. This is so if the key itself has an audience.
    audience_required: bool,
    /// The required `iss`.
    issuer: Option<String>,
}

impl ExpectedClaims {
    /// The settings of `key`, or else those for all keys.
    pub fn of(key: &TokenKey, settings: &config::Auth) -> Self {
        Self {
            audience: key.audience.as_ref().unwrap_or(&settings.audience).clone(),
            audience_required: key.audience.is_some(),
            issuer: key.issuer.clone().or_else(|| settings.issuer.clone()),
        }
    }

    /// Checks `aud` and `iss`. The reason of a refusal contains neither the expected nor the claimed value.
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
