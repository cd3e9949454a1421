//! Presence in the cluster: each gateway announces its members to the others over core NATS, and keeps a copy of theirs.

mod own;
mod peers;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::gateway_id::GatewayId;
use crate::config::Live;
use crate::hub::{Hub, PresenceChange};
use crate::metrics::{Counter, LimitKey, Metrics};
use crate::topic_name::Pattern;
use own::{OwnMembers, write_page};
use peers::{Action, Peers};
use wire::{Announcement, PageRequest};

/// The time between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two checks for gateways that are silent.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The most changes that are taken from the queue at once, and the most bytes of a message, if the servers allow so many.
const CHANGES_PER_BATCH: usize = 1_024;
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// The most changes that the hub gets before other tasks have their turn.
const CHANGES_PER_TURN: usize = 256;
/// How long the connection may take to accept a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The members of this gateway, and what the tasks of the cluster share about presence.
pub struct Presence {
    id: GatewayId,
    /// Locked under the lock of a topic, for one change or one page. No other lock is taken under it.
    own: Mutex<OwnMembers>,
    /// Notified when there is a change to announce.
    changed: Notify,
    /// Notified when the gateway stops.
    stopping: Notify,
    totals: Mutex<peers::Totals>,
}

/// What [`Presence::run`] works with.
pub struct Context {
    pub hub: Arc<Hub>,
    pub live: Arc<Live>,
    pub metrics: Arc<Metrics>,
    /// The topics that have the members of all gateways.
    pub patterns: Vec<Pattern>,
}

/// Why presence is not exchanged.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    #[error(transparent)]
    Subscribe(#[from] async_nats::SubscribeError),
    #[error("the connection has ended")]
    Ended,
}

impl Presence {
    /// Presence without members, and without other gateways.
    pub fn new() -> Arc<Self> {
        let (own, totals) = (Mutex::default(), Mutex::default());
        Arc::new(Self { id: GatewayId::random(), own, changed: Notify::new(), stopping: Notify::new(), totals })
    }

    /// Announces that a member joined or left this gateway.
    pub fn change(&self, change: &Arc<PresenceChange>) {
        self.own.lock().change(change);
        self.changed.notify_one();
    }

    /// Notes whether the connection is up.
    pub fn set_connected(&self, connected: bool) {
        self.own.lock().set_connected(connected);
        self.changed.notify_one();
    }

    /// The totals of the other gateways.
    pub fn totals(&self) -> peers::Totals {
        *self.totals.lock()
    }

    /// Makes [`Presence::run`] announce to the other gateways that this one stops, and end.
    pub fn end(&self) {
        self.stopping.notify_one();
    }

    /// Exchanges members with the other gateways until [`Presence::end`].
    pub async fn run(&self, client: Client, name: &str, context: &Context) -> Result<(), PresenceError> {
        let mut exchange = Exchange::open(self, client, name, context).await?;
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping.notified() => {
                    exchange.announce(wire::to_json(&Announcement::Leaving {})).await;
                    _ = tokio::time::timeout(SEND_TIMEOUT, exchange.client.flush()).await;
                    return Ok(());
                }
                message = exchange.announcements.next() => exchange.receive_announcement(&message.ok_or(PresenceError::Ended)?),
                message = exchange.pages.next() => exchange.receive_page(&message.ok_or(PresenceError::Ended)?),
                message = exchange.requests.next() => exchange.answer_request(&message.ok_or(PresenceError::Ended)?).await,
                () = self.changed.notified() => exchange.announce_changes().await,
                _ = heartbeat.tick() => exchange.send_heartbeat().await,
                _ = check.tick() => exchange.check_timeouts(),
            }
            exchange.perform_actions().await;
        }
    }
}

/// The state of [`Presence::run`].
struct Exchange<'a> {
    presence: &'a Presence,
    client: Client,
    name: &'a str,
    context: &'a Context,
    /// The announcements of all gateways.
    announcements: Subscriber,
    /// Requests for the members of this gateway.
    requests: Subscriber,
    /// The answers to requests of this gateway.
    pages: Subscriber,
    inbox: String,
    peers: Peers,
}

impl<'a> Exchange<'a> {
    async fn open(presence: &'a Presence, client: Client, name: &'a str, context: &'a Context) -> Result<Self, PresenceError> {
        let inbox = client.new_inbox();
        let announcements = client.subscribe(announcement_subject("*")).await?;
        let requests = client.subscribe(request_subject(presence.id)).await?;
        let pages = client.subscribe(format!("{inbox}.*")).await?;
        let peers = Peers::new(Duration::MAX, 0);
        let mut exchange = Self { presence, client, name, context, announcements, requests, pages, inbox, peers };
        exchange.follow_settings();
        Ok(exchange)
    }

