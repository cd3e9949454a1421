//! Topic names: `TopicName` for one topic, `Pattern` for what a subscription covers, `Scope` for what a rule or a grant does
//! (PROTOCOL section 2).

mod error;
mod name;
mod pattern;
mod scope;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;

pub use error::TopicNameError;
pub use name::TopicName;
pub use pattern::{Pattern, Stars};
pub use scope::Scope;
#[cfg(test)]
pub use tokens::COMPARISONS;
pub use tokens::{NAME_BYTES_MAX, TOKENS_MAX};
