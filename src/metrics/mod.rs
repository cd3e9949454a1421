//! The gateway's metrics (PROTOCOL section 9).

mod cluster;
mod counters;
mod families;
mod labels;
mod maker;
mod registry;
mod rule_id;
mod tally;
mod unlabelled;

pub use labels::{
    AddressTable, CloseReason, ClusterLoad, ClusterState, CommandOp, DeflateHow, DropReason, ForeignSkipped, LimitKey, NoReference,
    PublishFailure, PublishSource, RecoveredEpoch, Recovery, RejectReason,
};
pub use registry::{Metrics, Totals};
pub use rule_id::RuleId;
pub use tally::Tally;
pub use unlabelled::{Counter, Gauge};

#[cfg(test)]
mod tests;
