//! What all topics share.

use std::sync::atomic::AtomicUsize;

use crate::hub::patterns::Patterns;
use crate::hub::payer::TopicAccounts;
use crate::hub::stream::{OtherGateways, Streams};

/// What all topics share.
#[derive(Default)]
pub struct Shared {
    /// The bytes of all topics' histories.
    pub histories_bytes: AtomicUsize,
    /// The patterns that outlets are subscribed by.
    pub patterns: Patterns,
    /// How many topics each payer has brought to life.
    pub accounts: TopicAccounts,
    /// The streams that topics belong to.
    pub streams: Streams,
    /// The other gateways of a cluster.
    pub other_gateways: OtherGateways,
}
