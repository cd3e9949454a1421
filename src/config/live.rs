//! The configuration in force, which a reload replaces for all parts at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;

use super::settings::Config;
use crate::metrics::Metrics;

/// The configuration in force.
#[derive(Debug)]
pub struct Live {
    /// Assigns each rule its label.
    metrics: Arc<Metrics>,
    /// Locked for one clone of the `Arc`.
    current: RwLock<Arc<Config>>,
    generation: AtomicU32,
}

impl Live {
    /// Starts with `config`, whose rules are counted in `metrics`.
    pub fn new(config: &Config, metrics: &Arc<Metrics>) -> Self {
        Self { current: RwLock::new(counted(config, metrics)), metrics: Arc::clone(metrics), generation: AtomicU32::new(0) }
    }

    /// Starts with these limits, for tests.
    #[cfg(test)]
    pub fn with_limits(limits: super::limits::Limits) -> Arc<Self> {
        Arc::new(Self::new(&Config { limits, ..Config::default() }, &Arc::default()))
    }

    /// The configuration in force now.
    pub fn load(&self) -> Arc<Config> {
        Arc::clone(&self.current.read())
    }

    /// The number of calls of [`Live::replace`]. A shard compares it once a tick.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts `config` in force.
    pub fn replace(&self, config: &Config) {
        let config = counted(config, &self.metrics);
        *self.current.write() = config;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// `config` with the ids of its rules in `metrics`. A rule's pattern has the same series before and after a reload.
fn counted(config: &Config, metrics: &Metrics) -> Arc<Config> {
    let rules = config.rules.with_ids(|label| metrics.rule(label));
    Arc::new(Config { rules, ..config.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Rule, Rules};
    use crate::topic_name::Scope;

    /// PROTOCOL 9: the label `rule` is the matching rule's pattern, before and after a reload that moves the rule.
    #[test]
    fn a_rule_keeps_its_metrics_across_a_reload() {
        let config = |patterns: &[&str]| {
            let rule = |text: &&str| Rule::plain(Some(Scope::parse(text).unwrap()));
            Config { rules: Rules::new(patterns.iter().map(rule).collect()), ..Config::default() }
        };
        let metrics = Arc::new(Metrics::new());
        let live = Live::new(&config(&["a.>", "b.>"]), &metrics);
        let before: Vec<_> = live.load().rules.iter().map(|rule| rule.id).collect();
        live.replace(&config(&["c.>", "b.>"]));
        let after: Vec<_> = live.load().rules.iter().map(|rule| rule.id).collect();
        assert_eq!((before[1], live.generation()), (after[1], 1));
        assert_ne!(before[0], after[0]);
    }
}
