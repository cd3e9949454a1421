//! The NATS headers of a message, which carry what the payload does not.

use std::borrow::Cow;
use std::sync::Arc;

use async_nats::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::setup::HEADERS_BYTES_MAX;
use crate::dialect::is_json_text;
use crate::hub::{Extra, PayloadKind, Publication};
use crate::session_id::{Member, MemberInfo, SessionId};

/// The id of the session that does not get the message.
const EXCEPT: &str = "Belfry-Except";
/// The kind of the payload, if its bytes do not show it.
const KIND: &str = "Belfry-Kind";
/// The publisher and the tags of the message, as JSON.
const EXTRA: &str = "Belfry-Extra";

/// The most bytes of the other headers and of the name `Belfry-Extra`.
const OTHER_HEADERS_BYTES: usize = 128;

/// The headers are longer than the stream takes.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// The JSON of `Belfry-Extra`.
#[derive(Serialize, Deserialize)]
struct WrittenExtra<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    from: Option<WrittenMember<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

#[derive(Serialize, Deserialize)]
struct WrittenMember<'a> {
    #[serde(borrow)]
    session: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    topic_info: Option<&'a RawValue>,
}

/// The headers of `publication`, if it needs any. `message_bytes` is the longest payload of a message. The `info` of
/// the publisher's tokens is left out if it is too long; tags are not.
pub fn write(publication: &Publication<'_>, message_bytes: usize) -> Result<Option<HeaderMap>, TooLong> {
    let mut headers = HeaderMap::new();
    if let Some(session) = publication.except {
        headers.insert(EXCEPT, session.to_string());
    }
    if publication.kind == PayloadKind::Binary && std::str::from_utf8(publication.payload).is_ok() {
        headers.insert(KIND, "binary");
    }
    if let Some(extra) = publication.extra {
        let most = (message_bytes + HEADERS_BYTES_MAX).saturating_sub(publication.payload.len() + OTHER_HEADERS_BYTES);
        let fits = |text: &String| text.len() <= most;
        let text = Some(written(extra, true)).filter(fits).or_else(|| Some(written(extra, false)).filter(fits));
        headers.insert(EXTRA, text.ok_or(TooLong)?);
    }
    Ok((!headers.is_empty()).then_some(headers))
}

/// What `headers` take as they are sent, in bytes.
pub fn bytes(headers: &HeaderMap) -> usize {
    const BETWEEN_BYTES: usize = ": \r\n".len();
    headers
        .iter()
        .map(|(name, values)| {
            values.iter().map(|value| AsRef::<str>::as_ref(name).len() + value.as_str().len() + BETWEEN_BYTES).sum::<usize>()
        })
        .sum()
}

/// The JSON of `Belfry-Extra` in one line. The JSON of a token may contain line breaks.
fn written(extra: &Extra, with_info: bool) -> String {
    let info = |text: Option<&Box<str>>| text.and_then(|text| serde_json::from_str::<Box<RawValue>>(text).ok());
    let info_of_publisher = extra.publisher.as_ref().and_then(|publisher| publisher.info.as_deref()).filter(|_| with_info);
    let (session_info, topic_info) =
        (info(info_of_publisher.and_then(|info| info.session.as_ref())), info(info_of_publisher.and_then(|info| info.topic.as_ref())));
    let from = extra.publisher.as_ref().map(|publisher| WrittenMember {
        session: publisher.session.to_string().into(),
        user: publisher.user.as_deref().map(Cow::from),
        info: session_info.as_deref(),
        topic_info: topic_info.as_deref(),
    });
    let tags = extra.tags.iter().map(|(key, value)| ((&**key).into(), (&**value).into())).collect();
    let text = serde_json::to_string(&WrittenExtra { from, tags }).unwrap_or_default(); // strings and JSON texts can be written
    if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], " ") } else { text }
}

