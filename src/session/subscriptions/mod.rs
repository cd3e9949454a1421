//! The subscribe and unsubscribe commands of the native dialect: admission, execution, answers.

mod admission;
mod entries;
mod new_patterns;
mod refused_topics;
mod subscribe_options;
mod subscribe_outcome;
mod subscribing;
mod unsubscribing;

pub use subscribe_options::SubscribeOptions;
pub use subscribing::Subscribing;
pub use unsubscribing::Unsubscribing;
