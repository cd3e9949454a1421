//! How single values are written: addresses, durations, origins, topics of recordings.

mod address;
mod duration;
mod origin;
mod origin_pattern;
mod topic_template;

pub use address::{UNIX_PEER, address, network, peer_name};
pub use duration::{DurationError, parse as parse_duration};
pub use origin::{Origin, OriginError, host_of};
pub use origin_pattern::OriginPattern;
pub use topic_template::TopicTemplate;
