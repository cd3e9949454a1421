//! Presence of the cluster: each gateway tells the others of its members over core NATS, and keeps theirs.

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

use crate::config::Live;
use crate::hub::{Hub, PresenceChange};
use crate::metrics::{LimitKey, Metrics};
use crate::topic_name::Pattern;
use own::{Own, written_page};
use peers::{Action, Peers};
use wire::{Asked, GatewayId, Page, Said};

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// Between two looks at who is silent.
const LOOK: Duration = Duration::from_millis(100);
/// Changes in one message, and what a message has at most, where the servers take so much.
const CHANGES_AT_ONCE: usize = 1_024;
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Changes that are passed on to the hub between two turns of others.
const CHANGES_IN_A_TURN: usize = 256;
/// How long the connection may refuse a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// What this gateway tells and keeps of presence.
pub struct Presence {
    id: GatewayId,
    /// Held for one change or one page; taken under the lock of a topic, and nothing is taken under it.
    own: Mutex<Own>,
    /// A change is to be told.
    changed: Notify,
    /// The gateway ends.
    ends: Notify,
    kept: Mutex<peers::Kept>,
}

/// What the task works with.
pub struct Parts {
    /// Topics.
    pub hub: Arc<Hub>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The topics whose members are the cluster's.
    pub patterns: Vec<Pattern>,
}

/// The connection can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// It takes no subscription.
    #[error(transparent)]
    Subscribe(#[from] async_nats::SubscribeError),
    /// Its subscriptions ended.
    #[error("the connection has ended")]
    Ended,
}

impl Presence {
    /// Nobody is here yet, and nobody was heard.
    pub fn new() -> Arc<Self> {
        let (own, kept) = (Mutex::default(), Mutex::default());
        Arc::new(Self { id: GatewayId::random(), own, changed: Notify::new(), ends: Notify::new(), kept })
    }

    /// A member joined here or left.
    pub fn change(&self, change: &Arc<PresenceChange>) {
        self.own.lock().change(change);
        self.changed.notify_one();
    }

    /// The connection came or went.
    pub fn set_connected(&self, connected: bool) {
        self.own.lock().set_connected(connected);
        self.changed.notify_one();
    }

    /// What is kept of other gateways.
    pub fn kept(&self) -> peers::Kept {
        *self.kept.lock()
    }

    /// The gateway ends: [`Presence::run`] says so to the others, and is done.
    pub fn end(&self) {
        self.ends.notify_one();
    }

    /// Tells, hears and answers until the gateway ends.
    pub async fn run(&self, client: Client, name: &str, parts: &Parts) -> Result<(), Unheard> {
        let mut session = Session::open(self, client, name, parts).await?;
        let mut look = tokio::time::interval(LOOK);
        let mut beat = tokio::time::interval(BEAT);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.ends.notified() => {
                    session.say(wire::bye()).await;
                    _ = tokio::time::timeout(SEND_TIMEOUT, session.client.flush()).await;
                    return Ok(());
                }
                message = session.said.next() => session.hear(&message.ok_or(Unheard::Ended)?),
                message = session.pages.next() => session.take_page(&message.ok_or(Unheard::Ended)?),
                message = session.asked.next() => session.answer(&message.ok_or(Unheard::Ended)?).await,
                () = self.changed.notified() => session.tell_changes().await,
                _ = beat.tick() => session.beat().await,
                _ = look.tick() => session.look(),
            }
            session.act().await;
        }
    }
}

/// One run over one connection.
struct Session<'a> {
    presence: &'a Presence,
    client: Client,
    name: &'a str,
    parts: &'a Parts,
    /// What all gateways say.
    said: Subscriber,
    /// Questions for this one's members.
    asked: Subscriber,
    /// Answers to its own.
    pages: Subscriber,
    inbox: String,
    peers: Peers,
}

impl<'a> Session<'a> {
    async fn open(presence: &'a Presence, client: Client, name: &'a str, parts: &'a Parts) -> Result<Self, Unheard> {
        let inbox = client.new_inbox();
        let said = client.subscribe(said_subject("*")).await?;
        let asked = client.subscribe(asked_subject(presence.id)).await?;
        let pages = client.subscribe(format!("{inbox}.*")).await?;
        let peers = Peers::new(Duration::MAX, 0);
        let mut session = Self { presence, client, name, parts, said, asked, pages, inbox, peers };
        session.follow_settings();
        Ok(session)
    }

