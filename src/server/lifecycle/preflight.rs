//! Checks of a configuration before it goes into force. They fail `belfry check`, a start and a SIGHUP alike.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::{Config, Problem, Sources};
use crate::server::connection::read_certificate;
use crate::store::Folder;
use crate::{auth, feed};

/// A configuration that has passed all checks.
pub struct Preflighted {
    /// The configuration.
    pub config: Arc<Config>,
    /// The certificates of its listeners.
    pub certificates: Certificates,
}

/// The certificates of both listeners; `None` for plain TCP.
pub struct Certificates {
    /// `server.tls`.
    pub main: Option<Arc<ServerConfig>>,
    /// `admin.tls`.
    pub admin: Option<Arc<ServerConfig>>,
}

/// Reads `sources`, and checks the keys, recordings, folder and certificates that they name. The error has all
/// problems.
pub fn preflight(sources: &Sources) -> Result<Preflighted, Vec<Problem>> {
    let (config, mut problems) = Config::draft(sources)?;
    problems.extend(auth::check(&config.auth));
    problems.extend(feed::check(&config.feed));
    if let Some(Err(error)) = config.store.dir.as_deref().map(Folder::check) {
        problems.push(Problem(error.to_string()));
    }
    let mut read = |key, tls| {
        read_certificate(key, tls).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        })
    };
    let main = read("server.tls", config.server.tls.as_ref());
    let admin = read("admin.tls", config.admin.tls.as_ref());
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Preflighted { config: Arc::new(config), certificates: Certificates { main, admin } })
}
