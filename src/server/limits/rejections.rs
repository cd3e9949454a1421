//! Connections that do not become sessions. Each is counted, and logged at a bounded rate.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::config::peer_name;
use crate::metrics::{Counter, LimitKey, Metrics, RejectReason};

/// The largest number of log lines a second for one reason. Further rejections are only counted.
const LINES_PER_SECOND: u32 = 10;
/// The largest number of refused origins that the log names.
const LOGGED_ORIGINS_MAX: usize = 16;
/// The longest text of a peer in the log, in bytes.
const LOGGED_BYTES_MAX: usize = 128;

/// Counts and logs rejections.
#[derive(Debug)]
pub struct Rejections {
    metrics: Arc<Metrics>,
    clock: Clock,
    /// The current second and the number of its log lines, by reason. Locked for one look-up.
    windows: Mutex<HashMap<RejectReason, (u64, u32)>>,
    /// The refused origins that the log has named. Locked for one look-up.
    logged_origins: Mutex<Vec<String>>,
}

impl Rejections {
    /// No rejections yet.
    pub fn new(metrics: Arc<Metrics>, clock: Clock) -> Self {
        Self { metrics, clock, windows: Mutex::default(), logged_origins: Mutex::default() }
    }

    /// Counts and logs the rejection of `peer`. `detail` is the cause; it may quote the peer, but never a credential.
    pub fn count(&self, reason: RejectReason, peer: IpAddr, detail: &str) {
        if let Some(limit) = limit_behind(reason) {
            self.metrics.limit_hit(limit);
        }
        self.log(reason, peer, detail);
    }

    /// Counts and logs a connection of `peer` that was closed at accept, because `limit` leaves no place for a pending
    /// handshake.
    pub fn count_pending(&self, limit: LimitKey, peer: IpAddr) {
        self.metrics.limit_hit(limit);
        self.log(RejectReason::Pending, peer, "closed at accept");
    }

    fn log(&self, reason: RejectReason, peer: IpAddr, detail: &str) {
        self.metrics.count(reason, 1);
        if self.may_log(reason) {
            tracing::debug!(?reason, peer = peer_name(peer), detail = escaped(detail), "rejected");
        } else {
            self.metrics.count(Counter::LogSuppressed, 1);
        }
    }

    /// Logs, once for each of the first origins, that a page of `origin` was refused, and what would allow it.
    /// The browser does not show the cause.
    pub fn log_origin(&self, origin: &[u8]) {
        let origin = escaped(&String::from_utf8_lossy(origin));
        let mut logged = self.logged_origins.lock();
        if logged.len() < LOGGED_ORIGINS_MAX && !logged.contains(&origin) {
            let remedy = match &*origin {
                "null" => "serve the page over HTTP, and list its origin in server.origins",
                _ => "list it in server.origins, as \"http://localhost:*\"",
            };
            tracing::info!(%origin, remedy, "a page was refused for its Origin");
            logged.push(origin);
        }
    }

    /// Counts a hit of a limit that rejects no handshake.
    pub fn limit_hit(&self, limit: LimitKey) {
        self.metrics.limit_hit(limit);
    }

    fn may_log(&self, reason: RejectReason) -> bool {
        let second = self.clock.moment().elapsed_at_start().as_secs();
        let mut windows = self.windows.lock();
        let window = windows.entry(reason).or_insert((second, 0));
        if window.0 != second {
            *window = (second, 0);
        }
        window.1 += 1;
        window.1 <= LINES_PER_SECOND
    }
}

/// The limit that has the name of `reason`, if there is one.
fn limit_behind(reason: RejectReason) -> Option<LimitKey> {
    match reason {
        RejectReason::Timeout => Some(LimitKey::HandshakeTimeout),
        _ => LimitKey::ALL.into_iter().find(|limit| limit.as_str() == reason.as_str()),
    }
}

/// `text` for the log. Control characters are escaped, so that no peer can write lines or terminal sequences.
fn escaped(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        let piece = character.escape_debug();
        if line.len() + piece.clone().map(char::len_utf8).sum::<usize>() > LOGGED_BYTES_MAX {
            line.push('…');
            break;
        }
        line.extend(piece);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use std::time::Duration;

    /// Threats, row 17: each reason is logged at most 10 times a second.
    #[test]
    fn each_reason_has_its_own_log_limit() {
        let clock = Clock::by_hand(Timestamp(0));
        let rejections = Rejections::new(Arc::new(Metrics::new()), clock.clone());
        let written = |reason| (0..25).filter(|_| rejections.may_log(reason)).count();
        assert_eq!(written(RejectReason::Origin), 10);
        assert_eq!(written(RejectReason::Tls), 10);
        clock.advance(Duration::from_secs(1));
        assert_eq!(written(RejectReason::Origin), 10);
    }

    /// Threats, row 17: text of a peer is escaped and cut.
    #[test]
    fn logged_text_of_a_peer_is_escaped_and_cut() {
        assert_eq!(escaped("a\r\nlevel=error \u{1b}[2J"), "a\\r\\nlevel=error \\u{1b}[2J");
        assert!(escaped(&"聊".repeat(500)).len() <= LOGGED_BYTES_MAX + "…".len());
    }
}
