//! How a session begins: what its upgrade request said, and what it is given.

use std::sync::Arc;

use crate::auth::{Auth, AuthError, Identity};
use crate::clock::Clock;
use crate::config::Live;
use crate::dialect::Dialect;
use crate::frame::Agreement;
use crate::session_id::SessionId;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// How a session begins, as its upgrade request said.
pub struct Opening {
    /// Its name.
    pub id: SessionId,
    /// What is spoken and what is wanted at once.
    pub purpose: Purpose,
    /// Who it is; `Ok(None)`: nobody yet, and there are no anonymous grants; an error closes it at once with 4001 or 4002.
    pub identity: Result<Option<Arc<Identity>>, AuthError>,
    /// permessage-deflate, if it was agreed on.
    pub agreement: Option<Agreement>,
}

/// What a session is for.
pub enum Purpose {
    /// The native dialect, with what `?topics=` and `?last=` ask for.
    Native {
        /// Names that are no topics are answered with an error.
        topics: Vec<Result<Pattern, TopicNameError>>,
        /// `?last=n`.
        last: Option<usize>,
    },
    /// A plain WebSocket that is a topic; the right to subscribe was checked before the 101.
    Raw {
        /// Which.
        topic: TopicName,
        /// `?last=n`.
        last: Option<usize>,
        /// `?echo=true`.
        echo: bool,
    },
    /// Every message comes back.
    Echo,
}

impl Purpose {
    /// Whether the session takes topics as it opens, without a command.
    pub fn subscribes_at_once(&self) -> bool {
        match self {
            Self::Native { topics, .. } => !topics.is_empty(),
            Self::Raw { .. } => true,
            Self::Echo => false,
        }
    }

    /// The dialect that goes with it.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Native { .. } => Dialect::Json,
            Self::Raw { .. } => Dialect::Raw,
            Self::Echo => Dialect::Echo,
        }
    }
}

/// What every session is given; one for all.
pub struct Surroundings {
    /// Who may what.
    pub auth: Arc<Auth>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The time.
    pub clock: Clock,
}