/// The publisher and the tags in `headers`. `None`: there are none, or they can't be read.
pub fn extra(headers: Option<&HeaderMap>) -> Option<Arc<Extra>> {
    let WrittenExtra { from, tags } = serde_json::from_str(headers?.get(EXTRA)?.as_str()).ok()?;
    let publisher = match from {
        Some(from) => Some(member(from)?),
        None => None,
    };
    let tags: Vec<_> = tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    (publisher.is_some() || !tags.is_empty()).then(|| Arc::new(Extra { publisher, tags }))
}

fn member(from: WrittenMember<'_>) -> Option<Member> {
    let info = MemberInfo::of(from.info.map(RawValue::get), from.topic_info.map(RawValue::get));
    Some(Member { session: from.session.parse().ok()?, user: from.user.map(|user| user.as_ref().into()), info })
}

/// The id of the session that does not get the message.
pub fn except(headers: Option<&HeaderMap>) -> Option<SessionId> {
    headers?.get(EXCEPT)?.as_str().parse().ok()
}

/// The kind of a payload. Other programs may publish too, so the bytes are checked whatever the header says.
pub fn kind(headers: Option<&HeaderMap>, payload: &[u8]) -> PayloadKind {
    let claimed = headers.and_then(|headers| headers.get(KIND)).map(|kind| kind.as_str());
    if claimed == Some("binary") || std::str::from_utf8(payload).is_err() {
        PayloadKind::Binary
    } else if claimed != Some("text") && is_json_text(payload) {
        PayloadKind::Json
    } else {
        PayloadKind::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::PublishSource;

    fn publication<'a>(payload: &'a [u8], extra: Option<&'a Arc<Extra>>) -> Publication<'a> {
        Publication { extra, ..Publication::new(payload, PayloadKind::Json, PublishSource::Session) }
    }

    fn extra_of(info: &str, user: &str, tag: &str) -> Arc<Extra> {
        let publisher =
            Some(Member { session: SessionId::from_number(7), user: Some(user.into()), info: MemberInfo::of(Some(info), None) });
        Arc::new(Extra { publisher, tags: vec![("k".into(), tag.into())] })
    }

    /// PROTOCOL 13: all gateways deliver a message with the same publisher and tags.
    #[test]
    fn extras_round_trip() {
        let sent = extra_of("{\"a\" :1.50}", "群\n\"o\"", "\r\n\u{1}");
        let headers = write(&publication(b"1", Some(&sent)), 65_536).unwrap();
        assert_eq!(extra(headers.as_ref()), Some(Arc::clone(&sent)));
        let broken = extra_of("{\"a\":\n1}", "u", "v");
        let read = extra(super::write(&publication(b"1", Some(&broken)), 65_536).unwrap().as_ref()).unwrap();
        assert_eq!(read.publisher.as_ref().unwrap().info.as_ref().unwrap().session.as_deref(), Some("{\"a\": 1}"));
        assert_eq!(super::write(&publication(b"1", None), 65_536).unwrap(), None);
    }

    /// The `info` of a token is left out if it is too long. A tag is not.
    #[test]
    fn extras_are_bounded() {
        let long = format!("\"{}\"", "x".repeat(5_000));
        let headers = write(&publication(b"1", Some(&extra_of(&long, "u", "v"))), 1_000).unwrap();
        let read = extra(headers.as_ref()).unwrap();
        assert_eq!((read.publisher.as_ref().unwrap().info.as_ref(), read.tags.len()), (None, 1));
        assert_eq!(super::write(&publication(b"1", Some(&extra_of("1", "u", &long))), 1_000), Err(TooLong));
    }

    /// Malformed headers of other programs are ignored.
    #[test]
    fn unreadable_headers_are_ignored() {
        for text in ["", "{", "[]", r#"{"from":{"session":"x"}}"#, r#"{"tags":[["a"]]}"#] {
            let mut headers = HeaderMap::new();
            headers.insert(EXTRA, text);
            assert_eq!(extra(Some(&headers)), None, "{text}");
        }
    }
}
