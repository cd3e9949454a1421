//! Sends lines within the gateway's rate, and waits for all answers.

use std::time::Duration;

use anyhow::{anyhow, bail};

use super::command::command;
use super::lines::Source;
use super::outcome::Outcome;
use super::window::{Line, SendAt, Window};
use crate::cli::gateway::{ConnectError, Event, Gateway, Incoming, WebSocket, close_description, read_event};
use crate::cli::stdio::report;
use crate::clock::{Clock, Moment};
use crate::topic_name::TopicName;

/// The longest wait for an answer, after which the gateway counts as gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A publisher that the rate holds back prints a notice after this time, once.
const NOTICE_AFTER: Duration = Duration::from_secs(1);

/// The options of a publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// Whether several lines are in flight only within the gateway's default rate.
    pub(super) keeps_default_rate: bool,
    /// Whether only errors are printed on standard error.
    pub(super) quiet: bool,
}

/// Publishes everything from `source` to `topic`, in order, and waits for all answers.
pub(super) async fn publish(gateway: &Gateway, topic: &TopicName, source: Source, options: Options) -> anyhow::Result<()> {
    let (socket, message_bytes_max) = unless_interrupted(connect(gateway), "interrupted; nothing was published").await?;
    let clock = Clock::machine();
    let began = clock.moment();
    let window = Window::new(began, options.keeps_default_rate);
    let outcome = Outcome::new(source.is_stream());
    let topic = topic.clone();
    Publisher { topic, source, ended: false, message_bytes_max, clock, began, window, outcome, options, noticed: false }.run(socket).await
}

/// One `belfry pub`, from `welcome` to the last answer.
struct Publisher {
    topic: TopicName,
    source: Source,
    /// Whether no further line is read: the source is at its end, or the gateway refuses all lines.
    ended: bool,
    message_bytes_max: usize,
    clock: Clock,
    began: Moment,
    window: Window,
    outcome: Outcome,
    options: Options,
    /// Whether the notice about the rate was printed.
    noticed: bool,
}

impl Publisher {
    async fn run(mut self, mut socket: WebSocket) -> anyhow::Result<()> {
        let outcome = unless_interrupted(self.publish_all(&mut socket), "interrupted").await;
        if let Err(error) = outcome {
            return Err(self.outcome.broken(&error, self.window.under_way(), self.ended && !self.window.has_refused()));
        }
        let goodbye = async {
            socket.close().await;
            Ok(())
        };
        // Every line is answered, so an interruption changes nothing.
        let _ = unless_interrupted(goodbye, "interrupted").await;
        let summary = self.outcome.summary(self.clock.moment().since(self.began));
        self.outcome.verdict()?;
        if !self.options.quiet {
            report(summary);
        }
        Ok(())
    }

    async fn publish_all(&mut self, socket: &mut WebSocket) -> anyhow::Result<()> {
        let mut received_at = self.clock.moment();
        loop {
            if self.ended && self.window.is_all_answered() {
                return Ok(());
            }
            let now = self.clock.moment();
            let send_at = self.window.send_at(now);
            if send_at == SendAt::Now
                && let Some(line) = self.window.take_refused()
            {
                self.send(line, socket);
                continue;
            }
            if self.window.under_way() == 0 {
                received_at = now;
            }
            self.notice(now);
            let may_read = send_at == SendAt::Now && !self.ended;
            let pause = match send_at {
                SendAt::At(moment) => moment.since(now),
                SendAt::Now | SendAt::AfterAnswer => ANSWER_WITHIN.saturating_sub(now.since(received_at)),
            };
            tokio::select! {
                // Lines come first, so that all ready lines are sent together.
                biased;
                line = self.source.next(), if may_read => match line {
                    Some(line) => self.take_line(line?, socket),
                    None => self.ended = true,
                },
                incoming = socket.next() => {
                    received_at = self.clock.moment();
                    self.receive(incoming?)?;
                }
                () = tokio::time::sleep(pause) => {
                    if self.window.under_way() > 0 && pause.is_zero() {
                        bail!("the gateway has not answered for {} s", ANSWER_WITHIN.as_secs());
                    }
                }
            }
        }
    }

    /// Prints once that the rate holds lines back.
    fn notice(&mut self, now: Moment) {
        let is_due = !self.noticed && !self.options.quiet && self.source.is_stream() && now.since(self.began) >= NOTICE_AFTER;
        if !is_due {
            return;
        }
        if let Some(rate) = self.window.lines_per_second() {
            self.noticed = true;
            report(format_args!(
                "held to {rate:.0} lines a second by the gateway's commands_per_second; an API key may have a rate of its own"
            ));
        }
    }

    fn take_line(&mut self, line: Vec<u8>, socket: &mut WebSocket) {
        let number = self.outcome.read();
        match command(number, &self.topic, &line, self.message_bytes_max) {
            Ok(text) => self.send(Line { number, text }, socket),
            Err(why) => self.outcome.failed(number, &why),
        }
    }

    fn send(&mut self, line: Line, socket: &mut WebSocket) {
        socket.queue_text(&line.text);
        self.window.sent(line, self.clock.moment());
    }

    fn receive(&mut self, incoming: Incoming) -> anyhow::Result<()> {
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Alive => return Ok(()),
            Incoming::Close(code, reason) => bail!(closed(code, &reason)),
        };
        match read_event(&text) {
            Some(Event::Published { id }) if self.window.answered(id) => self.outcome.published(),
            Some(Event::Error { id, code, message }) => match id.and_then(|id| id.as_u64()) {
                Some(number) if code == "rate_limited" => self.window.rate_limited(number, self.clock.moment()),
                Some(number) if self.window.answered(number) => {
                    self.outcome.failed(number, &format!("{code}: {message}"));
                    // Every other line would get the same error, except for errors of a single payload.
                    self.ended |= code != "bad_request" && code != "message_too_large";
                }
                _ => report(format_args!("{code}: {message}")),
            },
            _ => {}
        }
        Ok(())
    }
}

/// Runs `work` until it is done. Ctrl-C ends it with `error`, because unpublished lines are no success. The
/// signal is handled even if `work` has taken all of the runtime's budget.
async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>, error: &'static str) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        outcome = work => outcome,
        _ = tokio::task::unconstrained(tokio::signal::ctrl_c()) => bail!(error),
    }
}

/// Opens a session and waits for `welcome`. Returns the session with its `message_bytes`.
async fn connect(gateway: &Gateway) -> anyhow::Result<(WebSocket, usize)> {
    let mut socket = gateway.upgrade().await.map_err(ConnectError::into_error)?;
    loop {
        let incoming = tokio::time::timeout(ANSWER_WITHIN, socket.next()).await.map_err(|_| anyhow!("the gateway sent no welcome"))??;
        match incoming {
            Incoming::Close(code, reason) => bail!("{}; nothing was published", closed(code, &reason)),
            Incoming::Alive => {}
            Incoming::Text(text) => {
                if let Some(Event::Welcome { max_message_bytes, .. }) = read_event(&text) {
                    return Ok((socket, max_message_bytes));
                }
            }
        }
    }
}

fn closed(code: u16, reason: &str) -> String {
    match code {
        4001 => "the gateway does not know this token (4001); give another --token".to_owned(),
        4002 => "the token has expired (4002); give a new --token".to_owned(),
        _ => close_description(code, reason),
    }
}
