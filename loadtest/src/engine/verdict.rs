//! The result of all checks of deliveries.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ledger::Ledger;
use super::session::{Phase, Session};

/// The error code of a publish while the cluster is unavailable.
const UNAVAILABLE: &str = "unavailable";

/// The result of all checks, exact for every message and every subscriber.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Deliveries that never arrived, to connected sessions.
    pub lost: u64,
    /// Sessions that lack the newest messages.
    pub behind_sessions: u64,
    /// Deliveries that arrived twice.
    pub duplicated: u64,
    /// Deliveries that arrived after a later one.
    pub reordered: u64,
    /// Deliveries whose bytes were changed.
    pub altered: u64,
    /// Messages that do not belong to this run.
    pub foreign: u64,
    /// Native messages whose offset was not their sequence number.
    pub wrong_offsets: u64,
    /// Messages that a `gap` reported as dropped.
    pub gaps: u64,
    /// Topics of resuming sessions that were recovered, and that were not.
    pub recovered: (u64, u64),
    /// The largest number of deliveries that a session lacked when the server closed it.
    pub behind_at_close: u64,
    /// Sessions that received `draining`.
    pub draining: u64,
    /// Messages that were due while their publisher was disconnected.
    pub unsent: u64,
    /// Errors of the server, by code.
    pub errors: BTreeMap<String, (u64, String)>,
    /// Refused upgrades, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Sessions that the server closed, by code.
    pub closes: BTreeMap<u16, u64>,
    /// Other faults of sessions.
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
            // A hole is always a loss. Missing messages at the end are a loss only if the session was connected.
            verdict.lost += ledger.lost(session);
            if session.expects_deliveries && session.phase == Phase::Open {
                let tail = ledger.lost_end(session);
                verdict.lost += tail;
                verdict.behind_sessions += u64::from(tail > 0);
            }
        }
        verdict
    }

    /// Whether the server kept its promises. With `expects_faults`, it may refuse connections, and publishes for a
    /// while.
    pub fn holds(&self, expects_faults: bool) -> bool {
        let deliveries = self.lost + self.duplicated + self.reordered + self.altered + self.foreign + self.wrong_offsets;
        let serves = match expects_faults {
            true => self.errors.keys().all(|code| code == UNAVAILABLE),
            false => self.errors.is_empty() && self.refusals.is_empty() && self.faults.is_empty(),
        };
        deliveries == 0 && serves
    }
}
