//! The figures of `/metrics`, and the accounts that they must close.

use std::collections::{BTreeMap, BTreeSet};

use super::{DEADLINE, Gateway, found_within};

/// Samples by series, as written: `belfry_deliveries_total{rule="chat.>"}`.
#[derive(Debug, Clone)]
pub struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Reads Prometheus's text format.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Self(samples.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect())
    }

    /// The value of a series given without the prefix, its labels in any order; one that is not there yet counts as 0.
    pub fn value(&self, series: &str) -> f64 {
        self.0.get(&format!("belfry_{}", sorted(series))).copied().unwrap_or(0.0)
    }

    /// Every series.
    pub fn series(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// The sum of a metric over the series of each `rule`.
    fn by_rule(&self, metric: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (series, value) in self.0.iter().filter(|(series, _)| series.starts_with(&format!("belfry_{metric}{{"))) {
            let rule = series.split_once("rule=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(rule, _)| rule);
            *sums.entry(rule.to_owned()).or_insert(0.0) += value;
        }
        sums
    }

    /// For each rule: what was routed, and its four ends.
    fn accounts(&self) -> BTreeMap<String, (f64, [f64; 4])> {
        let ends = ["deliveries_total", "messages_conflated_total", "messages_dropped_total", "outbox_messages"]
            .map(|metric| self.by_rule(metric));
        let routed = self.by_rule("messages_routed_total");
        let rules: BTreeSet<_> = ends.iter().chain([&routed]).flat_map(|sums| sums.keys().cloned()).collect();
        let of = |sums: &BTreeMap<String, f64>, rule: &str| sums.get(rule).copied().unwrap_or(0.0);
        rules.into_iter().map(|rule| (rule.clone(), (of(&routed, &rule), ends.each_ref().map(|sums| of(sums, &rule))))).collect()
    }
}

/// Prometheus writes labels by name, whatever order they were asked for in.
fn sorted(series: &str) -> String {
    let Some((metric, labels)) = series.split_once('{') else { return series.to_owned() };
    let labels = labels.strip_suffix("\"}").unwrap_or(labels);
    let mut labels: Vec<&str> = labels.split("\",").collect();
    labels.sort_unstable();
    let labels: Vec<String> = labels.into_iter().map(|label| format!("{label}\"")).collect();
    format!("{metric}{{{}}}", labels.join(","))
}

/// Waits until a series has a value that satisfies `right`.
pub fn expect(gateway: &Gateway, series: &str, right: impl Fn(f64) -> bool, what: &str) {
    let mut seen = 0.0;
    let found = found_within(DEADLINE, || {
        seen = gateway.metrics().value(series);
        right(seen).then_some(())
    });
    assert!(found.is_some(), "waited in vain for {series} {what}: it is {seen}");
}

/// Waits until every rule's accounts close.
pub fn expect_accounts_closed(gateway: &Gateway) {
    let mut seen = BTreeMap::new();
    let found = found_within(DEADLINE, || {
        seen = gateway.metrics().accounts();
        let closed = |(routed, ends): &(f64, [f64; 4])| *routed == ends.iter().sum::<f64>();
        (seen.values().any(|(routed, _)| *routed > 0.0) && seen.values().all(closed)).then_some(())
    });
    assert!(found.is_some(), "rule: (routed, [delivered, conflated, dropped, in outboxes]) does not close: {seen:?}");
}
