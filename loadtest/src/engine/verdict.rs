//! The sum of all checks of deliveries.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ledger::Ledger;
use super::session::{Phase, Session};

/// The code of a publish that a cluster can't take now.
const UNAVAILABLE: &str = "unavailable";

/// The sum of all checks; exact, for every message and every subscriber.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Deliveries that never came, to sessions that were there.
    pub lost: u64,
    /// Sessions that lack the newest messages.
    pub behind_sessions: u64,
    /// Came twice.
    pub duplicated: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// Came with other bytes than were sent.
    pub altered: u64,
    /// Were none of this run's.
    pub foreign: u64,
    /// Native messages whose offset was not their place in the topic.
    pub wrong_offsets: u64,
    /// Dropped, and told by a `gap`.
    pub gaps: u64,
    /// Topics of returning sessions that were, and were not, recovered.
    pub recovered: (u64, u64),
    /// The most that a session had not got of what was sent when the server closed it.
    pub behind_at_close: u64,
    /// Sessions that were told of a drain.
    pub draining: u64,
    /// Due while their publisher was not connected.
    pub unsent: u64,
    /// Errors of the server, by code.
    pub errors: BTreeMap<String, (u64, String)>,
    /// Refused upgrades, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Sessions that the server closed, by code.
    pub closes: BTreeMap<u16, u64>,
    /// What broke sessions otherwise.
    pub faults: BTreeMap<String, u64>,
}

impl Verdict {
    pub(super) fn of(sessions: &[Session], ledger: &Ledger) -> Self {
        let counts = &ledger.counts;
        let mut verdict = Self {
            duplicated: counts.duplicated,
            reordered: counts.reordered,
            altered: counts.altered,
            foreign: counts.foreign,
            wrong_offsets: counts.wrong_offsets,
            gaps: counts.gaps,
            recovered: (counts.recovered, counts.unrecovered),
            behind_at_close: counts.behind_at_close,
            draining: counts.draining,
            unsent: counts.unsent,
            errors: counts.errors.clone(),
            refusals: counts.refusals.clone(),
            closes: counts.closes.clone(),
            faults: counts.faults.clone(),
            ..Self::default()
        };
        for session in sessions {
            // A hole is a loss wherever it is; a missing end only where somebody was there to take it.
            verdict.lost += ledger.lost(session);
            if session.expects_deliveries && session.phase == Phase::Open {
                let tail = ledger.lost_end(session);
                verdict.lost += tail;
                verdict.behind_sessions += u64::from(tail > 0);
            }
        }
        verdict
    }

    /// Whether a server that keeps its word could have done so; one whose parts fail may refuse connections, and publishes for a while.
    pub fn holds(&self, expects_faults: bool) -> bool {
        let deliveries = self.lost + self.duplicated + self.reordered + self.altered + self.foreign + self.wrong_offsets;
        let serves = match expects_faults {
            true => self.errors.keys().all(|code| code == UNAVAILABLE),
            false => self.errors.is_empty() && self.refusals.is_empty() && self.faults.is_empty(),
        };
        deliveries == 0 && serves
    }
}
