//! Tests of a shard without sockets, or with sockets of the test.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Rule;
use crate::hub::{About, Message, PayloadKind};
use crate::position::{Epoch, Offset, Position};
use crate::topic_name::{Pattern, TopicName};

mod arrival;
pub mod bench;
mod full_inbox;
mod held;
mod leaving;
mod patterns;
mod pending_handshakes;
mod reading_on;
mod returning;
mod waiting;
mod windows;

pub fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

pub fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

pub fn message(topic: &str, offset: u64, clock: &Clock) -> Message {
    let about = About {
        topic: name(topic),
        position: Position { epoch: Epoch::random(), offset: Offset(offset) },
        published_at: clock.now(),
        moment: clock.moment(),
        kind: PayloadKind::Json,
        except: None,
        rule: Arc::new(Rule::plain(None)),
        extra: None,
    };
    Message::new(about, b"12345")
}
