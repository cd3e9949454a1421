//! Who is subscribed to one topic by name.

use std::sync::Arc;

use foldhash::HashMap;

use crate::session_id::{Member, MemberInfo, SessionId};

/// The members of one topic.
#[derive(Debug, Default)]
pub struct Presence {
    members: HashMap<SessionId, About>,
}

/// What is known of a member beside its session.
type About = (Option<Arc<str>>, Option<Arc<MemberInfo>>);

impl Presence {
    /// Adds a member; `false` if it is there already.
    pub fn join(&mut self, member: &Member) -> bool {
        self.members.insert(member.session, (member.user.clone(), member.info.clone())).is_none()
    }

    /// Takes a member out; `None` if it isn't there.
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
