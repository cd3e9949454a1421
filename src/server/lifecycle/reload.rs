//! SIGHUP: reads the configuration again and puts it in force everywhere, or changes nothing.

use std::sync::Arc;

use super::preflight::{Certificates, Preflighted, preflight};
use crate::auth::Auth;
use crate::config::{ApiKey, Config, Live, Problem, Sources};
use crate::feed::Feeds;
use crate::server::connection::TlsInForce;

/// The parts that a reload changes.
pub struct Reload {
    /// The sources of the configuration.
    pub sources: Sources,
    /// The admin key of a run without a file, which every reload keeps.
    pub run_key: Option<ApiKey>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// Identities and their grants.
    pub auth: Arc<Auth>,
    /// The certificate of the main listener.
    pub tls: Arc<TlsInForce>,
    /// The certificate of the administrators' listener.
    pub admin_tls: Arc<TlsInForce>,
    pub feeds: Feeds,
}

impl Reload {
    /// Reads all sources again. Problems are logged as `belfry check` prints them, and change nothing.
    pub async fn run(&self) {
        let sources = self.sources.clone();
        let read = tokio::task::spawn_blocking(move || preflight(&sources)).await;
        match read.map_err(|error| vec![Problem(format!("the configuration could not be read: {error}"))]).and_then(|read| read) {
            Ok(Preflighted { config, certificates }) => self.put_in_force(&config, certificates),
            Err(problems) => log_problems(&problems),
        }
    }

    fn put_in_force(&self, new: &Config, certificates: Certificates) {
        let plain = [("server.tls", &self.tls, &certificates.main), ("admin.tls", &self.admin_tls, &certificates.admin)];
        if let Some((key, ..)) = plain.into_iter().find(|(_, in_force, new)| in_force.load().is_some() && new.is_none()) {
            let reason = "is gone, and a reload takes TLS from no listener; name cert and key, or restart the gateway";
            return log_problems(&[Problem(format!("{key} {reason}"))]);
        }
        let old = self.live.load();
        for key in old.fixed_differences(new) {
            tracing::warn!(key, "differs, but can't change while the gateway runs; restart it for that");
        }
        let mut config = new.clone().with_fixed_of(&old);
        config.auth.api_keys.extend(self.run_key.clone());
        if let Err(problem) = self.auth.reload(&config.auth) {
            log_problems(&[problem]);
            return;
        }
        self.tls.replace(certificates.main);
        self.admin_tls.replace(certificates.admin);
        self.live.replace(&config);
        if let Err(problem) = self.feeds.reload(&config.feed) {
            log_problems(&[problem]);
        }
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        tracing::info!("configuration reloaded");
    }
}

fn log_problems(problems: &[Problem]) {
    for problem in problems {
        tracing::error!(%problem, "configuration not reloaded");
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestGateway;
    use super::*;
    use crate::session::Services;

    /// PROTOCOL 8: a removed key closes with 4001 also if the reload comes between the upgrade and the arrival of the
    /// session in its shard. The bug: such a session kept its grants until the next reload.
    #[tokio::test]
    async fn a_reload_reaches_a_session_that_is_being_upgraded() {
        let without = Config::default();
        let mut config = Config::default();
        config.auth.api_keys.push(ApiKey { name: "feed".into(), key: "its secret key".into(), ..ApiKey::default() });
        let gateway = TestGateway::new(config);
        let Services { auth, live, .. } = &*gateway.services;
        let expected = gateway.expect(auth.identify("its secret key").map(Some)).await;
        auth.reload(&without.auth).unwrap();
        live.replace(&without);
        gateway.let_ticks_pass().await;
        let received = gateway.arrive(expected).await.read_to_close().await;
        assert_eq!(received.iter().map(|(op, _)| op.as_str()).collect::<Vec<_>>(), ["welcome", "4001"], "{received:?}");
    }
}
