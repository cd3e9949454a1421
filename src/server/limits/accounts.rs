//! The accounts of one gateway, shared by its listeners.

use std::sync::Arc;

use super::failures::Failures;
use super::http_bytes::HttpBytes;
use super::http_connections::HttpConnections;
use super::rate::Rates;
use super::rejections::Rejections;
use crate::clock::Clock;
use crate::config::Live;
use crate::metrics::Metrics;

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
    /// Bodies and answers.
    pub bytes: Arc<HttpBytes>,
}

impl Accounts {
    /// All of them empty.
    pub fn new(live: &Arc<Live>, metrics: &Arc<Metrics>, clock: &Clock) -> Self {
        Self {
            rejections: Arc::new(Rejections::new(Arc::clone(metrics), clock.clone())),
            failures: Arc::new(Failures::new(live, metrics, clock)),
            rates: Arc::new(Rates::new(clock.clone())),
            connections: HttpConnections::new(live, metrics),
            bytes: HttpBytes::new(live, metrics),
        }
    }
}
