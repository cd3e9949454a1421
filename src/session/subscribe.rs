//! Subscribing and unsubscribing: what a session may, and what is planned for a command.

use std::collections::HashSet;

use super::refused::Refused;
use super::state::{Pending, Session, Unsubscribing};
use super::subscribing::{Plan, Step, SubscribeOptions, Subscribed};
use super::work;
use crate::codes::{CloseCode, ErrorCode};
use crate::dialect::{Event, RequestId};
use crate::metrics::{CloseReason, LimitKey};
use crate::shard::{Answer, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

impl Session {
    /// Does the good topics and answers one error for the others.
    pub fn subscribe(
        &mut self,
        id: Option<RequestId<'_>>,
        topics: Vec<Result<Pattern, TopicNameError>>,
        options: &SubscribeOptions<'_>,
        context: &mut SessionContext<'_>,
    ) {
        let done = self.subscribe_to(topics, options, context);
        if id.is_some() {
            done.answer(id, context);
        }
        done.begin_all(id, context);
    }

    /// What `?topics=` asks for; its answer comes without an `id`.
    pub fn subscribe_at_upgrade(
        &mut self,
        topics: Vec<Result<Pattern, TopicNameError>>,
        last: Option<usize>,
        context: &mut SessionContext<'_>,
    ) {
        let options = SubscribeOptions { last, ..SubscribeOptions::default() };
        let done = self.subscribe_to(topics, &options, context);
        done.answer(None, context);
        done.begin_all(None, context);
    }

    /// The one topic of a raw session; the right to it was checked before the upgrade.
    pub fn subscribe_raw(&mut self, topic: &TopicName, last: Option<usize>, context: &mut SessionContext<'_>) {
        let options = SubscribeOptions { last, ..SubscribeOptions::default() };
        let done = self.subscribe_to(vec![Ok(Pattern::from(topic.clone()))], &options, context);
        if let Err(reason) = done.begin_raw(context) {
            context.close(CloseCode::Policy, &reason, CloseReason::Policy);
        }
    }

    fn subscribe_to<'a>(
        &mut self,
        topics: Vec<Result<Pattern, TopicNameError>>,
        options: &'a SubscribeOptions<'a>,
        context: &mut SessionContext<'_>,
    ) -> Subscribed<'a> {
        let plan = self.plan(topics, context);
        let done = Subscribed::by(plan, options, &self.member(), context);
        self.charge(work::of_topics(done.matched()), context);
        done
    }

    /// What a command's topics come to: grants and limits are checked, and a place is taken for each new subscription.
    fn plan(&mut self, topics: Vec<Result<Pattern, TopicNameError>>, context: &mut SessionContext<'_>) -> Plan {
        let mut plan = Plan { steps: Vec::with_capacity(topics.len()), refused: Refused::default() };
        let mut added = HashSet::new();
        for topic in topics {
            match topic {
                Ok(pattern) => match self.step(pattern.clone(), &mut added, context) {
                    Ok(step) => plan.steps.push(step),
                    Err((code, reason)) => plan.refused.add(code, pattern.as_str(), reason),
                },
                Err(error) => plan.refused.add(error.code(), error.name(), error.to_string()),
            }
        }
        plan
    }

    fn step(
        &mut self,
        pattern: Pattern,
        added: &mut HashSet<Pattern>,
        context: &mut SessionContext<'_>,
    ) -> Result<Step, (ErrorCode, String)> {
        if !self.grants().is_some_and(|grants| grants.may_subscribe(&pattern)) {
            return Err((ErrorCode::NotAllowed, format!("subscribing to {pattern} is not allowed for this session")));
        }
        if context.is_subscribed(&pattern) || added.contains(&pattern) {
            return Ok(Step::Replace(pattern));
        }
        let most = context.config().limits.subscriptions_per_session;
        let taken = context.subscription_count() + added.len();
        if taken >= most {
            context.limit_hit(LimitKey::SubscriptionsPerSession);
            let reason = format!("{pattern}: this session has {taken} subscriptions already, the most is {most}");
            return Err((ErrorCode::TooManySubscriptions, reason));
        }
        if !context.take_place() {
            context.limit_hit(LimitKey::SubscriptionsTotal);
            let reason = format!("{pattern}: the gateway has as many subscriptions as limits.subscriptions_total allows");
            return Err((ErrorCode::TooManySubscriptions, reason));
        }
        added.insert(pattern.clone());
        Ok(Step::Add(pattern))
    }

    /// Ends the subscriptions that it has and answers one error for those that it hasn't; once what was published before
    /// has gone out.
    pub fn unsubscribe(&mut self, unsubscribing: Unsubscribing, context: &mut SessionContext<'_>) {
        if context.taken(unsubscribing.pushed) == Answer::Pending {
            self.pending = Some(Box::new(Pending::Unsubscribe(unsubscribing)));
            return;
        }
        let Unsubscribing { topics, id, .. } = unsubscribing;
        let id = id.as_deref().map(RequestId);
        let mut refused = Refused::default();
        let (mut done, mut named) = (Vec::with_capacity(topics.len()), HashSet::new());
        for topic in topics {
            match topic {
                Ok(pattern) if context.is_subscribed(&pattern) && named.insert(pattern.clone()) => done.push(pattern),
                Ok(pattern) => {
                    refused.add(ErrorCode::NotSubscribed, pattern.as_str(), format!("this session is not subscribed to {pattern}"));
                }
                Err(error) => refused.add(error.code(), error.name(), error.to_string()),
            }
        }
        context.unsubscribe(&done);
        if id.is_some() && !done.is_empty() {
            context.say(&Event::Unsubscribed { id, topics: &done });
        }
        refused.answer(id, context);
    }
}
