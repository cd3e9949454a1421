//! The `Accept` header of a request for a stream (RFC 9110 §12.5.1).

use hyper::header;

use super::kind::Kind;
use crate::server::request::Fields;

/// Whether `Accept` has the media type of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It has the stream's media type, or is absent: the client may be an EventSource.
    ByName,
    /// A wildcard matches the stream's media type.
    AmongOthers,
    /// It has other media types only.
    No,
}

/// Reads `Accept` of a request for a stream of `kind`.
pub fn accepted<'a>(fields: impl Fields<'a>, kind: Kind) -> Accepted {
    let named = kind.media_type().as_bytes();
    let range = |subtype: &[u8]| named.split(|&byte| byte == b'/').next().map(|of| [of, b"/", subtype].concat());
    let is = |media: &[u8], other: &[u8]| media.eq_ignore_ascii_case(other);
    let (mut listed, mut found) = (false, Accepted::No);
    for element in fields.elements(header::ACCEPT).filter(|element| !element.is_empty()) {
        listed = true;
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        let is_refused = parts.any(is_zero);
        if is(media, named) {
            return if is_refused { Accepted::No } else { Accepted::ByName };
        }
        if !is_refused && (is(media, b"*/*") || range(b"*").is_some_and(|range| is(media, &range))) {
            found = Accepted::AmongOthers;
        }
    }
    if listed { found } else { Accepted::ByName }
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
        use Accepted::{AmongOthers, ByName, No};
        for (accept, events, lines) in [
            (None, ByName, ByName),
            (Some(""), ByName, ByName),
            (Some("text/event-stream"), ByName, No),
            (Some("Text/Event-Stream;q=0.5, */*"), ByName, AmongOthers),
            (Some("*/*"), AmongOthers, AmongOthers),
            (Some("text/*"), AmongOthers, No),
            (Some("application/x-ndjson"), No, ByName),
            (Some("application/*, text/html"), No, AmongOthers),
            (Some("application/json"), No, No),
            (Some("*/*, text/event-stream;q=0"), No, AmongOthers),
            (Some("*/*; q=0.00"), No, No),
        ] {
            let mut fields = HeaderMap::new();
            if let Some(value) = accept {
                fields.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!((accepted(&fields, Kind::Events), accepted(&fields, Kind::Lines)), (events, lines), "{accept:?}");
        }
    }
}
