//! The members of one topic: the sessions that are subscribed to it by name.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::HashMap;

use crate::session_id::{Member, MemberInfo, SessionId};

/// The members of one topic.
#[derive(Debug, Default)]
pub struct Presence {
    members: HashMap<SessionId, UserAndInfo>,
}

type UserAndInfo = (Option<Arc<str>>, Option<Arc<MemberInfo>>);

impl Presence {
    /// Adds a member; `false`: the session is a member already, which stays as it is.
    pub fn join(&mut self, member: &Member) -> bool {
        let Entry::Vacant(vacant) = self.members.entry(member.session) else { return false };
        vacant.insert((member.user.clone(), member.info.clone()));
        true
    }

    /// Removes a member; `None`: the session was no member.
    pub fn leave(&mut self, session: SessionId) -> Option<Member> {
        let (user, info) = self.members.remove(&session)?;
        if self.members.is_empty() {
            self.members = HashMap::default();
        }
        Some(Member { session, user, info })
    }

    /// All members.
    pub fn members(&self) -> Vec<Member> {
        self.members.iter().map(|(&session, (user, info))| Member { session, user: user.clone(), info: info.clone() }).collect()
    }
}
