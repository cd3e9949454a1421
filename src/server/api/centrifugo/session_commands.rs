//! `unsubscribe`, `subscribe` and `refresh`: commands to the sessions of a user.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::failed::Failed;
use super::requests::{BoolValue, ChannelRequest, OtherRule, RefreshRequest, Since, SubscribeRequest, UserRequest, read};
use crate::config::{Config, OnSlow, Rule};
use crate::dialect::is_json_text;
use crate::position::Offset;
use crate::server::api::publishing::kind_of;
use crate::shard::{AdminCommand, AdminSubscription, UserSessions};
use crate::topic_name::TopicName;

/// The longest `info` of a subscription, in bytes. A token can't bring more.
const INFO_BYTES_MAX: usize = 8 << 10;

/// The sessions that a command addresses.
pub fn sessions(json: &[u8]) -> Result<UserSessions, Failed> {
    let UserRequest { user, client, session } = read(json)?;
    if user.is_empty() || !session.is_empty() {
        return Err(Failed::BAD_REQUEST);
    }
    let only = (!client.is_empty()).then(|| client.parse().map_err(|_| Failed::BAD_REQUEST)).transpose()?;
    Ok(UserSessions { user: user.into(), only, spared: Vec::new() })
}

/// The command that ends one subscription, or all.
pub fn unsubscribe(json: &[u8], _: &Config) -> Result<AdminCommand, Failed> {
    let ChannelRequest { channel } = read(json)?;
    let topic = (!channel.is_empty()).then(|| TopicName::parse(&channel)).transpose()?;
    Ok(AdminCommand::Unsubscribe(topic))
}

/// The command that subscribes. `config` has the topics' rules. An option that is not supported is an error, because the
/// publisher relies on it.
pub fn subscribe(json: &[u8], config: &Config) -> Result<AdminCommand, Failed> {
    let SubscribeRequest { channel, info, b64info, data, b64data, recover_since, other_rule } = read(json)?;
    let topic = TopicName::parse(&channel)?;
    let info: Option<Box<str>> = match info {
        None if b64info.is_empty() => None,
        None => {
            let bytes = STANDARD.decode(&*b64info).ok().filter(|bytes| is_json_text(bytes)).ok_or(Failed::BAD_REQUEST)?;
            Some(String::from_utf8(bytes).map_err(|_| Failed::BAD_REQUEST)?.into())
        }
        Some(info) => Some(info.get().into()),
    };
    let data: Option<Box<[u8]>> = match data {
        None if b64data.is_empty() => None,
        None => Some(STANDARD.decode(&*b64data).map_err(|_| Failed::BAD_REQUEST)?.into()),
        Some(data) => Some(data.get().as_bytes().into()),
    };
    let data_bytes_max = config.limits.message_bytes;
    if info.as_ref().is_some_and(|info| info.len() > INFO_BYTES_MAX) || data.as_ref().is_some_and(|data| data.len() > data_bytes_max) {
        return Err(Failed::BAD_REQUEST);
    }
    Ok(AdminCommand::Subscribe(Box::new(AdminSubscription {
        info,
        data: data.map(|bytes| {
            let kind = kind_of(&bytes);
            (bytes, kind)
        }),
        since: recover_since.map(|Since { offset, epoch }| (epoch.into(), Offset(offset))),
        join_leave: other_rule.map_or(Ok(false), |wanted| wants_joins(wanted, config.rules.of(&topic)))?,
        topic,
    })))
}

/// Whether the subscriber receives joins and leaves. An error if another option differs from `rule`.
fn wants_joins(wanted: OtherRule, rule: &Rule) -> Result<bool, Failed> {
    let OtherRule { presence, join_leave, force_push_join_leave, force_positioning, force_recovery } = wanted;
    let has_history = rule.history > 0;
    let had = [
        (presence, rule.presence),
        (join_leave, rule.presence),
        (force_recovery, has_history),
        (force_positioning, has_history && rule.on_slow != OnSlow::Conflate),
    ];
    let is_had = |(option, has): (Option<BoolValue>, bool)| option.is_none_or(|option| option.value == has);
    let pushed = force_push_join_leave.map(|option| option.value);
    let is_done = match pushed {
        None => true,
        Some(true) => rule.presence,
        Some(false) => !rule.pushes_joins,
    };
    if is_done && had.into_iter().all(is_had) { Ok(pushed == Some(true)) } else { Err(Failed::BAD_REQUEST) }
}

/// The command that changes the expiry of credentials.
pub fn refresh(json: &[u8], _: &Config) -> Result<AdminCommand, Failed> {
    match read(json)? {
        RefreshRequest { expired: true, .. } => Ok(AdminCommand::Expire(None)),
        RefreshRequest { expire_at: 0, .. } => Err(Failed::BAD_REQUEST),
        RefreshRequest { expire_at, .. } => Ok(AdminCommand::Expire(Some(expire_at))),
    }
}
