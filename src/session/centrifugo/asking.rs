//! Publishing, history and presence of one topic.

use std::collections::HashSet;
use std::sync::Arc;

use super::commands::Centrifugo;
use super::pending::{AskedHistory, AskedPresence, Pending, Unpublished};
use super::refusal::{Refusal, named};
use crate::codes::ErrorCode;
use crate::dialect::centrifugo::{ErrorReply, History, Reply, Wire};
use crate::dialect::json_read::is_json_text;
use crate::hub::{Extra, HistoryPart, PayloadKind, Publication, PublishError, ReadFrom, Receipt};
use crate::metrics::PublishSource;
use crate::position::{Offset, Position};
use crate::session::work;
use crate::shard::{Answer, Publishing, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// The most messages in one answer from history.
const HISTORY_LIMIT_MAX: usize = 1_000;

impl Centrifugo {
    pub fn publish(&mut self, id: u32, topic: &TopicName, data: &[u8], context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        if data.is_empty() {
            return Err(ErrorCode::BadRequest.into());
        }
        let by_rule = || context.config().rules.of(topic).publish_for_subscribers && !topic.is_own() && is_subscribed(topic, context);
        if !self.grants().is_some_and(|grants| grants.may_publish(topic)) && !by_rule() {
            return Err(ErrorCode::NotAllowed.into());
        }
        let kind = match self.wire {
            Wire::Json => PayloadKind::Json, // it was read as a part of JSON
            Wire::Protobuf if is_json_text(data) => PayloadKind::Json,
            Wire::Protobuf if str::from_utf8(data).is_ok() => PayloadKind::Text,
            Wire::Protobuf => PayloadKind::Binary,
        };
        let extra = Arc::new(Extra { publisher: Some(self.member(topic)), tags: Vec::new() });
        match publish_now(topic, data, kind, &extra, context) {
            Publishing::Done(published) => self.tell_in_order(id, published, context),
            Publishing::NoRoom => {
                self.waiting.hold(Pending::Publish(Unpublished { id, topic: topic.clone(), payload: data.into(), kind, extra }));
            }
            Publishing::Awaited(receipt) => self.wait_for(id, receipt, context),
        }
        Ok(())
    }

    /// Publishes what had to wait, or lets it wait on.
    pub fn publish_again(&mut self, unpublished: Unpublished, context: &mut SessionContext<'_>) {
        let Unpublished { id, topic, payload, kind, extra } = &unpublished;
        match publish_now(topic, payload, *kind, extra, context) {
            Publishing::Done(published) => self.tell_in_order(*id, published, context),
            Publishing::NoRoom => self.waiting.hold(Pending::Publish(unpublished)),
            Publishing::Awaited(receipt) => self.wait_for(*id, receipt, context),
        }
    }

    /// Tells what became of what an engine was handed, as far as it has answered.
    pub fn tell_answers(&mut self, context: &mut SessionContext<'_>) {
        while context.is_open()
            && let Some((id, published)) = self.waiting.next_answer(context)
        {
            tell_published(id, published, context);
        }
    }

    /// Tells what became of a publish, behind those before it.
    fn tell_in_order(&mut self, id: u32, published: Result<Position, PublishError>, context: &mut SessionContext<'_>) {
        if self.waiting.has_published() {
            return self.wait_for(id, Receipt::answered(published), context);
        }
        tell_published(id, published, context);
    }

    fn wait_for(&mut self, id: u32, receipt: Receipt, context: &mut SessionContext<'_>) {
        self.waiting.publish(receipt, id, 0);
        self.tell_answers(context);
    }

    pub fn history(&mut self, id: u32, asked: &History<'_>, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        let topic = named(&asked.channel)?;
        if context.config().rules.of(&topic).history == 0 {
            return Err(ErrorCode::HistoryOff.into());
        }
        self.check_read(&topic, context)?;
        let offset = asked.since.as_ref().map(|(offset, _)| *offset);
        let from = match (asked.reverse, offset) {
            (true, Some(0)) => return Err(ErrorCode::BadRequest.into()),
            (true, before) => ReadFrom::Before(Offset(before.unwrap_or(u64::MAX))),
            (false, after) => ReadFrom::After(Offset(after.unwrap_or(0).min(i64::MAX as u64))),
        };
        let limit = usize::try_from(asked.limit).unwrap_or(HISTORY_LIMIT_MAX).min(HISTORY_LIMIT_MAX);
        let epoch = asked.since.as_ref().map(|(_, epoch)| &**epoch).filter(|epoch| !epoch.is_empty()).map(Into::into);
        self.tell_history(AskedHistory { id, topic, from, limit, epoch }, context);
        Ok(())
    }

    /// Answers with a part of a history, or lets the question wait on.
    pub fn tell_history(&mut self, asked: AskedHistory, context: &mut SessionContext<'_>) {
        let refusal = match context.history_part(&asked.topic, asked.from, asked.limit) {
            Answer::Pending => {
                self.waiting.hold(Pending::History(asked));
                return;
            }
            Answer::Ready(Ok(Ok(HistoryPart { position, messages }))) => {
                if asked.epoch.as_deref().is_none_or(|epoch| epoch == position.epoch.as_str()) {
                    self.charge(work::of_history(messages.iter().map(|message| message.payload().len()).sum()), context);
                    let (epoch, newest) = (position.epoch, position.offset);
                    return context.reply(&Reply::History { id: asked.id, messages: &messages, epoch, newest });
                }
                Refusal::Error(ErrorReply::UNRECOVERABLE_POSITION, ErrorCode::BadRequest)
            }
            Answer::Ready(Ok(Err(off))) => off.code().into(),
            Answer::Ready(Err(error)) => error.code().into(),
        };
        refusal.answer(asked.id, context);
    }

    /// Who is there, or how many (`stats`).
    pub fn presence(&mut self, id: u32, topic: TopicName, stats: bool, context: &mut SessionContext<'_>) -> Result<(), Refusal> {
        if !context.config().rules.of(&topic).presence {
            return Err(ErrorCode::PresenceOff.into());
        }
        self.check_read(&topic, context)?;
        self.tell_presence(AskedPresence { id, topic, stats }, context);
        Ok(())
    }

    /// Answers who is there, or lets the question wait on.
    pub fn tell_presence(&mut self, asked: AskedPresence, context: &mut SessionContext<'_>) {
        let AskedPresence { id, stats, .. } = asked;
        let members = match context.presence(&asked.topic) {
            Answer::Pending => {
                self.waiting.hold(Pending::Presence(asked));
                return;
            }
            Answer::Ready(Err(off)) => return Refusal::from(off.code()).answer(id, context),
            Answer::Ready(Ok(members)) => members,
        };
        self.charge(work::of_members(members.len()), context);
        if stats {
            // All who are anonymous count as one user.
            let users: HashSet<Option<&str>> = members.iter().map(|member| member.user.as_deref()).collect();
            return context.reply(&Reply::PresenceStats { id, clients: members.len(), users: users.len() });
        }
        context.reply(&Reply::Presence { id, members: &members });
    }

    /// Whoever is subscribed to a topic, or may be, may read its history and presence.
    fn check_read(&self, topic: &TopicName, context: &SessionContext<'_>) -> Result<(), Refusal> {
        let may = is_subscribed(topic, context) || self.may_subscribe(&Pattern::from(topic.clone()));
        if may { Ok(()) } else { Err(ErrorCode::NotAllowed.into()) }
    }
}

fn is_subscribed(topic: &TopicName, context: &SessionContext<'_>) -> bool {
    context.is_subscribed(&Pattern::from(topic.clone()))
}

fn tell_published(id: u32, published: Result<Position, PublishError>, context: &mut SessionContext<'_>) {
    match published {
        Ok(_) => context.reply(&Reply::Publish { id }),
        Err(error) => Refusal::from(error.code()).answer(id, context),
    }
}

fn publish_now(topic: &TopicName, payload: &[u8], kind: PayloadKind, extra: &Arc<Extra>, context: &mut SessionContext<'_>) -> Publishing {
    let publication = Publication { payload, kind, except: None, source: PublishSource::Session, payer: None, extra: Some(extra) };
    context.publish(topic, &publication)
}
