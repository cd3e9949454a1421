//! A session of Centrifugo's protocol whose frames are WebSocket messages.

use std::sync::Arc;

use super::commands::Centrifugo;
use super::orders;
use crate::auth::AuthError;
use crate::clock::Moment;
use crate::frame::{FrameReader, Inflater, Received};
use crate::metrics::LimitKey;
use crate::session::expiry::turn_away;
use crate::session::websocket::{self, Turn};
use crate::session_id::MemberInfo;
use crate::shard::{Held, Order, Reader, SessionContext};
use crate::token_bucket::TokenBucket;
use crate::topic_name::TopicName;

/// One WebSocket and its session.
pub struct OverWebSocket {
    frames: FrameReader,
    frame_rate: TokenBucket,
    /// Since when a message has begun and isn't whole.
    message_since: Option<Moment>,
    /// The credential of the upgrade was refused: the session is told why, and closed.
    refused: Option<AuthError>,
    session: Centrifugo,
}

impl OverWebSocket {
    /// A connection that opens now.
    pub fn new(frames: FrameReader, frame_rate: TokenBucket, refused: Option<AuthError>, session: Centrifugo) -> Self {
        Self { frames, frame_rate, message_since: None, refused, session }
    }

    fn set_deadline(&self, context: &mut SessionContext<'_>) {
        let message = self.message_since.map(|since| since + context.config().limits.message_timeout);
        let own = self.session.deadline(context);
        context.wake_at([message, own].into_iter().flatten().min());
    }
}

impl Reader for OverWebSocket {
    fn open(&mut self, context: &mut SessionContext<'_>) {
        if let Some(error) = self.refused.take() {
            return turn_away(&error, context);
        }
        self.reload(context); // there may have been one since the upgrade was granted
    }

    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        let (mut used, mut turn) = (0, Turn::default());
        let mut message_ended = false;
        if !self.session.go_on(context) {
            return if context.is_open() { 0 } else { input.len() };
        }
        while used < input.len() && turn.goes_on() && self.session.waits_for_nothing() && context.can_go_on() {
            let (taken, received) = self.frames.read(&mut input[used..], inflater);
            used += taken;
            let begun = self.frames.take_frames();
            match received {
                Ok(None) => {}
                Ok(Some(received)) => {
                    message_ended |= matches!(received, Received::Text(_) | Received::Binary(_));
                    turn.count_bytes(&received);
                    match received {
                        Received::Text(frame) | Received::Binary(frame) => self.session.hear(frame, context),
                        control => websocket::act_on_control(control, context),
                    }
                }
                Err(violation) => websocket::break_off(&violation, LimitKey::FrameBytes, context),
            }
            turn.count_frames(begun);
            websocket::count_frames(&mut self.frame_rate, begun, context);
        }
        // The time-out restarts with each message.
        let began = self.message_since.filter(|_| !message_ended).unwrap_or(context.now());
        self.message_since = self.frames.is_mid_message().then_some(began);
        self.set_deadline(context);
        if !context.is_open() { input.len() } else { used }
    }

    fn held(&self) -> Held {
        Held { unfinished: self.frames.held_bytes() + self.session.unread_bytes(), command: self.session.pending_bytes() }
    }

    fn deadline(&mut self, context: &mut SessionContext<'_>) {
        if websocket::end_late(self.message_since, context) {
            return;
        }
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
