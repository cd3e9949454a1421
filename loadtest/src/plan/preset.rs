//! The servers of `--target`: Belfry in its dialects, the baseline, and other servers.

use std::path::Path;

use anyhow::ensure;
use clap::ValueEnum;
use serde::Serialize;

use super::server::{Sends, Server};
use crate::named::Named;
use crate::wire::{Deflate, Dialect};

/// A server and its dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Belfry's native dialect
    Json,
    /// Belfry's raw dialect
    Raw,
    /// Belfry's native dialect as server-sent events
    Sse,
    /// Belfry's native dialect as lines of an HTTP answer
    Stream,
    /// Belfry, by Centrifugo's protocol in JSON
    CentrifugoJson,
    /// Belfry, by Centrifugo's protocol in protobuf
    CentrifugoProtobuf,
    /// Belfry's native dialect with `server.coalesce` at 1 ms
    #[value(name = "json-coalesce-1ms")]
    JsonCoalesce,
    /// Belfry's native dialect on two shards
    JsonTwoShards,
    /// Plain sends, one for each message
    Baseline,
    /// Plain sends, one for all messages that came at once
    BaselineJoined,
    /// A broadcast server on uWebSockets
    Uwebsockets,
    /// The same with Python before it: PyPI's `socketify`
    Socketify,
    /// nginx with nchan
    Nchan,
    /// Centrifugo, by its JSON protocol
    Centrifugo,
    /// nats-server over WebSocket
    Nats,
    /// A broadcast server on Node's `ws`
    NodeWs,
    /// A broadcast server on Python's `websockets`
    PythonWebsockets,
}

impl Preset {
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Json | Self::JsonCoalesce | Self::JsonTwoShards => Dialect::Json,
            Self::Raw => Dialect::Raw,
            Self::Sse => Dialect::Sse,
            Self::Stream => Dialect::Stream,
            Self::CentrifugoProtobuf => Dialect::CentrifugoProtobuf,
            Self::Baseline | Self::BaselineJoined => Dialect::Plain,
            Self::Uwebsockets | Self::Socketify | Self::NodeWs | Self::PythonWebsockets => Dialect::Bare,
            Self::Nats => Dialect::Nats,
            Self::Nchan => Dialect::Nchan,
            Self::Centrifugo | Self::CentrifugoJson => Dialect::CentrifugoJson,
        }
    }

    pub fn is_belfry(self) -> bool {
        self.dialect().is_belfrys_own() || matches!(self, Self::CentrifugoJson | Self::CentrifugoProtobuf)
    }

    /// Whether it supports this compression. Streams support none. Other servers would need a compressor for each
    /// session for `history`.
    pub fn offers(self, deflate: Deflate) -> bool {
        match deflate {
            Deflate::Off => true,
            _ if self.dialect().is_stream() => false,
            Deflate::Alone => self.dialect() != Dialect::Plain,
            Deflate::History => self.is_belfry(),
        }
    }

    /// How it is started: `belfry` for Belfry, and a script in `peers` for another server.
    pub fn server(self, belfry: &Server, peers: &Path) -> anyhow::Result<Server> {
        let tuned = matches!(self, Self::JsonCoalesce | Self::JsonTwoShards);
        ensure!(!tuned || *belfry != Server::Running, "{} is a gateway of one's own: name the gateway's binary with --start", self.name());
        Ok(match self {
            Self::Json | Self::Raw | Self::Sse | Self::Stream | Self::CentrifugoJson | Self::CentrifugoProtobuf => belfry.clone(),
            Self::JsonCoalesce => belfry.with_setting("server.coalesce=1ms"),
            Self::JsonTwoShards => belfry.with_setting("server.shards=2"),
            Self::Baseline => Server::Baseline(Sends::Single),
            Self::BaselineJoined => Server::Baseline(Sends::Joined),
            _ => {
                let script = peers.join(self.name());
                ensure!(script.exists(), "there is no {}: name the folder of the scripts with --peers", script.display());
                Server::Peer(script)
            }
        })
    }
}
