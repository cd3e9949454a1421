//! The rank of a topic, by which topics are evicted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;

/// How far a topic's place in an order may be behind its rank, in nanoseconds.
const LAG_NANOS_MAX: u64 = 1_000_000_000;

/// The bit of a rank by which a topic is evicted after those without this bit.
const LATER: u64 = 1 << 63;

/// What topics are ranked by. The topic with the lowest rank is evicted first; a topic with the rank 0 has nothing to give.
#[derive(Debug, Clone, Copy)]
pub enum RankBy {
    /// The last use, of topics without named subscribers. Topics with a history or a feed come after the others.
    LastUse,
    /// The last publish, of topics with a history.
    LastPublish,
}

/// The rank of a topic whose last use or last publish was at `moment`; never 0.
pub fn rank_of(moment: Moment) -> u64 {
    let since_earliest = moment.since(moment.before(Duration::MAX)).as_nanos();
    1 + u64::try_from(since_earliest).unwrap_or(u64::MAX).min(LATER - 2)
}

/// The rank of a topic that is evicted after all topics with a [`rank_of`].
pub fn late_rank_of(moment: Moment) -> u64 {
    rank_of(moment) | LATER
}

/// The ranks at which one topic is in the orders of eviction, by [`RankBy`]; 0: not in that order. Each is written under its order's lock.
#[derive(Debug, Default)]
pub struct OrderedRanks([AtomicU64; 2]);

impl OrderedRanks {
    /// Notes the topic's rank in the order by `by`, and returns the rank before.
    pub fn replace(&self, by: RankBy, rank: u64) -> u64 {
        self.0[by as usize].swap(rank, Ordering::Relaxed)
    }

    /// Whether a noted rank is too far behind the one that `rank` returns, or one of both is 0 and the other is not.
    pub fn is_behind(&self, rank: impl Fn(RankBy) -> u64) -> bool {
        [RankBy::LastUse, RankBy::LastPublish].into_iter().any(|by| {
            let (now, listed) = (rank(by), self.0[by as usize].load(Ordering::Relaxed));
            (now == 0) != (listed == 0) || now.abs_diff(listed) >= LAG_NANOS_MAX
        })
    }
}
