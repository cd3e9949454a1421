//! The hub: topics, the publications that they get, and the outlets that they deliver to.

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
mod topics_and_outlets;

pub use message::{About, Extra, Message, PayloadKind, Publication};
pub use outlet::{Outlet, OutletId, PresenceChange};
pub use patterns::{PatternTrie, Selection};
pub use payer::Payer;
pub use publishing::Attempt;
pub use refusal::{Disabled, NotMade, PublishError};
pub use stream::{AnswerSender, Engine, EngineAttempt, Receipt, StreamLife, StreamMessage, Submitted};
pub use topic::{
    HistoryPage, HistoryPart, KeptMessage, Log, ReadFrom, ReplayGap, ReplayPiece, ReplayRequest, Start, Topic, TopicInfo, TopicState,
};
pub use topics::{Cursor, Slice};
pub use topics_and_outlets::Hub;

#[cfg(test)]
mod tests;
