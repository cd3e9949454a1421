//! Tests of a shard without sockets, or with sockets of the test.

use crate::clock::Clock;
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

pub fn message(topic: &str, offset: u64, clock: &Clock) -> Message {
    let about = About::of_test(topic, Position { epoch: Epoch::random(), offset: Offset(offset) }, PayloadKind::Json);
    Message::new(About { published_at: clock.now(), moment: clock.moment(), ..about }, b"12345")
}
