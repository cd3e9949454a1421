//! The labels of commands in the metrics.

use crate::dialect::centrifugo::Operation;
use crate::metrics::CommandOp;

/// The label of a command in the metrics, which has the names of the native commands.
pub fn op(operation: &Operation<'_>) -> CommandOp {
    match operation {
        Operation::Subscribe(_) => CommandOp::Subscribe,
        Operation::Unsubscribe { .. } => CommandOp::Unsubscribe,
        Operation::Publish { .. } => CommandOp::Publish,
        Operation::Presence { .. } | Operation::PresenceStats { .. } => CommandOp::Presence,
        Operation::History(_) => CommandOp::History,
        Operation::Connect(_) | Operation::Refresh { .. } | Operation::SubRefresh { .. } => CommandOp::Auth,
        Operation::Ping => CommandOp::Ping,
        Operation::Send | Operation::Rpc | Operation::Nothing => CommandOp::Other,
    }
}
