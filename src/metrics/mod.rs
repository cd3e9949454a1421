//! Every metric by its name, help and buckets (PROTOCOL section 9).

mod families;
mod labels;
mod registry;
mod rule_id;
mod tally;

pub use labels::{CloseReason, CommandOp, DropReason, LimitKey, PublishSource, RecoveredEpoch, Recovery, RejectReason};
pub use registry::{Metrics, Totals};
pub use rule_id::RuleId;
pub use tally::Tally;

#[cfg(test)]
mod tests;
