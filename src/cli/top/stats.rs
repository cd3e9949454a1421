//! The gateway's totals and the rates between two of them.

use std::time::Duration;

use anyhow::anyhow;
use serde::Deserialize;
use tokio::time::Instant;

use crate::cli::gateway::{Event, Incoming, Message, WebSocket, after_close, read_event};

const SUBSCRIBE: &str = r#"{"op":"subscribe","id":1,"topics":["$belfry.stats"],"last":1}"#;
/// The longest silence of the stats, which come once a second. After it the gateway counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The payload of `$belfry.stats`: totals, not rates (PROTOCOL section 2).
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Stats {
    pub(super) sessions: u64,
    pub(super) topics: u64,
    pub(super) subscriptions: u64,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) outbox_bytes: u64,
    /// The bytes that compression has saved.
    #[serde(default)]
    pub(super) saved_bytes: u64,
    /// The compressed bytes of compressed messages.
    #[serde(default)]
    pub(super) deflated_bytes: u64,
    pub(super) uptime_s: f64,
}

/// Messages a second between two stats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) published: f64,
    pub(super) delivered: f64,
}

impl Stats {
    /// The compressed size in per cent of the original; `-` if no message was compressed.
    pub(super) fn deflate_ratio(&self) -> String {
        let before = self.deflated_bytes.saturating_add(self.saved_bytes);
        if before == 0 { "-".to_owned() } else { format!("{:.0} %", 100.0 * self.deflated_bytes as f64 / before as f64) }
    }

    /// The rates since `earlier`; `None` if no time has passed, or the gateway has restarted.
    pub(super) fn rates_since(&self, earlier: &Stats) -> Option<Rates> {
        let seconds = self.uptime_s - earlier.uptime_s;
        let published = self.published.checked_sub(earlier.published)?;
        let delivered = self.delivered.checked_sub(earlier.delivered)?;
        (seconds > 0.0).then(|| Rates { published: published as f64 / seconds, delivered: delivered as f64 / seconds })
    }
}

/// Why no stats come.
#[derive(Debug)]
pub(super) enum FeedError {
    /// The connection was lost. Another may be opened, not before the moment that the gateway named, if any.
    Lost(anyhow::Error, Option<Instant>),
    /// The gateway would refuse another session too.
    Refused(anyhow::Error),
}

/// A session that is subscribed to the stats.
pub(super) struct StatsFeed {
    socket: WebSocket,
    /// The moment that `draining` named.
    not_before: Option<Instant>,
}

impl StatsFeed {
    pub(super) fn subscribe(mut socket: WebSocket) -> Self {
        socket.queue_text(SUBSCRIBE);
        Self { socket, not_before: None }
    }

    pub(super) async fn next(&mut self) -> Result<Stats, FeedError> {
        loop {
            let incoming = tokio::time::timeout(SILENCE_MAX, self.socket.next()).await;
            let incoming = incoming.map_err(|_| anyhow!("no stats for {} s; the gateway is gone or stuck", SILENCE_MAX.as_secs()));
            match incoming.and_then(|incoming| Ok(incoming?)).map_err(|error| FeedError::Lost(error, self.not_before))? {
                Incoming::Alive => {}
                Incoming::Close(code, reason) => return Err(closed(code, &reason, self.not_before)),
                Incoming::Text(text) => {
                    if let Some(data) = Message::read(&text).and_then(|message| message.data) {
                        let stats = serde_json::from_str(data.get());
                        return stats.map_err(|error| FeedError::Refused(anyhow!("the stats can't be read: {error}")));
                    }
                    match read_event(&text) {
                        Some(Event::Error { code, message, .. }) => {
                            let error = anyhow!("{code}: {message}; a --token with a grant for $belfry.> is needed");
                            return Err(FeedError::Refused(error));
                        }
                        Some(Event::Draining { retry_after_ms }) => {
                            self.not_before = Some(Instant::now() + Duration::from_millis(retry_after_ms));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// The end of a session by the gateway's Close (PROTOCOL section 6), as `belfry sub` takes it.
fn closed(code: u16, reason: &str, not_before: Option<Instant>) -> FeedError {
    match after_close(code, reason, not_before) {
        Ok((description, not_before)) => FeedError::Lost(anyhow!(description), not_before),
        Err(_) if matches!(code, 4001 | 4002) => FeedError::Refused(anyhow!("the gateway does not take this token; give another --token")),
        Err(error) => FeedError::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 6: `top` reconnects after a drain or an operator's close, and not after a refused credential.
    #[test]
    fn some_closes_are_final() {
        assert!([1001, 1006, 1013, 4004, 4005, 4009].into_iter().all(|code| matches!(closed(code, "", None), FeedError::Lost(..))));
        assert!([1002, 1003, 1007, 1008, 1009, 4001, 4002].into_iter().all(|code| matches!(closed(code, "", None), FeedError::Refused(_))));
    }

    /// The bugs: `top` reconnected before the time that `draining` names, and at once after an operator closed it.
    #[test]
    fn a_reconnect_waits_for_the_named_time() {
        let named = Instant::now() + Duration::from_secs(3_600);
        assert!(matches!(closed(1001, "", Some(named)), FeedError::Lost(_, Some(until)) if until == named));
        assert!(matches!(closed(4009, "", None), FeedError::Lost(_, Some(_))));
    }

    fn stats(published: u64, uptime_s: f64) -> Stats {
        Stats { published, delivered: published * 10, uptime_s, ..Stats::default() }
    }

    #[test]
    fn rates_are_differences_of_totals() {
        let rates = stats(150, 12.0).rates_since(&stats(100, 10.0));
        assert_eq!(rates, Some(Rates { published: 25.0, delivered: 250.0 }));
        assert_eq!(stats(150, 10.0).rates_since(&stats(100, 10.0)), None);
        assert_eq!(stats(5, 1.0).rates_since(&stats(100, 10.0)), None);
    }
}
