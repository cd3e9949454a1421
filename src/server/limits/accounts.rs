//! The counts behind the limits of one gateway, shared by its listeners.

use std::sync::Arc;

use super::admission::Admission;
use super::failures::Failures;
use super::http_bytes::HttpBytes;
use super::http_connections::HttpConnections;
use super::pending::PendingHandshakes;
use super::rate::Rates;
use super::rejections::Rejections;
use crate::clock::Clock;
use crate::config::Live;
use crate::metrics::{AddressTable, Metrics};

/// The counts behind the limits.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// Rejected connections.
    pub rejections: Arc<Rejections>,
    /// Bad credentials by address.
    pub failures: Arc<Failures>,
    /// Work units by credential or address.
    pub rates: Arc<Rates>,
    pub connections: Arc<HttpConnections>,
    /// Connections before the end of their first head.
    pub pending: Arc<PendingHandshakes>,
    /// Bytes of HTTP bodies and answers.
    pub bytes: Arc<HttpBytes>,
}

impl Accounts {
    /// All at zero. `metrics` shows the number of addresses in each table, and in that of `admission`.
    pub fn new(live: &Arc<Live>, metrics: &Arc<Metrics>, clock: &Clock, admission: &Arc<Admission>) -> Self {
        let accounts = Self {
            rejections: Arc::new(Rejections::new(Arc::clone(metrics), clock.clone())),
            failures: Arc::new(Failures::new(live, metrics, clock)),
            rates: Arc::new(Rates::new(clock.clone())),
            connections: HttpConnections::new(live, metrics),
            pending: Arc::default(),
            bytes: HttpBytes::new(live, metrics),
        };
        show(metrics, AddressTable::Failures, &accounts.failures, Failures::addresses);
        show(metrics, AddressTable::HttpConnections, &accounts.connections, HttpConnections::addresses);
        show(metrics, AddressTable::Pending, &accounts.pending, PendingHandshakes::addresses);
        show(metrics, AddressTable::Rates, &accounts.rates, Rates::payers);
        show(metrics, AddressTable::Sessions, admission, Admission::addresses);
        accounts
    }
}

/// Shows the number of addresses in `account`. The reference is weak, because some accounts hold the metrics.
fn show<A: Send + Sync + 'static>(metrics: &Metrics, table: AddressTable, account: &Arc<A>, addresses: fn(&A) -> usize) {
    let account = Arc::downgrade(account);
    metrics.before_each_reading(move |metrics| metrics.set_addresses(table, account.upgrade().map_or(0, |account| addresses(&account))));
}
