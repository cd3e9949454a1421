//! Tests of a shard without sockets, or with sockets of the test.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{OnSlow, Rule};
use crate::hub::{About, Message, PayloadKind};
use crate::position::{Epoch, Offset, Position};
pub use crate::topic_name::tests::{name, pattern};

mod arrival;
pub mod bench;
mod full_inbox;
mod held;
mod patterns;
mod pending_handshakes;
mod reading_on;
mod reloads;
mod returning;
mod turns;
mod unsubscribing;
mod waiting;
mod windows;

/// A message of a topic that conflates.
pub fn message(topic: &str, offset: u64, clock: &Clock) -> Message {
    let position = Position { epoch: Epoch::parse("abcd1234").unwrap(), offset: Offset(offset) };
    let rule = Arc::new(Rule { on_slow: OnSlow::Conflate, ..Rule::plain(None) });
    let about = About::of_test(topic, position, PayloadKind::Json);
    Message::new(About { published_at: clock.now(), moment: clock.moment(), rule, ..about }, b"12345")
}
