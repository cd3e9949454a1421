//! The audience of one topic: the outlets that it delivers to, and the sessions that are subscribed to it by name.

use std::sync::Arc;
use std::task::Waker;

use super::members::Presence;
use crate::hub::message::Message;
use crate::hub::outlet::{Outlet, OutletId, PresenceChange};
use crate::hub::patterns::Patterns;
use crate::hub::stream::OtherGateways;
use crate::position::Position;
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

/// The outlets and members of a topic. An audience has no offsets and no history.
#[derive(Default)]
pub struct Audience {
    interests: Vec<Interest>,
    /// The generation of the patterns that `interests` reflects.
    generation: u64,
    /// How many sessions are subscribed by name.
    named: usize,
    /// The members; `None` until the first one. A topic whose rule has presence off has no members.
    presence: Option<Box<Presence>>,
}

/// An outlet with subscribers.
struct Interest {
    id: OutletId,
    outlet: Arc<dyn Outlet>,
    /// How many of the outlet's sessions are subscribed by name.
    named: u32,
    /// Whether one of the outlet's patterns matches the topic.
    by_pattern: bool,
}

impl Audience {
    /// The first outlet that has no room for another message of `publisher`, which waits for that one alone.
    pub fn outlet_without_room(&self, publisher: &Waker) -> Option<&Arc<dyn Outlet>> {
        let full = self.interests.iter().position(|interest| !interest.outlet.has_room(publisher))?;
        let others = self.interests.iter().enumerate().filter(|(index, _)| *index != full);
        others.for_each(|(_, interest)| interest.outlet.waits_elsewhere(publisher));
        Some(&self.interests[full].outlet)
    }

    /// Offers `message` of `publisher` to every outlet.
    pub fn offer(&self, message: &Message, publisher: &Waker) {
        self.interests.iter().for_each(|interest| interest.outlet.offer(message, publisher));
    }

    /// Tells every outlet that the log of `topic` was replaced. Subscribers continue in the new log behind `after`.
    pub fn log_replaced(&self, topic: &TopicName, after: Position) {
        self.interests.iter().for_each(|interest| interest.outlet.log_replaced(topic, after));
    }

    pub fn named(&self) -> usize {
        self.named
    }

    /// Applies the changes of `patterns` since the last call.
    pub fn follow(&mut self, topic: &TopicName, patterns: &Patterns) {
        if self.generation == patterns.generation() {
            return;
        }
        self.interests.iter_mut().for_each(|interest| interest.by_pattern = false);
        let interests = &mut self.interests;
        (self.generation, _) = patterns.outlets_of(topic, |id, outlet| interest(interests, id, outlet).by_pattern = true);
        self.interests.retain(|interest| interest.named > 0 || interest.by_pattern);
    }

    /// Counts a session of an outlet that has subscribed by name.
    pub fn add_named(&mut self, id: OutletId, outlet: &Arc<dyn Outlet>) {
        self.named += 1;
        interest(&mut self.interests, id, outlet).named += 1;
    }

    /// Undoes [`Audience::add_named`] for one session of the outlet.
    pub fn remove_named(&mut self, id: OutletId) {
        let Some(index) = self.interests.iter().position(|interest| interest.id == id) else { return };
        self.named = self.named.saturating_sub(1);
        let interest = &mut self.interests[index];
        interest.named = interest.named.saturating_sub(1);
        if interest.named == 0 && !interest.by_pattern {
            self.interests.swap_remove(index);
        }
    }

    /// Adds `member`. Announces the join to every outlet and to `others`, unless it was a member already.
    pub fn join(&mut self, topic: &TopicName, member: &Member, others: &OtherGateways) {
        if self.presence.get_or_insert_default().join(member) {
            self.announce(topic, member.clone(), true, others);
        }
    }

    /// Adds `member`. Announces the join to `others` only.
    pub fn enter(&mut self, topic: &TopicName, member: &Member, others: &OtherGateways) {
        if self.presence.get_or_insert_default().join(member) {
            others.announce(&Arc::new(PresenceChange { topic: topic.clone(), member: member.clone(), joined: true }));
        }
    }

    /// Removes the member of `session`, if there is one. Announces the leave to every outlet and to `others`.
    pub fn leave(&mut self, topic: &TopicName, session: SessionId, others: &OtherGateways) {
        let left = self.presence.as_mut().and_then(|presence| presence.leave(session));
        if let Some(member) = left {
            self.announce(topic, member, false, others);
        }
    }

    /// Changes the user of a member. Announces a leave and a join.
    pub fn change_user(&mut self, topic: &TopicName, member: &Member, others: &OtherGateways) {
        let Some(presence) = self.presence.as_mut() else { return };
        let Some(before) = presence.leave(member.session) else { return };
        presence.join(member);
        self.announce(topic, before, false, others);
        self.announce(topic, member.clone(), true, others);
    }

    /// All members: those at this gateway, then those at others.
    pub fn members(&self, topic: &TopicName, others: &OtherGateways) -> Vec<Member> {
        let mut members = self.presence.as_ref().map(|presence| presence.members()).unwrap_or_default();
        members.extend(others.members(topic));
        members
    }

    /// Offers every outlet a change at another gateway.
    pub fn forward(&self, change: &Arc<PresenceChange>) {
        self.interests.iter().for_each(|interest| interest.outlet.offer_presence(change));
    }

    fn announce(&self, topic: &TopicName, member: Member, joined: bool, others: &OtherGateways) {
        let change = Arc::new(PresenceChange { topic: topic.clone(), member, joined });
        self.forward(&change);
        others.announce(&change);
    }
}

/// The interest of outlet `id`, made if there is none.
fn interest<'a>(interests: &'a mut Vec<Interest>, id: OutletId, outlet: &Arc<dyn Outlet>) -> &'a mut Interest {
    let index = interests.iter().position(|interest| interest.id == id).unwrap_or_else(|| {
        interests.push(Interest { id, outlet: Arc::clone(outlet), named: 0, by_pattern: false });
        interests.len() - 1
    });
    &mut interests[index]
}
