//! Commands of an administrator's program (`/api`) to the sessions of a user.

use crate::hub::PayloadKind;
use crate::position::Offset;
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// A command to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminCommand {
    /// Subscribes the session to a topic, even if its grants do not cover the topic. Only sessions of Centrifugo's
    /// protocol have such subscriptions.
    Subscribe(Box<AdminSubscription>),
    /// Ends the session's subscription to a topic; `None`: all its subscriptions.
    Unsubscribe(Option<TopicName>),
    /// Sets the expiry of the session's credential, in Unix seconds; `None`: the credential has expired.
    Expire(Option<u64>),
}

/// A subscription that a session is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSubscription {
    /// The topic.
    pub topic: TopicName,
    /// The session's info in presence and publications of the topic, as JSON text.
    pub info: Option<Box<str>>,
    /// Data for the application at the session's end.
    pub data: Option<(Box<[u8]>, PayloadKind)>,
    /// The session receives the messages of the topic after this position, given by epoch and offset. An empty epoch is
    /// not compared. `None`: from now on.
    pub since: Option<(Box<str>, Offset)>,
    /// Whether the session receives joins and leaves, like a session that has asked for them.
    pub join_leave: bool,
}

/// The sessions of a user that a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSessions {
    /// The user whose sessions are meant.
    pub user: Box<str>,
    /// Only this session, if it is one of the user's.
    pub only: Option<SessionId>,
    /// These sessions are not meant.
    pub spared: Vec<SessionId>,
}
