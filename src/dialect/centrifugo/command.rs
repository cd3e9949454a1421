//! The commands of Centrifugo's protocol, independent of the encoding.

use std::borrow::Cow;

/// A command. Its reply has the same `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// The number that the client gave the command; 0: the command gets no reply.
    pub id: u32,
    /// The operation.
    pub operation: Operation<'a>,
}

/// The operation of a command: the first field that is set, in the order of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants and fields are the protocol's words")]
pub enum Operation<'a> {
    Connect(Connect<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe {
        channel: Cow<'a, str>,
    },
    Publish {
        channel: Cow<'a, str>,
        /// The payload as received: raw JSON, or bytes.
        data: &'a [u8],
    },
    Presence {
        channel: Cow<'a, str>,
    },
    PresenceStats {
        channel: Cow<'a, str>,
    },
    History(History<'a>),
    Ping,
    Send,
    Rpc,
    Refresh {
        token: Cow<'a, str>,
    },
    SubRefresh {
        channel: Cow<'a, str>,
        token: Cow<'a, str>,
    },
    /// No field is set: the answer to a ping.
    Nothing,
}

/// The first command of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connect<'a> {
    /// A token; empty: none.
    pub token: Cow<'a, str>,
    /// The client's positions on topics that the gateway subscribes it to.
    pub subs: Vec<(Cow<'a, str>, ClientPosition<'a>)>,
}

/// The position that a client has on a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientPosition<'a> {
    /// Whether the client asks for the messages behind the position.
    pub recover: bool,
    /// The offset of the last message that the client has; 0: none.
    pub offset: u64,
    /// The epoch; empty: it is not compared.
    pub epoch: Cow<'a, str>,
}

/// A subscription to one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The topic.
    pub channel: Cow<'a, str>,
    /// A subscription token; empty: none.
    pub token: Cow<'a, str>,
    /// The client's position.
    pub position: ClientPosition<'a>,
    /// The application's own data.
    pub data: &'a [u8],
    /// Whether the client asks for joins and leaves.
    pub join_leave: bool,
    /// The method of deltas that the client offers; empty: none.
    pub delta: Cow<'a, str>,
    /// Whether the command has a filter on tags.
    pub has_filter: bool,
    /// A bit set. Bit 2: the command is to be refused if the position can't be recovered.
    pub flag: i64,
    /// A kind of subscription other than a stream.
    pub kind: i32,
}

/// A part of a topic's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History<'a> {
    /// The topic.
    pub channel: Cow<'a, str>,
    /// The most messages; negative: all.
    pub limit: i32,
    /// The offset and epoch behind which the part begins, or before which it ends if `reverse` is set.
    pub since: Option<(u64, Cow<'a, str>)>,
    /// Whether the newest message comes first.
    pub reverse: bool,
}

/// The body of a request to `/emulation`: commands for a session whose stream carries only replies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emulation<'a> {
    /// The name of the session's gateway, as the client received it.
    pub node: Cow<'a, str>,
    /// The address of the session, as the client received it.
    pub session: Cow<'a, str>,
    /// A frame of commands.
    pub data: Cow<'a, [u8]>,
}
