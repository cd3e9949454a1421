//! The rules of `[[topics]]`.

mod index;
mod rule;
mod shape;

pub use index::RuleIndex;
pub use rule::{OnSlow, Rule, Rules, TopicDeflate};
