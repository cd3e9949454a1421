//! The findings of the checks during a run.

use std::collections::BTreeMap;

use serde::Serialize;

/// Wrong deliveries, and the failures that the server reports, over all sessions.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Findings {
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
    /// Errors of the server by code: the count, and the message of the first.
    pub errors: BTreeMap<String, (u64, String)>,
    /// Refused upgrades, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Sessions that the server closed, by close code; 1006 without a Close.
    pub closes: BTreeMap<u16, u64>,
    /// Other faults of sessions, by error.
    pub faults: BTreeMap<String, u64>,
}

impl Findings {
    pub fn count_error(&mut self, code: String, message: String) {
        self.errors.entry(code).or_insert((0, message)).0 += 1;
    }

    pub fn count_refusal(&mut self, reason: String) {
        *self.refusals.entry(reason).or_default() += 1;
    }

    pub fn count_fault(&mut self, fault: &dyn std::fmt::Display) {
        *self.faults.entry(fault.to_string()).or_default() += 1;
    }
}
