//! The parts of a message beside its payload, as bytes of its record.
//!
//! | part | bytes | what |
//! |---|---|---|
//! | parts | 1 | 1 a publisher, 2 its user, 4 its session's info, 8 its topic's info |
//! | session | 8 | the publisher's, if there is one |
//! | texts | each 4 and its length | the user and both infos, those that there are |
//! | tags | 2, and two texts for each | how many, each a key and a value |

use super::damage::Damage;
use super::fields::{Fields, put_long_text};
use crate::hub::Extra;
use crate::session_id::{Member, MemberInfo, SessionId};

const PUBLISHER: u8 = 1;
const USER: u8 = 2;
const SESSION_INFO: u8 = 4;
const TOPIC_INFO: u8 = 8;

/// Appends `extra` to `out`.
pub(super) fn encode(extra: &Extra, out: &mut Vec<u8>) {
    let publisher = extra.publisher.as_ref();
    let info = publisher.and_then(|publisher| publisher.info.as_deref());
    let texts = [
        (USER, publisher.and_then(|publisher| publisher.user.as_deref())),
        (SESSION_INFO, info.and_then(|info| info.session.as_deref())),
        (TOPIC_INFO, info.and_then(|info| info.topic.as_deref())),
    ];
    let parts = texts.iter().filter(|(_, text)| text.is_some()).map(|(part, _)| part).sum::<u8>();
    out.push(parts | if publisher.is_some() { PUBLISHER } else { 0 });
    out.extend(publisher.into_iter().flat_map(|publisher| publisher.session.number().to_le_bytes()));
    texts.iter().filter_map(|(_, text)| *text).for_each(|text| put_long_text(text, out));
    let tags = &extra.tags[..extra.tags.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(tags.len() as u16).to_le_bytes());
    for (key, value) in tags {
        put_long_text(key, out);
        put_long_text(value, out);
    }
}

/// Reads what [`encode`] has written.
pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Extra, Damage> {
    let parts = fields.byte()?;
    if parts > 15 || parts > 0 && parts & PUBLISHER == 0 {
        return Err(Damage::Malformed("the metadata of a message"));
    }
    let session = if parts & PUBLISHER > 0 { Some(SessionId::from_number(fields.u64()?)) } else { None };
    let mut text = |part| -> Result<Option<&str>, Damage> { if parts & part > 0 { fields.long_text().map(Some) } else { Ok(None) } };
    let (user, info) = (text(USER)?.map(Into::into), MemberInfo::of(text(SESSION_INFO)?, text(TOPIC_INFO)?));
    let publisher = session.map(|session| Member { session, user, info });
    let mut tags = Vec::new();
    for _ in 0..fields.u16()? {
        tags.push((fields.long_text()?.into(), fields.long_text()?.into()));
    }
    Ok(Extra { publisher, tags })
}