    fn follow_settings(&mut self) {
        if let Some(cluster) = &self.context.live.load().cluster {
            self.peers.set_limits(cluster.presence_timeout, cluster.members_bytes);
        }
    }

    fn receive_announcement(&mut self, message: &Message) {
        let Some(from) = last_token(message).and_then(GatewayId::parse).filter(|from| *from != self.presence.id) else { return };
        match serde_json::from_slice(&message.payload) {
            Ok(announcement) => self.peers.receive(from, announcement, Instant::now()),
            Err(error) => tracing::debug!(gateway = ?from, %error, "an announcement of another gateway can't be read"),
        }
    }

    fn receive_page(&mut self, message: &Message) {
        let Some(from) = last_token(message).and_then(GatewayId::parse) else { return };
        if message.status.is_some() {
            return; // the gateway is gone
        }
        match serde_json::from_slice(&message.payload) {
            Ok(page) => self.peers.receive_page(from, page, Instant::now()),
            Err(error) => tracing::debug!(gateway = ?from, %error, "another gateway's list of members can't be read"),
        }
    }

    async fn answer_request(&self, message: &Message) {
        let Some(reply) = message.reply.clone() else { return };
        let Ok(PageRequest { after }) = serde_json::from_slice(&message.payload) else { return };
        let page = self.presence.own.lock().page(after.as_ref());
        let written = write_page(after.as_ref(), page, self.message_bytes());
        self.send(reply.as_str().to_owned(), written).await;
    }

    async fn announce_changes(&self) {
        let (mut after, changes) = self.presence.own.lock().take_changes(CHANGES_PER_BATCH);
        let mut rest = &changes[..];
        while !rest.is_empty() {
            let (written, count) = wire::changes(after, rest, self.message_bytes());
            self.announce(written).await;
            rest = rest.get(count..).unwrap_or_default();
            after += count as u64;
        }
        if changes.len() == CHANGES_PER_BATCH {
            self.presence.changed.notify_one(); // other events have their turn before the next batch
        }
    }

    async fn send_heartbeat(&mut self) {
        self.follow_settings();
        let (newest, members) = self.presence.own.lock().announced();
        self.announce(wire::to_json(&Announcement::Heartbeat { newest, members, name: self.name.into() })).await;
    }

    fn check_timeouts(&mut self) {
        self.peers.check_timeouts(Instant::now());
        let (totals, refused) = self.peers.totals();
        *self.presence.totals.lock() = totals;
        if refused > 0 {
            self.context.metrics.count(LimitKey::MembersBytes, refused);
        }
    }

    /// Performs what the messages of other gateways have caused.
    async fn perform_actions(&mut self) {
        for (index, action) in self.peers.take_actions().into_iter().enumerate() {
            match action {
                Action::Change(change) => {
                    if self.context.patterns.iter().any(|pattern| pattern.matches(&change.topic)) {
                        self.context.hub.apply_remote_presence(&change);
                    }
                }
                Action::RequestPage(gateway, after) => {
                    self.context.metrics.count(Counter::ClusterMemberPages, 1);
                    let reply = format!("{}.{gateway}", self.inbox);
                    let request = wire::to_json(&PageRequest { after });
                    let sent = self.client.publish_with_reply(request_subject(gateway), reply, request.into());
                    _ = tokio::time::timeout(SEND_TIMEOUT, sent).await; // a lost request is sent again
                }
            }
            if index % CHANGES_PER_TURN == CHANGES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn announce(&self, what: Vec<u8>) {
        self.send(announcement_subject(self.presence.id), what).await;
    }

    /// Sends a message. The other gateways notice if it is lost, and ask for the members.
    async fn send(&self, subject: String, what: Vec<u8>) {
        if self.client.connection_state() != State::Connected {
            return; // in the connection's queue the message would become outdated
        }
        _ = tokio::time::timeout(SEND_TIMEOUT, self.client.publish(subject, Bytes::from(what))).await;
    }

    fn message_bytes(&self) -> usize {
        self.client.try_server_info().map_or(MESSAGE_BYTES_MAX, |info| info.max_payload.min(MESSAGE_BYTES_MAX))
    }
}

/// The subject of a gateway's announcements.
fn announcement_subject(gateway: impl std::fmt::Display) -> String {
    format!("$belfry.presence.{gateway}")
}

/// The subject of requests for a gateway's members.
fn request_subject(gateway: GatewayId) -> String {
    format!("$belfry.presence.{gateway}.ask")
}

fn last_token(message: &Message) -> Option<&str> {
    message.subject.as_str().rsplit('.').next()
}
