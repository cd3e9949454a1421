//! Everything of a configuration that can be tried before it goes into force. `belfry check` tells what fails here; a start and a
//! SIGHUP are refused by it too.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::{Config, Problem, Sources};
use crate::server::connection::read_certificate;
use crate::store::Folder;
use crate::{auth, feed};

/// A configuration that can go into force, with the certificate that it names.
pub type Preflighted = (Arc<Config>, Option<Arc<ServerConfig>>);

/// Reads `sources` and tries the keys, recordings, folder and certificate that they name; or everything that is wrong, at once.
pub fn preflight(sources: &Sources) -> Result<Preflighted, Vec<Problem>> {
    let (config, mut problems) = Config::draft(sources)?;
    problems.extend(auth::check(&config.auth));
    problems.extend(feed::check(&config.feed));
    if let Some(Err(error)) = config.store.dir.as_deref().map(Folder::check) {
        problems.push(Problem(error.to_string()));
    }
    match read_certificate(config.server.tls.as_ref()) {
        Ok(certificate) if problems.is_empty() => return Ok((Arc::new(config), certificate)),
        Ok(_) => {}
        Err(error) => problems.push(Problem(error.to_string())),
    }
    Err(problems)
}
