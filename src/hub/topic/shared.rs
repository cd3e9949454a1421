//! What all topics share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::clock::{Clock, Moment};
use crate::config::Live;
use crate::hub::patterns::Patterns;
use crate::hub::payer::TopicAccounts;
use crate::hub::stream::{OtherGateways, Streams};

/// What all topics share.
pub struct Shared {
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The clock.
    pub clock: Clock,
    /// The bytes of all topics' histories.
    pub histories_bytes: AtomicUsize,
    /// The patterns that outlets are subscribed by.
    pub patterns: Patterns,
    /// How many living topics each payer has made.
    pub accounts: TopicAccounts,
    /// The streams that topics belong to.
    pub streams: Streams,
    /// The other gateways of a cluster.
    pub other_gateways: OtherGateways,
}

impl Shared {
    /// What topics share before there is one.
    pub fn new(live: Arc<Live>, clock: Clock) -> Self {
        let (histories_bytes, patterns, accounts) = (AtomicUsize::new(0), Patterns::default(), TopicAccounts::default());
        Self { live, clock, histories_bytes, patterns, accounts, streams: Streams::default(), other_gateways: OtherGateways::default() }
    }

    /// The time now.
    pub fn now(&self) -> Moment {
        self.clock.moment()
    }
}
