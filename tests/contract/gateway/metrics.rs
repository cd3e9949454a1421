//! The samples of `/metrics`, and the accounts of PROTOCOL 9.

use std::collections::{BTreeMap, BTreeSet};

use super::{DEADLINE, Gateway, found_within};

/// Samples by series. A series is its text, as in `belfry_deliveries_total{rule="chat.>"}`.
#[derive(Debug, Clone)]
pub struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Reads Prometheus's text format.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Self(samples.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect())
    }

    /// The value of `series`, which is without the prefix and has its labels in any order. A missing series is 0.
    pub fn value(&self, series: &str) -> f64 {
        self.0.get(&format!("belfry_{}", sorted(series))).copied().unwrap_or(0.0)
    }

    /// All series.
    pub fn series(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// The sums of a metric by the label `rule`.
    fn by_rule(&self, metric: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (series, value) in self.0.iter().filter(|(series, _)| series.starts_with(&format!("belfry_{metric}{{"))) {
            let rule = series.split_once("rule=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(rule, _)| rule);
            *sums.entry(rule.to_owned()).or_insert(0.0) += value;
        }
        sums
    }

    /// For each rule: the messages routed, and the counts of their four ends.
    fn accounts(&self) -> BTreeMap<String, (f64, [f64; 4])> {
        let ends = ["deliveries_total", "messages_conflated_total", "messages_dropped_total", "outbox_messages"]
            .map(|metric| self.by_rule(metric));
        let routed = self.by_rule("messages_routed_total");
        let rules: BTreeSet<_> = ends.iter().chain([&routed]).flat_map(|sums| sums.keys().cloned()).collect();
        let of = |sums: &BTreeMap<String, f64>, rule: &str| sums.get(rule).copied().unwrap_or(0.0);
        rules.into_iter().map(|rule| (rule.clone(), (of(&routed, &rule), ends.each_ref().map(|sums| of(sums, &rule))))).collect()
    }
}

/// `series` with its labels in the order of the text format, which is by name.
fn sorted(series: &str) -> String {
    let Some((metric, labels)) = series.split_once('{') else { return series.to_owned() };
    let labels = labels.strip_suffix("\"}").unwrap_or(labels);
    let mut labels: Vec<&str> = labels.split("\",").collect();
    labels.sort_unstable();
    let labels: Vec<String> = labels.into_iter().map(|label| format!("{label}\"")).collect();
    format!("{metric}{{{}}}", labels.join(","))
}

/// Waits until the value of a series satisfies `fact`; `what` describes the fact.
pub fn expect(gateway: &Gateway, series: &str, fact: impl Fn(f64) -> bool, what: &str) {
    let mut seen = 0.0;
    let found = found_within(DEADLINE, || {
        seen = gateway.metrics().value(series);
        fact(seen).then_some(())
    });
    assert!(found.is_some(), "timed out waiting for {series} {what}: it is {seen}");
}

/// Waits until every rule's accounts close.
pub fn expect_accounts_closed(gateway: &Gateway) {
    let mut seen = BTreeMap::new();
    let found = found_within(DEADLINE, || {
        seen = gateway.metrics().accounts();
        let closed = |(routed, ends): &(f64, [f64; 4])| *routed == ends.iter().sum::<f64>();
        (seen.values().any(|(routed, _)| *routed > 0.0) && seen.values().all(closed)).then_some(())
    });
    assert!(found.is_some(), "the accounts {{rule: (routed, [delivered, conflated, dropped, in outboxes])}} do not close: {seen:?}");
}
