//! A session of Centrifugo's protocol over HTTP: replies are the body of a long answer, commands come in requests of their own.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::commands::Centrifugo;
use super::orders;
use super::spoken_for::ByRequests;
use crate::auth::{AuthError, Identity};
use crate::dialect::centrifugo::Wire;
use crate::frame::Inflater;
use crate::metrics::LimitKey;
use crate::session::expiry::turn_away;
use crate::session::opening::Surroundings;
use crate::session::websocket;
use crate::session_id::{MemberInfo, SessionId, SessionSecret};
use crate::shard::{Heard, Held, Order, Reader, SessionContext};
use crate::token_bucket::TokenBucket;
use crate::topic_name::TopicName;

/// How such a session begins, as the request for its stream said.
pub struct Emulated {
    /// The session's name.
    pub id: SessionId,
    /// How the protocol is spelt.
    pub wire: Wire,
    /// Who it is by the request's credential; `Ok(None)`: nobody yet.
    pub identity: Result<Option<Arc<Identity>>, AuthError>,
    /// The first frame: `connect`, and what the client has put behind it.
    pub first: Bytes,
    /// The gateway, as its clients name it to find the session.
    pub node: Arc<str>,
}

/// The session's reading side.
struct OverRequests {
    secret: SessionSecret,
    /// Frames that are not acted on yet, in the order in which they came.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// How many requests may speak for it.
    rate: TokenBucket,
    /// The credential of the request was refused: the session is told why, and ends.
    refused: Option<AuthError>,
    session: Centrifugo,
}

/// The session's reading side, ready for a shard.
pub fn emulate(emulated: Emulated, surroundings: &Arc<Surroundings>) -> Box<dyn Reader> {
    let Emulated { id, wire, identity, first, node } = emulated;
    let (identity, refused) = match identity {
        Ok(identity) => (identity, None),
        Err(error) => (None, Some(error)),
    };
    let by_requests = ByRequests::new(&node);
    let rate = TokenBucket::new(surroundings.live.load().limits.frames_burst, surroundings.clock.moment());
    Box::new(OverRequests {
        secret: by_requests.secret(),
        waiting_bytes: first.len(),
        waiting: VecDeque::from([first]),
        rate,
        refused,
        session: Centrifugo::new(id, wire, identity, Some(by_requests), surroundings),
    })
}

impl OverRequests {
    /// Acts on the frames that wait, as far as the session goes on.
    fn act(&mut self, context: &mut SessionContext<'_>) {
        while self.session.waits_for_nothing() && context.is_open() && !self.waiting.is_empty() {
            if !context.can_go_on() {
                context.hold();
                break;
            }
            let Some(frame) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= frame.len();
            self.session.hear(&frame, context);
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        self.set_deadline(context);
    }

    fn set_deadline(&self, context: &mut SessionContext<'_>) {
        let deadline = self.session.deadline(context);
        context.wake_at(deadline);
    }
}

impl Reader for OverRequests {
    fn open(&mut self, context: &mut SessionContext<'_>) {
        if let Some(error) = self.refused.take() {
            return turn_away(&error, context);
        }
        self.reload(context); // there may have been one since the stream was granted
        self.act(context);
    }

    /// What the client says over the connection itself is nothing.
    fn read(&mut self, input: &mut [u8], _: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        if self.session.go_on(context) {
            self.act(context);
        }
        input.len()
    }

    fn secret(&self) -> Option<SessionSecret> {
        Some(self.secret)
    }

    fn hear(&mut self, frame: Bytes, context: &mut SessionContext<'_>) -> Heard {
        websocket::count_frames(&mut self.rate, 1, context);
        if self.waiting_bytes + frame.len() > context.config().limits.frame_bytes {
            context.limit_hit(LimitKey::FrameBytes);
            return Heard::Full;
        }
        self.waiting_bytes += frame.len();
        self.waiting.push_back(frame);
        self.act(context);
        Heard::Taken
    }

    fn held(&self) -> Held {
        Held { unfinished: self.waiting_bytes + self.session.unread_bytes(), command: self.session.pending_bytes() }
    }

    fn deadline(&mut self, context: &mut SessionContext<'_>) {
        self.session.look_at_time(context);
        self.set_deadline(context);
    }

    fn lapsed(&mut self, topic: &TopicName, context: &mut SessionContext<'_>) {
        self.session.lapsed(topic, context);
    }

    fn order(&mut self, order: &Order, context: &mut SessionContext<'_>) -> bool {
        let is_done = orders::obey(&mut self.session, order, context);
        self.set_deadline(context);
        is_done
    }

    fn reload(&mut self, context: &mut SessionContext<'_>) {
        self.session.reload(context);
        self.set_deadline(context);
    }

    fn info(&self, topic: &TopicName) -> Option<Arc<MemberInfo>> {
        self.session.member(topic).info
    }

    fn user(&self) -> Option<Arc<str>> {
        self.session.user()
    }
}
