//! A configuration for the tests of this floor.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Admin, Auth, Config, Deflate, Feed, Limits, Rules, Server};

/// A configuration with every default and no keys, rules or feeds.
pub fn config() -> Config {
    Config {
        server: Server {
            listen: ([127, 0, 0, 1], 0).into(),
            shards: 1,
            drain: Duration::from_secs(10),
            origins: Vec::new(),
            tls: None,
            coalesce: Duration::from_micros(100),
            trusted_proxies: Vec::new(),
        },
        admin: Admin { listen: None },
        auth: Auth { anonymous: None, keys: Vec::new(), api_keys: Vec::new() },
        limits: Limits::default(),
        deflate: Deflate { enabled: true, threshold: 256, level: 3 },
        rules: Rules::new(Vec::new()),
        endpoints: BTreeMap::new(),
        feed: Feed::default(),
    }
}
