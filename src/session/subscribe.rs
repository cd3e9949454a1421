//! Subscribing and unsubscribing: commands that may take several turns, and their answers.

use super::state::{Asked, HowAnswered, Pending, Session};
use super::subscribe_options::SubscribeOptions;
use super::subscribing::Subscribing;
use super::unsubscribing::Unsubscribing;
use super::work;
use crate::codes::CloseCode;
use crate::dialect::RequestId;
use crate::metrics::CloseReason;
use crate::shard::{Answer, SessionContext};
use crate::topic_name::{Pattern, TopicName, TopicNameError};

impl Session {
    /// Does the good topics and answers one error for the others.
    pub fn subscribe(
        &mut self,
        id: Option<RequestId<'_>>,
        topics: Vec<Result<Pattern, TopicNameError>>,
        options: SubscribeOptions<'_>,
        context: &mut SessionContext<'_>,
    ) {
        let answer = HowAnswered::Command(id.map(|RequestId(id)| id.into()));
        self.go_on_subscribing(Box::new(Asked { subscribing: Subscribing::new(topics, options.into_owned()), answer }), context);
    }

    /// What `?topics=` asks for; its answer comes without an `id`.
    pub fn subscribe_at_upgrade(
        &mut self,
        topics: Vec<Result<Pattern, TopicNameError>>,
        last: Option<usize>,
        context: &mut SessionContext<'_>,
    ) {
        self.charge(work::of_names(topics.len()), context);
        let options = SubscribeOptions { last, ..SubscribeOptions::default() };
        let answer = HowAnswered::AtUpgrade;
        self.go_on_subscribing(Box::new(Asked { subscribing: Subscribing::new(topics, options), answer }), context);
    }

    /// The one topic of a raw session; the right to it was checked before the upgrade.
    pub fn subscribe_raw(&mut self, topic: &TopicName, last: Option<usize>, context: &mut SessionContext<'_>) {
        let options = SubscribeOptions { last, ..SubscribeOptions::default() };
        let topics = vec![Ok(Pattern::from(topic.clone()))];
        let answer = HowAnswered::Raw;
        self.go_on_subscribing(Box::new(Asked { subscribing: Subscribing::new(topics, options), answer }), context);
    }

    /// Does a slice of a subscribe; what is left waits for the session's next turn.
    pub fn go_on_subscribing(&mut self, mut asked: Box<Asked>, context: &mut SessionContext<'_>) {
        if asked.subscribing.go_on(self.grants(), &self.member(), context) == Answer::Pending {
            self.waiting.hold(Pending::Subscribe(asked));
            return;
        }
        let Asked { subscribing, answer } = *asked;
        self.charge(work::of_places(subscribing.looked_at()), context);
        let done = subscribing.finish(context);
        match answer {
            HowAnswered::Raw => {
                if let Err(reason) = done.begin_raw(context) {
                    context.close(CloseCode::Policy, &reason, CloseReason::Policy);
                }
            }
            HowAnswered::AtUpgrade => {
                done.answer(None, context);
                done.begin_all(None, context);
            }
            HowAnswered::Command(id) => {
                let id = id.as_deref().map(RequestId);
                if id.is_some() {
                    done.answer(id, context);
                }
                done.begin_all(id, context);
            }
        }
    }

    /// Does a slice of an unsubscribe; what is left waits for the session's next turn.
    pub fn go_on_unsubscribing(&mut self, mut unsubscribing: Box<Unsubscribing>, context: &mut SessionContext<'_>) {
        if unsubscribing.go_on(context) == Answer::Pending {
            self.waiting.hold(Pending::Unsubscribe(unsubscribing));
        }
    }
}
