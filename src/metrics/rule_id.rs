//! The ids of the values of the label `rule`.

use std::collections::HashMap;
use std::sync::Arc;

use super::families::RuleSeries;

/// The index of a value of the label `rule` in tables of counts. [`Metrics::rule`](super::Metrics::rule) assigns it. A
/// pattern keeps its index through reloads, as its series in Prometheus does. The default is the empty value, for
/// topics that no rule matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(usize);

impl RuleId {
    /// The index in a table of counts.
    pub(super) fn index(self) -> usize {
        self.0
    }
}

/// All assigned labels by index, with the series of those that were used.
pub(super) struct RuleTable {
    rules: Vec<(Arc<str>, Option<RuleSeries>)>,
    indices: HashMap<Arc<str>, usize>,
}

impl RuleTable {
    /// A table with the empty label only.
    pub fn new() -> Self {
        let label: Arc<str> = "".into();
        Self { rules: vec![(Arc::clone(&label), None)], indices: HashMap::from([(label, 0)]) }
    }

    /// The index of `label`, which is added if it is new.
    pub fn id(&mut self, label: &str) -> RuleId {
        if let Some(&index) = self.indices.get(label) {
            return RuleId(index);
        }
        let (label, index) = (Arc::<str>::from(label), self.rules.len());
        self.rules.push((Arc::clone(&label), None));
        self.indices.insert(label, index);
        RuleId(index)
    }

    /// The series of `rule`, if it was used.
    pub fn series(&self, rule: RuleId) -> Option<&RuleSeries> {
        self.rules.get(rule.0)?.1.as_ref()
    }

    /// The series of `rule`. At the first use, `make` makes them from the label. An index of other metrics counts as
    /// the empty label.
    pub fn series_or_make(&mut self, rule: RuleId, make: impl FnOnce(&str) -> RuleSeries) -> &RuleSeries {
        let index = if rule.0 < self.rules.len() { rule.0 } else { 0 };
        let (label, series) = &mut self.rules[index];
        series.get_or_insert_with(|| make(label))
    }

    /// All series in use.
    pub fn used(&self) -> impl Iterator<Item = &RuleSeries> {
        self.rules.iter().filter_map(|(_, series)| series.as_ref())
    }
}
