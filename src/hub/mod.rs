//! The hub: topics, the publications that they get, and the outlets that they deliver to.

#[allow(clippy::module_inception, reason = "the file has `Hub`, which `publishing` and `replication` extend")]
mod hub;
mod message;
mod outlet;
mod patterns;
mod payer;
mod publishing;
mod refusal;
mod replication;
mod stream;
mod topic;
mod topics;

pub use hub::Hub;
pub use message::{About, Extra, Message, PayloadKind, Publication};
pub use outlet::{Outlet, OutletId, PresenceChange};
pub use patterns::{PatternTrie, Selection};
pub use payer::Payer;
pub use publishing::Attempt;
pub use refusal::{Disabled, NotMade, PublishError};
pub use stream::{AnswerSender, Engine, EngineAttempt, Receipt, StreamLife, StreamMessage, Submitted};
pub use topic::{
    HistoryPage, HistoryPart, KeptMessage, Log, ReadFrom, ReplayGap, ReplayPiece, ReplayRequest, Start, Topic, TopicInfo, TopicStart,
    TopicState,
};
pub use topics::{Cursor, Slice};

#[cfg(test)]
mod tests;
