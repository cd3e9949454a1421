//! From where on a session hears a topic, and what it is told of that.

use std::time::Duration;

use crate::config::{OnSlow, Rule};
use crate::dialect::centrifugo::{Place, SubscribeResult};
use crate::hub::{Start, Wanted};
use crate::position::{Offset, Position};

/// Larger offsets are taken as this one: no topic gets there, and the next one is still a `u64`.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// What a client's position in a topic is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovering {
    /// The topic keeps no history.
    Nothing,
    /// Every message after it.
    Stream,
    /// The newest message alone: older ones mean nothing once it is there.
    Newest,
}

impl Recovering {
    /// By its rule, and by the interval that a subscribe asks for.
    pub fn of(rule: &Rule, interval: Option<Duration>) -> Self {
        match rule.on_slow {
            _ if rule.history == 0 => Self::Nothing,
            OnSlow::Conflate => Self::Newest,
            _ if interval.is_some() => Self::Newest,
            _ => Self::Stream,
        }
    }

    /// What is asked of the topic.
    pub fn wanted<'a>(self, place: &'a Place<'_>, last: Option<usize>) -> Wanted<'a> {
        let epoch = (!place.epoch.is_empty()).then_some(&*place.epoch);
        let since = place.recover.then_some((epoch, Offset(place.offset.min(OFFSET_MAX))));
        match self {
            Self::Nothing => Wanted { since: None, last },
            Self::Stream => Wanted { since, last },
            Self::Newest => Wanted { since, last: if place.recover { Some(1) } else { last } },
        }
    }

    /// What follows for a client that asks to recover or not, where the topic's log would have it begin at `start`.
    pub fn start(self, start: Start, recovers: bool) -> Start {
        match self {
            Self::Newest if recovers => Start { replay_from: start.replay_from.map(|_| start.position.offset), ..start },
            Self::Nothing | Self::Stream | Self::Newest => start,
        }
    }

    /// What the client is told. The position is the one right before the first message that follows: a connection that is lost on the
    /// way goes on there.
    pub fn result(self, start: &Start, recovers: bool) -> SubscribeResult {
        let offset = start.replay_from.map_or(start.position.offset, |first| Offset(first.0 - 1));
        let position = Some(Position { offset, ..start.position });
        match self {
            Self::Nothing => SubscribeResult::default(),
            Self::Stream => SubscribeResult {
                position,
                positioned: true,
                recovered: recovers && start.recovered == Some(true),
                was_recovering: recovers,
                ..SubscribeResult::default()
            },
            Self::Newest => {
                let recovered = recovers || start.replay_from.is_some();
                SubscribeResult { position, recovered, was_recovering: recovered, ..SubscribeResult::default() }
            }
        }
    }
}
