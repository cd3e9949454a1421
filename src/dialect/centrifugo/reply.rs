//! The replies and pushes of Centrifugo's protocol, independent of the encoding.

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
    /// The push that ends a connection without Close frames.
    Disconnect {
        code: u16,
        reason: &'a str,
    },
}

/// A push to one topic.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the variants are the protocol's words")]
pub enum Push<'a> {
    Publication(&'a Message),
    Join(&'a Member),
    Leave(&'a Member),
    Unsubscribe(Unsubscribed),
    Subscribe {
        result: &'a SubscribeResult,
        /// The data of the operator's order, unchanged.
        data: Option<(&'a [u8], PayloadKind)>,
    },
}

/// The answer to `connect`.
#[derive(Debug, Clone)]
pub struct ConnectResult<'a> {
    /// The session's id.
    pub client: SessionId,
    /// The time that is left to the token.
    pub expiry: Expiry,
    /// The subscriptions that the gateway made.
    pub subs: &'a [(&'a str, SubscribeResult)],
    /// The time between two pings, which is sent in whole seconds, rounded up.
    pub ping: Duration,
    /// The address of an emulated session, for requests to `/emulation`.
    pub emulation: Option<EmulationKeys<'a>>,
}

/// The address of an emulated session.
#[derive(Debug, Clone, Copy)]
pub struct EmulationKeys<'a> {
    /// The secret address of the session.
    pub session: &'a str,
    /// The name of the session's gateway.
    pub node: &'a str,
}

/// The answer to a subscribe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscribeResult {
    /// The time that is left to the token.
    pub expiry: Expiry,
    /// The position before the first message that follows; `None`: the topic has no history to recover from.
    pub position: Option<Position>,
    /// Whether lost messages end the subscription. Otherwise only the newest message is recovered.
    pub positioned: bool,
    /// Whether all messages that the client missed follow.
    pub recovered: bool,
    /// Whether the client asked to recover.
    pub was_recovering: bool,
}

/// The time that is left to a token; `None`: it does not expire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expiry(pub Option<Duration>);
