//! The native dialect's events: messages and [`Event`]s to JSON text. Frame heads are put on elsewhere.

use super::Event;
use crate::hub::{HistoryPage, Message};
use crate::session_id::Member;
use crate::topic_name::TopicName;

/// Appends `message`'s event; a replayed one says so.
pub fn message(_json: &mut Vec<u8>, _message: &Message, _replay: bool) {
    unimplemented!()
}

/// Appends `event`.
pub fn event(_json: &mut Vec<u8>, _event: &Event<'_>) {
    unimplemented!()
}

/// Appends the members of a history's answer, without braces: `"topic":…,"epoch":…,"messages":[…]` (HTTP shares them).
pub fn history_members(_json: &mut Vec<u8>, _topic: &TopicName, _page: &HistoryPage) {
    unimplemented!()
}

/// Appends the members of a presence's answer, without braces: `"topic":…,"count":…,"members":[…]`.
pub fn presence_members(_json: &mut Vec<u8>, _topic: &TopicName, _members: &[Member]) {
    unimplemented!()
}
