//! Problem bodies (RFC 9457), the errors of HTTP.

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};

use super::answer::{Answer, json_of, written_head};
use crate::codes::ErrorCode;
use crate::hub::PublishError;
use crate::topic_name::TopicNameError;

/// The media type of every problem.
const CONTENT_TYPE: &str = "application/problem+json";

/// One problem: a status, a code, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    /// The error code of the contract, if it has one.
    pub error: Option<ErrorCode>,
    pub detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(serde::Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
}

impl Problem {
    /// A problem with an error code of the contract.
    pub fn new(status: StatusCode, code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { error: Some(code), ..Self::of_http(status, code.as_str(), detail) }
    }

    /// A problem that only HTTP has, with its own `code`.
    pub fn of_http(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, error: None, detail: detail.into(), headers: Vec::new() }
    }

    /// 400: the request is malformed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, detail)
    }

    /// 404: the resource does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::of_http(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 405 with `Allow`: the path has other methods.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::of_http(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("this path takes {allow}"))
            .with_header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// 401 with `WWW-Authenticate`: the credential is missing or bad.
    pub fn unauthorized(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"belfry\""))
    }

    /// 403: the caller has no grant.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorCode::NotAllowed, detail)
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// `Retry-After` in seconds, if it has one.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let (_, value) = self.headers.iter().find(|(name, _)| *name == header::RETRY_AFTER)?;
        value.to_str().ok()?.parse().ok()
    }

    /// Closes the connection after the answer, because its next bytes can't be trusted or are not wanted.
    #[must_use]
    pub fn closing(self) -> Self {
        if self.headers.iter().any(|(name, _)| *name == header::CONNECTION) {
            return self;
        }
        self.with_header(header::CONNECTION, HeaderValue::from_static("close"))
    }

    fn body(&self) -> Body<'_> {
        Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
        }
    }

    /// The whole HTTP/1.1 answer as bytes, for a connection that is refused before its request is read.
    pub fn written(&self) -> Vec<u8> {
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let length = body.len().to_string();
        let always = [(header::CONTENT_TYPE, CONTENT_TYPE.as_bytes()), (header::CONTENT_LENGTH, length.as_bytes())];
        let others = self.headers.iter().map(|(name, value)| (name.clone(), value.as_bytes()));
        let mut text = written_head(&self.status.to_string(), always.into_iter().chain(others));
        text.extend(body);
        text
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let status = match error {
            PublishError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            PublishError::ExtraTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            PublishError::NotMade(_) => StatusCode::TOO_MANY_REQUESTS,
        };
        Self::new(status, error.code(), error.to_string()).retry_after(1)
    }
}

impl From<TopicNameError> for Problem {
    fn from(error: TopicNameError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.code(), error.to_string())
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Answer {
        let mut answer = json_of(&problem.body());
        *answer.status_mut() = problem.status;
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        answer.headers_mut().extend(problem.headers);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// PROTOCOL 5: errors are `application/problem+json` with the `code` in it.
    #[tokio::test]
    async fn a_problem_has_its_members_and_headers() {
        let answer = Answer::from(Problem::unauthorized(ErrorCode::TokenExpired, "the token has \"expired\""));
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"belfry\"");
        let body: serde_json::Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Unauthorized", "status": 401,
            "detail": "the token has \"expired\"", "code": "token_expired",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn retry_after_is_never_zero() {
        let answer = Answer::from(Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, "draining", "").retry_after(0));
        assert_eq!(answer.headers()["retry-after"], "1");
    }
}
