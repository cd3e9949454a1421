//! Subscribes, prints messages, reconnects, and resumes.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

use super::output::Output;
use super::resume::{Resume, SUBSCRIBE_ID};
use crate::cli::gateway::{Backoff, ConnectError, Event, Gateway, Incoming, Message, WebSocket, after_close, read_event};
use crate::cli::stdio::{is_closed, report};

/// The longest silence of the gateway before its `welcome`, which has the ping interval.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);

/// The remedy for a `subscribe` that is not allowed.
const REMEDY: &str = "; one grant must cover all of a topic or pattern (the built-in configuration lets everybody subscribe to \
                      quotes.>, chat.> and $belfry.>), and --token brings others";

/// One `belfry sub`, over all of its sessions.
pub(super) struct Subscriber {
    gateway: Gateway,
    resume: Resume,
    /// The number of messages still to be printed; `None` without `--count`.
    left: Option<u64>,
    output: Output,
    backoff: Backoff,
    /// The number of this session's `subscribe` commands that were not refused; `None` once one was accepted.
    unrefused: Option<usize>,
    /// The longest silence of this session.
    silence_max: Duration,
    /// The moment that this session's `draining` named.
    not_before: Option<Instant>,
}

/// How a session ended.
enum End {
    /// The count is reached, or standard output is closed.
    Done,
    /// The connection was lost, for this reason. The next attempt is not before the moment that the gateway named, if
    /// any.
    Lost(String, Option<Instant>),
}

impl Subscriber {
    /// A subscriber of `topics`, which are names or patterns. It is not connected yet.
    pub(super) fn new(gateway: Gateway, topics: Vec<String>, last: Option<u32>, count: Option<u64>, output: Output) -> Self {
        let resume = Resume::new(topics, last);
        let backoff = Backoff::default();
        Self { gateway, resume, left: count, output, backoff, unrefused: None, silence_max: WELCOME_WITHIN, not_before: None }
    }

    /// Prints messages until the count is reached, standard output is closed, or the gateway refuses permanently.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let mut was_connected = false;
        loop {
            let not_before = match self.gateway.upgrade().await {
                Ok(socket) => {
                    if std::mem::replace(&mut was_connected, true) {
                        report(format_args!("back at {}", self.gateway.endpoint));
                    }
                    match self.listen(socket).await? {
                        End::Done => return Ok(()),
                        End::Lost(why, not_before) => {
                            report(format_args!("{why}; reconnecting"));
                            not_before
                        }
                    }
                }
                Err(ConnectError::Later(error, wait)) => {
                    if !was_connected {
                        report(format_args!("{error:#}; trying again"));
                    }
                    wait.map(|wait| Instant::now() + wait)
                }
                Err(ConnectError::Unreachable(_)) if was_connected => None,
                Err(error) => return Err(error.into_error()),
            };
            let wait = self.backoff.wait();
            tokio::time::sleep_until(not_before.unwrap_or_else(|| Instant::now() + wait)).await;
        }
    }

    /// One session, from `welcome` to its end.
    async fn listen(&mut self, mut socket: WebSocket) -> anyhow::Result<End> {
        (self.silence_max, self.not_before) = (WELCOME_WITHIN, None);
        loop {
            let incoming = match socket.take_received() {
                Ok(Some(incoming)) => Ok(incoming),
                Ok(None) => {
                    if is_closed(self.output.flush())? {
                        return Ok(End::Done);
                    }
                    match tokio::time::timeout(self.silence_max, socket.next()).await {
                        Ok(incoming) => incoming,
                        Err(_) => {
                            let silence = format!("nothing received for {} s", self.silence_max.as_secs());
                            return Ok(End::Lost(silence, self.not_before));
                        }
                    }
                }
                Err(error) => Err(error),
            };
            match incoming {
                Ok(Incoming::Alive) => {}
                Ok(Incoming::Close(code, reason)) => {
                    return after_close(code, &reason, self.not_before).map(|(reason, not_before)| End::Lost(reason, not_before));
                }
                Ok(Incoming::Text(text)) => {
                    if self.receive(&text, &mut socket)? {
                        is_closed(self.output.flush())?;
                        socket.close().await;
                        return Ok(End::Done);
                    }
                }
                Err(error) => return Ok(End::Lost(error.to_string(), self.not_before)),
            }
        }
    }

    /// Handles one event. Returns whether the subscriber is done.
    fn receive(&mut self, text: &str, socket: &mut WebSocket) -> anyhow::Result<bool> {
        if let Some(message) = Message::read(text) {
            return self.print(text, &message);
        }
        match read_event(text) {
            Some(Event::Welcome { ping_interval_ms, max_message_bytes }) => {
                let commands = self.resume.commands(max_message_bytes);
                self.unrefused = Some(commands.len());
                commands.iter().for_each(|command| socket.queue_text(command));
                // Two ping intervals, and five seconds for the network.
                self.silence_max = Duration::from_millis(ping_interval_ms.saturating_mul(2)) + Duration::from_secs(5);
            }
            Some(Event::Subscribed { topics }) => {
                self.backoff.reset();
                self.unrefused = None;
                for notice in self.resume.subscribed(topics) {
                    report(notice);
                }
            }
            Some(Event::Gap { topic, epoch: Some(_), .. }) => {
                report(format_args!("{topic}: what the gateway had is lost, and a new epoch of the topic begins"))
            }
            Some(Event::Gap { topic, from, to, .. }) => {
                report(format_args!("{topic}: messages from {from} to {to} were dropped, or the gateway no longer has them"))
            }
            Some(Event::Draining { retry_after_ms }) => {
                self.not_before = Some(Instant::now() + Duration::from_millis(retry_after_ms));
            }
            Some(Event::Error { id, code, message }) => {
                let of_subscribe = id.and_then(|id| id.as_u64()) == Some(SUBSCRIBE_ID);
                let error = format!("{code}: {message}{}", if of_subscribe && code == "not_allowed" { REMEDY } else { "" });
                if of_subscribe {
                    self.unrefused = self.unrefused.map(|left| left.saturating_sub(1));
                    if self.unrefused == Some(0) {
                        bail!(error);
                    }
                }
                report(error);
            }
            Some(Event::Published { .. }) | None => {}
        }
        Ok(false)
    }

    /// Prints a message. Returns whether the subscriber is done.
    fn print(&mut self, event: &str, message: &Message<'_>) -> anyhow::Result<bool> {
        if !self.resume.is_new(&message.topic, &message.epoch, message.offset) {
            return Ok(false);
        }
        if is_closed(self.output.print(event, message))? {
            return Ok(true);
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(self.left == Some(0))
    }
}
