//! Who is subscribed to one topic by name.

use std::sync::Arc;

use foldhash::HashMap;

use crate::session_id::{Member, SessionId};

/// The members of one topic.
#[derive(Debug, Default)]
pub struct Presence {
    members: HashMap<SessionId, Option<Arc<str>>>,
}

impl Presence {
    /// Adds a member; `false` if it is there already.
    pub fn join(&mut self, member: &Member) -> bool {
        self.members.insert(member.session, member.user.clone()).is_none()
    }

    /// Takes a member out; `None` if it isn't there.
    pub fn leave(&mut self, session: SessionId) -> Option<Member> {
        let user = self.members.remove(&session)?;
        if self.members.is_empty() {
            self.members = HashMap::default();
        }
        Some(Member { session, user })
    }

    /// All members.
    pub fn members(&self) -> Vec<Member> {
        self.members.iter().map(|(&session, user)| Member { session, user: user.clone() }).collect()
    }
}
