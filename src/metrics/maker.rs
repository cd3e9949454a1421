//! Makes metrics with the gateway's prefix.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector};

const NAMESPACE: &str = "belfry";

/// Makes and registers metrics with the gateway's prefix.
pub(super) struct Maker<'a> {
    pub registry: &'a Registry,
}

pub(super) const WELL_FORMED: &str = "every name, label and bucket is a constant, and well formed";
pub(super) const REGISTERED_ONCE: &str = "every name is registered once, in a registry of its own";

impl Maker<'_> {
    /// A counter without a label.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.registered(IntCounter::with_opts(options(name, help)).expect(WELL_FORMED))
    }

    /// A counter with `labels`.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(options(name, help), labels).expect(WELL_FORMED))
    }

    /// A counter for each value of `label`. All exist from the start, so that an alert sees the first increase.
    pub fn closed_counters<const N: usize>(&self, name: &str, help: &str, label: &str, values: [&str; N]) -> [IntCounter; N] {
        let family = self.counters(name, help, &[label]);
        values.map(|value| family.with_label_values(&[value]))
    }

    /// A gauge for each value of `label`.
    pub fn closed_gauges<const N: usize>(&self, name: &str, help: &str, label: &str, values: [&str; N]) -> [IntGauge; N] {
        let family = self.gauges(name, help, label);
        values.map(|value| family.with_label_values(&[value]))
    }

    /// A gauge without a label.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::with_opts(options(name, help)).expect(WELL_FORMED))
    }

    /// A gauge with one label.
    pub fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.labelled_gauges(name, help, &[label])
    }

    /// A gauge with `labels`.
    pub fn labelled_gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(options(name, help), labels).expect(WELL_FORMED))
    }

    /// A histogram with these upper bounds.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        self.registered(Histogram::with_opts(options).expect(WELL_FORMED))
    }

    pub fn registered<C: Collector + Clone + 'static>(&self, metric: C) -> C {
        self.registry.register(Box::new(metric.clone())).expect(REGISTERED_ONCE);
        metric
    }
}

/// The name with the gateway's prefix, and the help.
pub(super) fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}
