//! Recovery in Centrifugo's protocol: where a subscription begins, and the result that reports it.

use std::time::Duration;

use crate::config::{OnSlow, Rule};
use crate::dialect::centrifugo::{ClientPosition, SubscribeResult};
use crate::hub::{ReplayRequest, Start};
use crate::position::{Offset, Position};

/// What can be recovered behind a client's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryMode {
    /// The topic keeps no history.
    Nothing,
    /// Every message behind the position.
    Stream,
    /// Only the newest message, which supersedes older ones.
    Newest,
}

impl RecoveryMode {
    /// The mode for a topic with `rule`, and for a subscribe with `interval`.
    pub fn of(rule: &Rule, interval: Option<Duration>) -> Self {
        match rule.on_slow {
            _ if rule.history == 0 => Self::Nothing,
            OnSlow::Conflate => Self::Newest,
            _ if interval.is_some() => Self::Newest,
            _ => Self::Stream,
        }
    }

    /// The request to the topic, for the position `client` of the client, and its `last`.
    pub fn wanted<'a>(self, client: &'a ClientPosition<'_>, last: Option<usize>) -> ReplayRequest<'a> {
        let epoch = (!client.epoch.is_empty()).then_some(&*client.epoch);
        let since = client.recover.then_some((epoch, Offset::clamped(client.offset)));
        match self {
            Self::Nothing => ReplayRequest { since: None, last },
            Self::Stream => ReplayRequest { since, last },
            Self::Newest => ReplayRequest { since, last: if client.recover { Some(1) } else { last } },
        }
    }

    /// The start of a subscription for which the topic's log returned `start`. `recovers`: the client asks to recover.
    pub fn start(self, start: Start, recovers: bool) -> Start {
        match self {
            Self::Newest if recovers => Start { replay_from: start.replay_from.map(|_| start.position.offset), ..start },
            Self::Nothing | Self::Stream | Self::Newest => start,
        }
    }

    /// The result for the client. Its position is the one before the first replayed message, so that a connection that is lost
    /// during the replay recovers from there.
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
