//! What an operator's program asks of the sessions of a user.

use crate::hub::PayloadKind;
use crate::position::Offset;
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// Something that a session is told to do, by whoever administers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// It is subscribed to a topic, whatever its grants say. Sessions of Centrifugo's protocol alone know such subscriptions.
    Subscribe(Box<OrderedSubscription>),
    /// A subscription of it ends, or all.
    Unsubscribe(Option<TopicName>),
    /// Its credential holds until then, in Unix seconds, or not any more.
    Expire(Option<u64>),
}

/// A subscription that a session is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedSubscription {
    /// The topic.
    pub topic: TopicName,
    /// What presence and publications show of the session there, as JSON text.
    pub info: Option<Box<str>>,
    /// What the application of the session is given along.
    pub data: Option<(Box<[u8]>, PayloadKind)>,
    /// The position after which the session hears the topic, by epoch and offset; an empty epoch is not compared. `None`: from now on.
    pub since: Option<(Box<str>, Offset)>,
    /// Whether the session is told of joins and leaves, as one is that asks to be.
    pub join_leave: bool,
}

/// Which sessions an order is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    /// Those of this user.
    pub user: Box<str>,
    /// This one alone, if it is one of them.
    pub only: Option<SessionId>,
}
