//! The built-in page and the library for browsers and Node, served out of the program itself.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use crate::server::response::{Answer, empty, of_type};

const PAGE: &str = include_str!("../page/index.html");
const LIBRARY: &str = include_str!("../page/belfry.js");

/// Nothing comes from another origin; the page's own style and script stand in it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`.
pub fn page(request: &HeaderMap) -> Answer {
    let mut answer = file(request, PAGE, "text/html; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    answer
}

/// `GET /belfry.js`.
pub fn library(request: &HeaderMap) -> Answer {
    file(request, LIBRARY, "text/javascript; charset=utf-8")
}

/// A file, or 304 where the browser has this very one.
fn file(request: &HeaderMap, text: &'static str, content_type: &'static str) -> Answer {
    let tag = entity_tag(text);
    let has_it = request.get_all(header::IF_NONE_MATCH).iter().any(|tags| names(tags, &tag));
    let mut answer = match has_it {
        true => empty(StatusCode::NOT_MODIFIED),
        false => of_type(content_type, Bytes::from_static(text.as_bytes())),
    };
    let headers = answer.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("an entity tag is hexadecimal digits in quotes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn entity_tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether `If-None-Match` names `tag`, by weak comparison (RFC 9110 §13.1.2).
fn names(tags: &HeaderValue, tag: &str) -> bool {
    tags.to_str().is_ok_and(|tags| tags.split(',').map(str::trim).any(|given| given == "*" || given.trim_start_matches("W/") == tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_has_the_page_gets_304() {
        let first = page(&HeaderMap::new());
        assert_eq!((first.status().as_u16(), &first.headers()["content-type"]), (200, &"text/html; charset=utf-8".parse().unwrap()));
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, first.headers()["etag"].clone());
        assert_eq!(page(&again).status(), 304);
        assert_eq!(library(&again).status(), 200);
    }

    /// The page may fetch nothing from elsewhere.
    #[test]
    fn the_policy_names_no_other_origin() {
        assert!(!CONTENT_SECURITY_POLICY.contains("http") && !CONTENT_SECURITY_POLICY.contains('*'));
        assert_eq!(page(&HeaderMap::new()).headers()["content-security-policy"], CONTENT_SECURITY_POLICY);
    }
}
