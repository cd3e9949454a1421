//! The `Accept` header of a request for a stream (RFC 9110 §12.5.1).

use hyper::header;

use super::kind::StreamKind;
use crate::server::request::Fields;

/// Whether `Accept` has the media type of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptMatch {
    /// It has the stream's media type, or is absent: the client may be an EventSource.
    Exact,
    /// A wildcard matches the stream's media type.
    Wildcard,
    /// It has other media types only.
    No,
}

/// Reads `Accept` of a request for a stream of `kind`.
pub fn accept_match<'a>(fields: impl Fields<'a>, kind: StreamKind) -> AcceptMatch {
    let named = kind.media_type().as_bytes();
    let range = |subtype: &[u8]| named.split(|&byte| byte == b'/').next().map(|of| [of, b"/", subtype].concat());
    let is = |media: &[u8], other: &[u8]| media.eq_ignore_ascii_case(other);
    let (mut listed, mut found) = (false, AcceptMatch::No);
    for element in fields.elements(header::ACCEPT).filter(|element| !element.is_empty()) {
        listed = true;
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        let is_refused = parts.any(is_zero);
        if is(media, named) {
            return if is_refused { AcceptMatch::No } else { AcceptMatch::Exact };
        }
        if !is_refused && (is(media, b"*/*") || range(b"*").is_some_and(|range| is(media, &range))) {
            found = AcceptMatch::Wildcard;
        }
    }
    if listed { found } else { AcceptMatch::Exact }
}

/// Whether a parameter is the weight 0.
fn is_zero(parameter: &[u8]) -> bool {
    let Some((name, value)) = parameter.split_at_checked(2) else { return false };
    name.eq_ignore_ascii_case(b"q=") && value.starts_with(b"0") && value.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;

    use super::*;

    /// PROTOCOL 11: `text/event-stream` or no header is an EventSource. curl's `*/*` gets a stream too. Others are
    /// refused.
    #[test]
    fn the_accept_header_selects_the_kind_of_stream() {
        use AcceptMatch::{Exact, No, Wildcard};
        for (accept, events, lines) in [
            (None, Exact, Exact),
            (Some(""), Exact, Exact),
            (Some("text/event-stream"), Exact, No),
            (Some("Text/Event-Stream;q=0.5, */*"), Exact, Wildcard),
            (Some("*/*"), Wildcard, Wildcard),
            (Some("text/*"), Wildcard, No),
            (Some("application/x-ndjson"), No, Exact),
            (Some("application/*, text/html"), No, Wildcard),
            (Some("application/json"), No, No),
            (Some("*/*, text/event-stream;q=0"), No, Wildcard),
            (Some("*/*; q=0.00"), No, No),
        ] {
            let mut fields = HeaderMap::new();
            if let Some(value) = accept {
                fields.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(
                (accept_match(&fields, StreamKind::Events), accept_match(&fields, StreamKind::Lines)),
                (events, lines),
                "{accept:?}"
            );
        }
    }
}
