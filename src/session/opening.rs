//! The parameters of a new session over a WebSocket, from its upgrade request.

use std::sync::Arc;

use crate::auth::{AuthError, Identity};
use crate::dialect::Dialect;
use crate::dialect::centrifugo::Wire;
use crate::frame::Agreement;
use crate::session_id::SessionId;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// The parameters of a new session over a WebSocket.
pub struct Opening {
    /// The session's id.
    pub id: SessionId,
    /// The dialect, and the topics that the URL subscribes to.
    pub purpose: Purpose,
    /// The identity. `Ok(None)`: the client has not authenticated yet, and there are no anonymous grants. An error closes the session at
    /// once, with 4001 or 4002.
    pub identity: Result<Option<Arc<Identity>>, AuthError>,
    /// The parameters of permessage-deflate (RFC 7692), if it was negotiated.
    pub agreement: Option<Agreement>,
}

/// What a session is for.
pub enum Purpose {
    /// The native dialect, with what `?topics=` and `?last=` ask for.
    Native {
        /// The topics and patterns. Each invalid name is answered with an error.
        topics: Vec<Result<Pattern, TopicNameError>>,
        /// `?last=n`.
        last: Option<usize>,
    },
    /// The raw dialect: plain messages of one topic. The grant to subscribe was checked before the 101.
    Raw {
        /// The topic.
        topic: TopicName,
        /// `?last=n`.
        last: Option<usize>,
        /// `?echo=true`.
        echo: bool,
    },
    /// Every message is sent back.
    Echo,
    /// Centrifugo's protocol.
    Centrifugo {
        /// The encoding, JSON or protobuf.
        wire: Wire,
    },
}

impl Purpose {
    /// Whether the session subscribes when it opens, without a command.
    pub fn subscribes_at_once(&self) -> bool {
        match self {
            Self::Native { topics, .. } => !topics.is_empty(),
            Self::Raw { .. } => true,
            Self::Echo | Self::Centrifugo { .. } => false,
        }
    }

    /// The dialect of the session.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Native { .. } => Dialect::Json,
            Self::Raw { .. } => Dialect::Raw,
            Self::Echo => Dialect::Echo,
            Self::Centrifugo { wire } => Dialect::Centrifugo(*wire),
        }
    }
}
