//! The TLS settings of sessions with `wss`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The TLS of sessions.
#[derive(Debug, Clone)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    /// The name that the certificate must bear.
    pub name: ServerName<'static>,
}

impl Tls {
    /// A connection that has not begun its handshake.
    pub fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }
}

const NOT_SET_UP: &str = "TLS can't be set up";

/// The settings of a client that trusts the certificates in `cacert`, or the system's roots.
pub fn client_config(cacert: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match cacert {
        Some(file) => {
            let unreadable = || format!("--cacert {} can't be read as PEM certificates", file.display());
            for certificate in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
                roots.add(certificate.with_context(unreadable)?).context(NOT_SET_UP)?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        let whose =
            cacert.map_or_else(|| "this system (package ca-certificates)".to_owned(), |file| format!("--cacert {}", file.display()));
        bail!("{whose} holds no root certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().context(NOT_SET_UP)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
