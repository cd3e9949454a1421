//! The credential of a request: `Authorization: Bearer`, or else `?token=`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderName};

use super::head::Fields;
use super::query::{Query, QueryError};
use crate::auth::{Auth, AuthError, Identity};
use crate::codes::ErrorCode;
use crate::metrics::RejectReason;
use crate::server::limits::Failures;
use crate::server::response::{Problem, Refused};

/// The credential of a request. A bearer credential that is not text counts as empty, which matches no key.
pub fn credential<'a>(fields: impl Fields<'a>, query: &Query<'a>) -> Result<Option<Cow<'a, str>>, QueryError> {
    match fields.first(header::AUTHORIZATION).and_then(bearer) {
        Some(token) => Ok(Some(Cow::Borrowed(std::str::from_utf8(token).unwrap_or("")))),
        None => query.text("token"),
    }
}

/// The token behind the scheme `Bearer` (RFC 6750 §2.1). Other schemes are ignored, because they may be a proxy's.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    after_scheme(value, b"bearer")
}

fn after_scheme<'v>(value: &'v [u8], wanted: &[u8]) -> Option<&'v [u8]> {
    let (scheme, rest) = value.split_at_checked(wanted.len())?;
    let is_wanted = scheme.eq_ignore_ascii_case(wanted) && rest.first().is_none_or(|&byte| byte == b' ');
    is_wanted.then(|| rest.trim_ascii())
}

/// The identity for a session, by its `credential`; `None` if there is no credential and no anonymous grant. The inner
/// error is for the session, which may send it to the client. The outer one refuses the request: `address` has sent too
/// many bad credentials.
pub fn identify(
    auth: &Auth,
    failures: &Failures,
    address: IpAddr,
    credential: Option<&str>,
) -> Result<Result<Option<Arc<Identity>>, AuthError>, Refused> {
    let Some(text) = credential else { return Ok(Ok(auth.anonymous())) };
    failures.check(address).map_err(|problem| Refused(RejectReason::Unauthorized, problem))?;
    Ok(auth.identify(text).map(Some))
}

/// 401 without a credential, 403 with one: `what` is not allowed.
pub fn not_allowed(what: &str, has_credential: bool) -> Problem {
    match has_credential {
        false => Problem::unauthorized(ErrorCode::NotAllowed, format!("{what} is not allowed without credentials")),
        true => Problem::forbidden(format!("{what} is not allowed for these credentials")),
    }
}

/// The sender of an HTTP request.
#[derive(Debug)]
pub struct Caller<'a> {
    identity: Option<Arc<Identity>>,
    credential: Option<Cow<'a, str>>,
}

impl<'a> Caller<'a> {
    /// Reads and verifies the credential. The error is 401 for a bad or expired one, and 429 if `address` has sent too
    /// many.
    pub fn of(auth: &Auth, failures: &Failures, address: IpAddr, fields: impl Fields<'a>, query: &Query<'a>) -> Result<Self, Problem> {
        let credential = credential(fields, query)?;
        let identity = match &credential {
            None => auth.anonymous(),
            Some(text) => {
                failures.check(address)?;
                Some(auth.identify(text).map_err(|error| refused(failures, address, &error))?)
            }
        };
        Ok(Self { identity, credential })
    }

    /// The sender of a request to Centrifugo's API, by its API key: `X-API-Key`, `Authorization: apikey …` or
    /// `?api_key=`. Tokens are not accepted.
    pub fn of_api_key(
        auth: &Auth,
        failures: &Failures,
        address: IpAddr,
        fields: impl Fields<'a>,
        query: &Query<'a>,
    ) -> Result<Self, Problem> {
        let header = fields.first(HeaderName::from_static("x-api-key"));
        let header = header.or_else(|| fields.first(header::AUTHORIZATION).and_then(|value| after_scheme(value, b"apikey")));
        let credential = match header {
            Some(key) => Some(Cow::Borrowed(std::str::from_utf8(key).unwrap_or(""))),
            None => query.text("api_key")?,
        };
        let Some(key) = &credential else {
            return Err(Problem::unauthorized(ErrorCode::NotAllowed, "an API key is needed, as X-API-Key"));
        };
        failures.check(address)?;
        let identity = auth.identify(key).map_err(|error| refused(failures, address, &error))?;
        if identity.key.is_none() {
            return Err(Problem::unauthorized(ErrorCode::NotAllowed, "an API key is needed, and this is a token"));
        }
        Ok(Self { identity: Some(identity), credential })
    }

    /// The identity; `None` if there is no credential and no anonymous grant.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    /// The credential as received.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// Checks that `may` holds for the identity. The error is 401 without a credential and 403 with one; `what` is the
    /// subject of its "… is not allowed".
    pub fn require(&self, what: &str, may: impl FnOnce(&Identity) -> bool) -> Result<(), Problem> {
        if self.identity().is_some_and(may) {
            return Ok(());
        }
        Err(not_allowed(what, self.credential.is_some()))
    }
}

fn refused(failures: &Failures, address: IpAddr, error: &AuthError) -> Problem {
    // An expired token is not a guess, so it does not count as a failure.
    if matches!(error, AuthError::Invalid(_)) {
        failures.count(address);
    }
    Problem::unauthorized(error.code(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Grants;
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;

    fn found(authorization: Option<&'static str>, query: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        credential(&headers, &Query::new(Some(query))).unwrap().map(Cow::into_owned)
    }

    /// PROTOCOL 8: a token comes as `Authorization: Bearer` or as `?token=`.
    #[test]
    fn the_header_has_precedence_over_the_query() {
        assert_eq!(found(Some("Bearer abc"), "token=def").as_deref(), Some("abc"));
        assert_eq!(found(Some("bearer  abc "), "").as_deref(), Some("abc"));
        assert_eq!(found(Some("Basic abc"), "token=def").as_deref(), Some("def"));
        assert_eq!(found(Some("Bearerabc"), "").as_deref(), None);
        assert_eq!(found(Some("Bearer"), "token=def").as_deref(), Some(""));
        assert_eq!(found(None, "token=d%2Fef").as_deref(), Some("d/ef"));
        assert_eq!(found(None, ""), None);
    }

    /// PROTOCOL 5: a call without credentials gets 401. A call with credentials that do not permit it gets 403.
    #[test]
    fn missing_credentials_get_401_and_insufficient_ones_403() {
        let identity = Arc::new(Identity::anonymous(Arc::new(Grants::default())));
        let nobody = Caller { identity: None, credential: None };
        let anonymous = Caller { identity: Some(identity.clone()), credential: None };
        let known = Caller { identity: Some(identity), credential: Some("x".into()) };
        let status = |caller: &Caller<'_>| caller.require("this", |identity| identity.admin).unwrap_err().status.as_u16();
        assert_eq!((status(&nobody), status(&anonymous), status(&known)), (401, 401, 403));
        assert!(known.require("this", |_| true).is_ok());
    }
}
