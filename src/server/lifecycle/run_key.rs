//! The admin key of a run without a configuration file (PROTOCOL section 8).

use std::sync::Arc;

use rand::Rng;

use crate::config::{ApiKey, Config, GrantLists};
use crate::topic_name::Scope;

/// A new random admin key.
pub fn run_key() -> ApiKey {
    const KEY_LEN: usize = 32;
    let key = rand::rng().sample_iter(rand::distr::Alphanumeric).take(KEY_LEN).map(char::from).collect();
    let everything = |texts: &[&str]| texts.iter().filter_map(|text| Scope::parse(text).ok()).collect();
    let grants = GrantLists { subscribe: everything(&[">", "$belfry.>"]), publish: everything(&[">"]) };
    ApiKey { name: "admin".to_owned(), key, grants, admin: true, ..ApiKey::default() }
}

/// `config` with `key` added to its API keys, if there is one.
pub fn with_key(config: Arc<Config>, key: Option<&ApiKey>) -> Arc<Config> {
    let Some(key) = key else { return config };
    let mut config = Config::clone(&config);
    config.auth.api_keys.push(key.clone());
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 8: without `--config` each run has its own admin key.
    #[test]
    fn each_run_has_its_own_admin_key() {
        let (one, other) = (run_key(), run_key());
        assert!(one.admin && one.key.len() == 32 && one.key != other.key);
        let config = with_key(Arc::new(Config::default()), Some(&one));
        assert_eq!(config.auth.api_keys, [one]);
    }
}
