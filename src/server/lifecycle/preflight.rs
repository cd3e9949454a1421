//! Everything of a configuration that can be tried before it goes into force. `belfry check` tells what fails here; a start and a
//! SIGHUP are refused by it too.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::{Config, Problem, Sources};
use crate::server::connection::read_certificate;
use crate::store::Folder;
use crate::{auth, feed};

/// A configuration that can go into force.
pub struct Preflighted {
    /// The configuration.
    pub config: Arc<Config>,
    /// The certificates that it names.
    pub certificates: Certificates,
}

/// The certificates of both listeners; `None`: plain TCP.
pub struct Certificates {
    /// `server.tls`.
    pub main: Option<Arc<ServerConfig>>,
    /// `admin.tls`.
    pub admin: Option<Arc<ServerConfig>>,
}

/// Reads `sources` and tries the keys, recordings, folder and certificates that they name; or everything that is wrong, at once.
pub fn preflight(sources: &Sources) -> Result<Preflighted, Vec<Problem>> {
    let (config, mut problems) = Config::draft(sources)?;
    problems.extend(auth::check(&config.auth));
    problems.extend(feed::check(&config.feed));
    if let Some(Err(error)) = config.store.dir.as_deref().map(Folder::check) {
        problems.push(Problem(error.to_string()));
    }
    let mut read = |key, tls| match read_certificate(key, tls) {
        Ok(certificate) => certificate,
        Err(error) => {
            problems.push(Problem(error.to_string()));
            None
        }
    };
    let main = read("server.tls", config.server.tls.as_ref());
    let admin = read("admin.tls", config.admin.tls.as_ref());
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Preflighted { config: Arc::new(config), certificates: Certificates { main, admin } })
}
