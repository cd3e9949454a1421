//! The counters whose series are all known at the start: without a label, or with a closed set of values.

use std::mem::take;

use prometheus::IntCounter;

use super::labels::{
    CloseReason, ClusterLoad, CommandOp, DeflateHow, ForeignSkipped, LimitKey, NoReference, PublishFailure, Recovery, RejectReason,
};
use super::maker::Maker;
use super::unlabelled::Counter;
use crate::codes::ErrorCode;

/// A counter without a label, or a value of the label of one.
pub trait Counted: Copy {
    fn series(self, series: &Series) -> &IntCounter;
    fn count(self, counts: &mut Counts) -> &mut u64;
}

impl Counted for Counter {
    fn series(self, series: &Series) -> &IntCounter {
        &series.unlabelled[self.index()]
    }

    fn count(self, counts: &mut Counts) -> &mut u64 {
        &mut counts.unlabelled[self.index()]
    }
}

/// Declares the counters with a label: the field, the set of the label's values, the name, the label, and the help.
macro_rules! labelled {
    ($($field:ident: $set:ident, $name:literal, $label:literal, $help:literal;)+) => {
        /// The series of every counter.
        #[derive(Debug)]
        pub struct Series {
            unlabelled: [IntCounter; Counter::ALL.len()],
            $($field: [IntCounter; $set::ALL.len()],)+
        }

        /// The counts that the series do not include yet.
        #[derive(Debug)]
        pub struct Counts {
            unlabelled: [u64; Counter::ALL.len()],
            $($field: [u64; $set::ALL.len()],)+
        }

        impl Series {
            /// Registers every counter.
            pub(super) fn register(make: &Maker<'_>) -> Self {
                Self {
                    unlabelled: Counter::ALL.map(|counter| make.counter(counter.as_str(), counter.help())),
                    $($field: make.closed_counters($name, $help, $label, $set::TEXTS),)+
                }
            }
        }

        impl Counts {
            /// All at zero.
            pub(super) fn new() -> Self {
                Self { unlabelled: [0; Counter::ALL.len()], $($field: [0; $set::ALL.len()],)+ }
            }

            /// Adds all counts to `series`, and resets them.
            pub(super) fn hand_over(&mut self, series: &Series) {
                add_each(&series.unlabelled, &mut self.unlabelled);
                $(add_each(&series.$field, &mut self.$field);)+
            }
        }

        $(impl Counted for $set {
            fn series(self, series: &Series) -> &IntCounter {
                &series.$field[self.index()]
            }

            fn count(self, counts: &mut Counts) -> &mut u64 {
                &mut counts.$field[self.index()]
            }
        })+
    };
}

labelled! {
    closed: CloseReason, "sessions_closed_total", "reason", "Sessions closed since the start, by why.";
    rejected: RejectReason, "handshakes_rejected_total", "reason", "Connections that did not become sessions, by why.";
    commands: CommandOp, "commands_total", "op", "Commands from sessions, by what they ask for.";
    errors: ErrorCode, "command_errors_total", "code", "Commands refused, by the code of the error.";
    recoveries: Recovery, "recoveries_total", "result", "Topics subscribed with `since`, by whether nothing was missing.";
    limit_hits: LimitKey, "limit_hits_total", "limit", "Times that a limit bit, by the key of `[limits]`.";
    deflated: DeflateHow, "deflate_messages_total", "how",
        "Messages written compressed to a subscriber's socket: against an earlier one of the topic, or alone.";
    no_reference: NoReference, "deflate_no_reference_total", "why",
        "Messages of topics with history that were written without a reference, by why.";
    publish_errors: PublishFailure, "cluster_publish_errors_total", "reason",
        "Publishes to streams without an acknowledgement, by why.";
    loads: ClusterLoad, "cluster_loads_total", "reason", "Times that a stream was read from its beginning, by why.";
    foreign_skipped: ForeignSkipped, "cluster_foreign_skipped_total", "reason",
        "Messages of other NATS clients that are no messages here, by why.";
}

/// Adds `count` to `counter`, and resets it.
pub(super) fn add(counter: &IntCounter, count: &mut u64) {
    match take(count) {
        0 => {}
        count => counter.inc_by(count),
    }
}

/// [`add`] for each value of a label. Most labels have no count in most ticks.
pub(super) fn add_each<const N: usize>(counters: &[IntCounter; N], counts: &mut [u64; N]) {
    if *counts == [0; N] {
        return;
    }
    counters.iter().zip(counts).for_each(|(counter, count)| add(counter, count));
}
