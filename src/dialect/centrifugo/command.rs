//! What a client says, in neither encoding's spelling.

use std::borrow::Cow;

/// A command; its reply carries `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// The client's number for it; 0: it wants no reply.
    pub id: u32,
    /// What is wanted.
    pub asked: Asked<'a>,
}

/// What a command asks for: the first field of the protocol's order that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants and fields are the protocol's words")]
pub enum Asked<'a> {
    Connect(Connect<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe {
        channel: Cow<'a, str>,
    },
    Publish {
        channel: Cow<'a, str>,
        /// As it came: raw JSON, or bytes.
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
    /// No field is set: the pong.
    Nothing,
}

/// The first command of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connect<'a> {
    /// A token, or nothing.
    pub token: Cow<'a, str>,
    /// Where the client says it was, of each topic that the gateway subscribes it to.
    pub subs: Vec<(Cow<'a, str>, Place<'a>)>,
}

/// Where a client says it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whether it wants what came since.
    pub recover: bool,
    /// The last offset that it has; 0: it has none.
    pub offset: u64,
    /// The epoch as the client has it; empty: it is not compared.
    pub epoch: Cow<'a, str>,
}

/// A subscription to one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The topic.
    pub channel: Cow<'a, str>,
    /// A subscription token, or nothing.
    pub token: Cow<'a, str>,
    /// Where the client was.
    pub place: Place<'a>,
    /// What the application gave along.
    pub data: &'a [u8],
    /// Whether joins and leaves are wanted.
    pub join_leave: bool,
    /// A method by which payloads refer to earlier ones.
    pub delta: Cow<'a, str>,
    /// Whether it has a filter on tags.
    pub has_filter: bool,
    /// Bit 2: what can't be recovered is to be refused.
    pub flag: i64,
    /// A kind of subscription other than a stream.
    pub kind: i32,
}

/// A part of a topic's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History<'a> {
    /// The topic.
    pub channel: Cow<'a, str>,
    /// How many; negative: all.
    pub limit: i32,
    /// After which position, or before it where `reverse` is set.
    pub since: Option<(u64, Cow<'a, str>)>,
    /// The newest first.
    pub reverse: bool,
}

/// Commands for a session whose own connection has one direction alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emulation<'a> {
    /// The gateway that has the session, as it told the client.
    pub node: Cow<'a, str>,
    /// The session's secret, as it was told.
    pub session: Cow<'a, str>,
    /// A frame of commands.
    pub data: Cow<'a, [u8]>,
}
