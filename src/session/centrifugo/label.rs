//! The labels of commands in the metrics.

use crate::dialect::centrifugo::Asked;
use crate::metrics::CommandOp;

/// The label of a command in the metrics, which has the names of the native commands.
pub fn op(asked: &Asked<'_>) -> CommandOp {
    match asked {
        Asked::Subscribe(_) => CommandOp::Subscribe,
        Asked::Unsubscribe { .. } => CommandOp::Unsubscribe,
        Asked::Publish { .. } => CommandOp::Publish,
        Asked::Presence { .. } | Asked::PresenceStats { .. } => CommandOp::Presence,
        Asked::History(_) => CommandOp::History,
        Asked::Connect(_) | Asked::Refresh { .. } | Asked::SubRefresh { .. } => CommandOp::Auth,
        Asked::Ping => CommandOp::Ping,
        Asked::Send | Asked::Rpc | Asked::Nothing => CommandOp::Other,
    }
}