    fn follow_settings(&mut self) {
        if let Some(cluster) = &self.parts.live.load().cluster {
            self.peers.set_limits(cluster.presence_timeout, cluster.members_bytes);
        }
    }

    fn hear(&mut self, message: &Message) {
        let Some(from) = last_token(message).and_then(GatewayId::parse).filter(|from| *from != self.presence.id) else { return };
        match Said::read(&message.payload) {
            Ok(said) => self.peers.hear(from, said, Instant::now()),
            Err(error) => tracing::debug!(gateway = ?from, %error, "what another gateway says of its members can't be read"),
        }
    }

    fn take_page(&mut self, message: &Message) {
        let Some(from) = last_token(message).and_then(GatewayId::parse) else { return };
        if message.status.is_some() {
            return; // nobody has that name any more
        }
        match Page::read(&message.payload) {
            Ok(page) => self.peers.answer(from, page, Instant::now()),
            Err(error) => tracing::debug!(gateway = ?from, %error, "another gateway's list of members can't be read"),
        }
    }

    async fn answer(&self, message: &Message) {
        let Some(reply) = message.reply.clone() else { return };
        let Ok(Asked { after }) = Asked::read(&message.payload) else { return };
        let page = self.presence.own.lock().page(after.as_ref());
        let written = written_page(after.as_ref(), page, self.message_bytes());
        self.send(reply.as_str().to_owned(), written).await;
    }

    async fn tell_changes(&self) {
        let (mut after, changes) = self.presence.own.lock().tell(CHANGES_AT_ONCE);
        let mut rest = &changes[..];
        while !rest.is_empty() {
            let (written, count) = wire::changes(after, rest, self.message_bytes());
            self.say(written).await;
            rest = rest.get(count..).unwrap_or_default();
            after += count as u64;
        }
        if changes.len() == CHANGES_AT_ONCE {
            self.presence.changed.notify_one(); // others have their turn before the next
        }
    }

    async fn beat(&mut self) {
        self.follow_settings();
        let (n, members) = self.presence.own.lock().told();
        self.say(wire::beat(n, members, self.name)).await;
    }

    fn look(&mut self) {
        self.peers.look(Instant::now());
        let (kept, refused) = self.peers.account();
        *self.presence.kept.lock() = kept;
        if refused > 0 {
            self.parts.metrics.limit_hit_times(LimitKey::MembersBytes, refused);
        }
    }

    /// Does what is to be done after something was heard.
    async fn act(&mut self) {
        for (index, action) in self.peers.take_actions().into_iter().enumerate() {
            match action {
                Action::Change(change) => {
                    if self.parts.patterns.iter().any(|pattern| pattern.matches(&change.topic)) {
                        self.parts.hub.apply_remote_presence(&change);
                    }
                }
                Action::Ask(gateway, after) => {
                    self.parts.metrics.cluster_members_asked();
                    let reply = format!("{}.{gateway}", self.inbox);
                    let sent = self.client.publish_with_reply(asked_subject(gateway), reply, wire::ask(after.as_ref()).into());
                    _ = tokio::time::timeout(SEND_TIMEOUT, sent).await; // what was not asked is asked again
                }
            }
            if index % CHANGES_IN_A_TURN == CHANGES_IN_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn say(&self, what: Vec<u8>) {
        self.send(said_subject(self.presence.id), what).await;
    }

    /// What can't be sent is missed by the others, who then ask for it.
    async fn send(&self, subject: String, what: Vec<u8>) {
        if self.client.connection_state() != State::Connected {
            return; // it would lie in the connection's queue, and be old by then
        }
        _ = tokio::time::timeout(SEND_TIMEOUT, self.client.publish(subject, Bytes::from(what))).await;
    }

    fn message_bytes(&self) -> usize {
        self.client.try_server_info().map_or(MESSAGE_BYTES_MAX, |info| info.max_payload.min(MESSAGE_BYTES_MAX))
    }
}

/// Where a gateway says what all others hear.
fn said_subject(gateway: impl std::fmt::Display) -> String {
    format!("$belfry.presence.{gateway}")
}

/// Where a gateway is asked.
fn asked_subject(gateway: GatewayId) -> String {
    format!("$belfry.presence.{gateway}.ask")
}

fn last_token(message: &Message) -> Option<&str> {
    message.subject.as_str().rsplit('.').next()
}
