//! The result of all checks of deliveries.

use serde::Serialize;

use super::findings::Findings;
use super::ledger::Ledger;
use crate::engine::session::{Phase, Session};

/// The error code of a publish while the cluster is unavailable.
const UNAVAILABLE: &str = "unavailable";

/// The result of all checks, exact for every message and every subscriber.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Deliveries that never arrived, to connected sessions.
    pub lost: u64,
    /// Sessions that lack the newest messages.
    pub behind_sessions: u64,
    /// All other results.
    #[serde(flatten)]
    pub findings: Findings,
}

impl Verdict {
    pub fn of(sessions: &[Session], ledger: &Ledger) -> Self {
        let mut verdict = Self { findings: ledger.counts.findings.clone(), ..Self::default() };
        for session in sessions {
            // A hole is always a loss. Missing messages at the end are a loss only if the session was connected.
            verdict.lost += session.subscriptions.lost(&ledger.topics);
            if session.subscriptions.are_owed() && session.connection.phase() == Phase::Open {
                let at_end = session.subscriptions.lost_at_end(&ledger.topics);
                verdict.lost += at_end;
                verdict.behind_sessions += u64::from(at_end > 0);
            }
        }
        verdict
    }

    /// Whether the server kept its promises. With `expects_faults`, it may refuse connections, and publishes for a
    /// while.
    pub fn holds(&self, expects_faults: bool) -> bool {
        let Findings { duplicated, reordered, altered, foreign, wrong_offsets, errors, refusals, faults, .. } = &self.findings;
        let deliveries = self.lost + duplicated + reordered + altered + foreign + wrong_offsets;
        let serves = match expects_faults {
            true => errors.keys().all(|code| code == UNAVAILABLE),
            false => errors.is_empty() && refusals.is_empty() && faults.is_empty(),
        };
        deliveries == 0 && serves
    }
}
