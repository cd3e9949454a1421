//! How subscriptions begin and end by a command: what is admitted, in which slices it is done, what is answered.

mod admission;
mod entries;
mod new_patterns;
mod refused;
mod steps;
mod subscribe_options;
mod subscribed;
mod subscribing;
mod unsubscribing;

pub use subscribe_options::SubscribeOptions;
pub use subscribing::Subscribing;
pub use unsubscribing::Unsubscribing;
