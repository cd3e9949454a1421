//! The keys that a reload can't change (PROTOCOL section 8).

use super::settings::Config;

impl Config {
    /// The keys that SIGHUP can't change and in which `new` differs from this one.
    pub fn fixed_differences(&self, new: &Config) -> Vec<&'static str> {
        let cluster = match (&self.cluster, &new.cluster) {
            (Some(old), Some(new)) => old.fixed_differences(new),
            (old, new) if old.is_some() != new.is_some() => vec!["cluster"],
            _ => Vec::new(),
        };
        let differs = [
            ("server.listen", self.server.listen != new.server.listen),
            ("server.unix_mode", self.server.unix_mode != new.server.unix_mode),
            ("server.shards", self.server.shards != new.server.shards),
            ("admin.listen", self.admin.listen != new.admin.listen),
            ("admin.unix_mode", self.admin.unix_mode != new.admin.unix_mode),
            ("log.format", self.log.format != new.log.format),
            ("feed.replay", self.feed.replay != new.feed.replay),
            ("store.dir", self.store.dir != new.store.dir),
        ];
        cluster.into_iter().chain(differs.into_iter().filter_map(|(key, differs)| differs.then_some(key))).collect()
    }

    /// This configuration with `old`'s values of those keys.
    #[must_use]
    pub fn with_fixed_of(mut self, old: &Config) -> Config {
        self.server.listen.clone_from(&old.server.listen);
        self.server.unix_mode = old.server.unix_mode;
        self.server.shards = old.server.shards;
        self.admin.listen.clone_from(&old.admin.listen);
        self.admin.unix_mode = old.admin.unix_mode;
        self.feed.replay.clone_from(&old.feed.replay);
        self.log = old.log.clone();
        self.store.dir.clone_from(&old.store.dir);
        self.cluster = match (self.cluster, &old.cluster) {
            (Some(new), Some(old)) => Some(new.with_fixed_of(old)),
            (_, old) => old.clone(),
        };
        self
    }
}
