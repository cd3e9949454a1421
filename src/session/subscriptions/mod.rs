//! How subscriptions begin and end: admission, execution in slices, answers of the native dialect.

mod admission;
mod ended;
mod entries;
mod new_patterns;
mod refused_topics;
mod reviews;
mod steps;
mod subscribe_options;
mod subscribe_outcome;
mod subscribing;
mod unsubscribing;

pub use ended::Ended;
pub use reviews::{Cause, Reviewed, Reviews};
pub use steps::STEPS_PER_SLICE;
pub use subscribe_options::SubscribeOptions;
pub use subscribing::Subscribing;
pub use unsubscribing::Unsubscribing;
