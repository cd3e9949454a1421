//! The accounts of one gateway, shared by its listeners.

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

/// The accounts of HTTP.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// Connections that were turned away.
    pub rejections: Arc<Rejections>,
    /// Wrong credentials.
    pub failures: Arc<Failures>,
    /// Work by credential and address.
    pub rates: Arc<Rates>,
    /// Connections.
    pub connections: Arc<HttpConnections>,
    /// Those whose first request is not there yet.
    pub pending: Arc<PendingHandshakes>,
    /// Bodies and answers.
    pub bytes: Arc<HttpBytes>,
}

impl Accounts {
    /// All of them empty. How many addresses each knows is shown in `metrics`, with those of the sessions in `admission`.
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
        show(metrics, AddressTable::Rates, &accounts.rates, Rates::keys);
        show(metrics, AddressTable::Sessions, admission, Admission::addresses);
        accounts
    }
}

/// Shows how many addresses `account` knows, as long as it is used elsewhere: some have the metrics themselves.
fn show<A: Send + Sync + 'static>(metrics: &Metrics, table: AddressTable, account: &Arc<A>, addresses: fn(&A) -> usize) {
    let account = Arc::downgrade(account);
    metrics.before_each_reading(move |metrics| metrics.set_addresses(table, account.upgrade().map_or(0, |account| addresses(&account))));
}
