//! What a reload can't change: the keys that hold for the life of the process (PROTOCOL section 8).

use super::settings::Config;

impl Config {
    /// The keys that SIGHUP can't change and in which `new` differs from this one.
    pub fn fixed_differences(&self, new: &Config) -> Vec<&'static str> {
        let differs = [
            ("server.listen", self.server.listen != new.server.listen),
            ("server.shards", self.server.shards != new.server.shards),
            ("admin.listen", self.admin.listen != new.admin.listen),
            ("feed.replay", self.feed.replay != new.feed.replay),
            ("store.dir", self.store.dir != new.store.dir),
        ];
        differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }

    /// This configuration with `old`'s values of those keys, as it goes into force.
    #[must_use]
    pub fn with_fixed_of(mut self, old: &Config) -> Config {
        self.server.listen = old.server.listen;
        self.server.shards = old.server.shards;
        self.admin.listen = old.admin.listen;
        self.feed.replay.clone_from(&old.feed.replay);
        self.store.dir.clone_from(&old.store.dir);
        self
    }
}
