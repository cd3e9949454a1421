//! The accounting of deliveries: which are owed, which have arrived, and what was wrong.

mod findings;
mod ledger;
mod verdict;

pub use findings::Findings;
pub use ledger::{Counts, Ledger};
pub use verdict::Verdict;
