//! What is said to a client, in neither encoding's spelling.

use std::time::Duration;

use super::codes::{ErrorReply, Unsubscribed};
use crate::hub::{Message, PayloadKind};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::{Member, SessionId};

/// A reply, or a push.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the variants and fields are the protocol's words")]
pub enum Reply<'a> {
    /// The protocol's own heartbeat.
    Ping,
    Error {
        id: u32,
        error: ErrorReply,
    },
    Connect {
        id: u32,
        result: &'a ConnectResult<'a>,
    },
    Subscribe {
        id: u32,
        result: &'a SubscribeResult,
    },
    Unsubscribe {
        id: u32,
    },
    Publish {
        id: u32,
    },
    Presence {
        id: u32,
        members: &'a [Member],
    },
    PresenceStats {
        id: u32,
        clients: usize,
        users: usize,
    },
    History {
        id: u32,
        messages: &'a [Message],
        epoch: Epoch,
        newest: Offset,
    },
    Refresh {
        id: u32,
        client: SessionId,
        expiry: Expiry,
    },
    SubRefresh {
        id: u32,
        expiry: Expiry,
    },
    Push {
        channel: &'a str,
        push: Push<'a>,
    },
}

/// What is told of a topic without being asked, beside its messages.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the variants are the protocol's words")]
pub enum Push<'a> {
    Join(&'a Member),
    Leave(&'a Member),
    Unsubscribe(Unsubscribed),
    Subscribe {
        result: &'a SubscribeResult,
        /// What the application gave along, as its bytes are.
        data: Option<(&'a [u8], PayloadKind)>,
    },
}

/// The answer to `connect`.
#[derive(Debug, Clone)]
pub struct ConnectResult<'a> {
    /// The session's name.
    pub client: SessionId,
    /// When its token expires.
    pub expiry: Expiry,
    /// The subscriptions that the gateway has made.
    pub subs: &'a [(&'a str, SubscribeResult)],
    /// Between two pings; told in whole seconds, rounded up.
    pub ping: Duration,
    /// By what requests speak for the session, where its own connection has one direction alone.
    pub spoken_for: Option<SpokenFor<'a>>,
}

/// What a request has to say to speak for a session.
#[derive(Debug, Clone, Copy)]
pub struct SpokenFor<'a> {
    /// Which session, a secret.
    pub session: &'a str,
    /// Which gateway has it.
    pub node: &'a str,
}

/// How a subscription begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscribeResult {
    /// When its token expires.
    pub expiry: Expiry,
    /// The position right before the first message that follows; `None`: the topic has no positions to recover from.
    pub position: Option<Position>,
    /// Whether a lost message is told; where it isn't, the newest alone is recovered.
    pub positioned: bool,
    /// Whether what the client missed follows.
    pub recovered: bool,
    /// Whether the client asked for that.
    pub was_recovering: bool,
}

/// How long a token holds still; `None`: for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expiry(pub Option<Duration>);
