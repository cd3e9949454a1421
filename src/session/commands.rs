//! One command to its effect and its reply.

use super::standing::{Pending, Session, Unsubscribing};
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::{Command, Event, RequestId};
use crate::hub::{PayloadKind, Publication};
use crate::metrics::{CloseReason, CommandOp, LimitKey, PublishSource};
use crate::position::Offset;
use crate::shard::Seat;
use crate::topic_name::{Pattern, TopicName};

/// How many bursts' worth of refused commands close a session.
const REFUSED_BURSTS_MAX: u32 = 10;

/// Bytes of an answer from history that cost one command more.
const BYTES_PER_COMMAND: usize = 64 << 10;

/// The command's label in the metrics.
pub fn op(command: &Command<'_>) -> CommandOp {
    match command {
        Command::Subscribe { .. } => CommandOp::Subscribe,
        Command::Unsubscribe { .. } => CommandOp::Unsubscribe,
        Command::Publish { .. } => CommandOp::Publish,
        Command::History { .. } => CommandOp::History,
        Command::Presence { .. } => CommandOp::Presence,
        Command::Auth { .. } => CommandOp::Auth,
        Command::Subscriptions => CommandOp::Subscriptions,
        Command::Ping => CommandOp::Ping,
    }
}

impl Session {
    /// Whether the rate allows one more command; if not, it was answered, or the session closed.
    pub fn may_command(&mut self, id: Option<RequestId<'_>>, seat: &mut dyn Seat) -> bool {
        let config = seat.config();
        let (rate, burst) = self.rate(&config.limits);
        if self.refused > 0 && self.command_rate.is_full(rate, burst, seat.now()) {
            self.refused = 0;
        }
        if self.command_rate.take(1, rate, burst, seat.now()) {
            return true;
        }
        self.refused += 1;
        seat.limit_hit(LimitKey::CommandsPerSecond);
        if self.refused >= burst.saturating_mul(REFUSED_BURSTS_MAX) {
            seat.close(CloseCode::RateLimited, "too many commands; see limits.commands_per_second", CloseReason::RateLimited);
        } else {
            let message = format!("more than {rate} commands a second; this one was not done");
            seat.refuse(id, ErrorCode::RateLimited, &message);
        }
        false
    }

    /// Does what `command` says.
    pub fn obey(&mut self, id: Option<RequestId<'_>>, command: Command<'_>, seat: &mut dyn Seat) {
        match command {
            Command::Subscribe { topics, last, since, interval, presence } => {
                let wish = super::subscribe::Wish { last, since, interval, presence };
                self.subscribe(id, topics, &wish, seat);
            }
            Command::Unsubscribe { topics } => {
                let id = id.map(|RequestId(id)| id.into());
                self.unsubscribe(Unsubscribing { topics, id, pushed: seat.pushed() }, seat);
            }
            Command::Publish { topic, data, echo } => self.obey_publish(id, topic, data, echo, seat),
            Command::History { topic, since, limit } => self.tell_history(id, &topic, since, limit, seat),
            Command::Presence { topic } => self.tell_presence(id, &topic, seat),
            Command::Auth { token } => self.authenticate(id, &token, seat),
            Command::Subscriptions => {
                let topics = seat.subscriptions();
                seat.say(&Event::Subscriptions { id, topics: &topics });
            }
            Command::Ping => seat.say(&Event::Pong { id }),
        }
    }

    /// Does what had to wait; `true`: nothing waits any more.
    pub fn finish_pending(&mut self, seat: &mut dyn Seat) -> bool {
        match self.pending.take().map(|pending| *pending) {
            Some(Pending::Publish(unpublished)) => self.publish_again(unpublished, seat),
            Some(Pending::Unsubscribe(unsubscribing)) => self.unsubscribe(unsubscribing, seat),
            None => {}
        }
        self.pending.is_none()
    }

    fn obey_publish(&mut self, id: Option<RequestId<'_>>, topic: TopicName, data: &[u8], echo: bool, seat: &mut dyn Seat) {
        if !self.grants().is_some_and(|grants| grants.may_publish(&topic)) {
            let message = format!("publishing to {topic} is not allowed for this session");
            return seat.refuse(id, ErrorCode::NotAllowed, &message);
        }
        let publication =
            Publication { payload: data, kind: PayloadKind::Json, except: (!echo).then_some(self.id), source: PublishSource::Session };
        self.publish(&topic, &publication, id, seat);
    }

    fn tell_history(&mut self, id: Option<RequestId<'_>>, topic: &TopicName, since: Option<Offset>, limit: usize, seat: &mut dyn Seat) {
        if !self.may_read(topic) {
            return seat.refuse(id, ErrorCode::NotAllowed, &format!("reading {topic} is not allowed for this session"));
        }
        match seat.hub().history(topic, since, limit) {
            Ok(page) => {
                let bytes: usize = page.messages.iter().map(|message| message.payload().len()).sum();
                let config = seat.config();
                let (rate, burst) = self.rate(&config.limits);
                self.command_rate.charge((bytes / BYTES_PER_COMMAND) as u32, rate, burst, seat.now());
                seat.say(&Event::History { id, topic, page: &page });
            }
            Err(off) => seat.refuse(id, off.code(), &format!("{topic}: {off}")),
        }
    }

    fn tell_presence(&mut self, id: Option<RequestId<'_>>, topic: &TopicName, seat: &mut dyn Seat) {
        if !self.may_read(topic) {
            return seat.refuse(id, ErrorCode::NotAllowed, &format!("reading {topic} is not allowed for this session"));
        }
        match seat.hub().presence(topic) {
            Ok(members) => seat.say(&Event::Presence { id, topic, members: &members }),
            Err(off) => seat.refuse(id, off.code(), &format!("{topic}: {off}")),
        }
    }

    fn authenticate(&mut self, id: Option<RequestId<'_>>, token: &str, seat: &mut dyn Seat) {
        let identity = match self.surroundings.auth.identify(token) {
            Ok(identity) => identity,
            Err(error) => return seat.refuse(id, error.code(), &error.to_string()),
        };
        let before = self.user();
        let expires = identity.expires;
        self.identity = Some(identity);
        let user = self.user();
        if id.is_some() {
            seat.say(&Event::Authenticated { id, user: user.as_ref(), expires });
        }
        if before != user {
            seat.rename(&self.member());
        }
        self.end_uncovered(seat);
        self.set_deadline(seat);
    }

    /// Ends the subscriptions that the session's grants do not cover any more, and says which.
    pub fn end_uncovered(&mut self, seat: &mut dyn Seat) {
        let may = |pattern: &Pattern| self.grants().is_some_and(|grants| grants.may_subscribe(pattern));
        let uncovered: Vec<Pattern> = seat.subscriptions().into_iter().filter(|pattern| !may(pattern)).collect();
        if uncovered.is_empty() {
            return;
        }
        for pattern in &uncovered {
            seat.unsubscribe(pattern);
        }
        let names: Vec<&str> = uncovered.iter().map(Pattern::as_str).collect();
        let message = format!("no longer allowed, so these subscriptions have ended: {}", names.join(", "));
        if self.is_raw() {
            return seat.close(CloseCode::Policy, &message, CloseReason::Policy);
        }
        seat.refuse(None, ErrorCode::NotAllowed, &message);
    }

    fn may_read(&self, topic: &TopicName) -> bool {
        self.grants().is_some_and(|grants| grants.may_subscribe(&Pattern::from(topic.clone())))
    }
}
