//! The TLS settings of sessions with `wss`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why there are no TLS settings.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of `--cacert`.
    #[error("--cacert {} can't be read as PEM certificates: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// There is no root certificate.
    #[error("{} holds no root certificate", whose)]
    NoRoots {
        /// The source of certificates: the file, or the system.
        whose: String,
    },
    /// The TLS library has no usable protocol version.
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The settings of a client that trusts the certificates in `cacert`, or the system's roots.
pub fn client_config(cacert: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match cacert {
        Some(file) => {
            let unreadable = |source| TlsError::File { file: file.to_owned(), source };
            let certificates = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
            for certificate in certificates {
                roots.add(certificate.map_err(unreadable)?)?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        let whose =
            cacert.map_or_else(|| "this system (package ca-certificates)".to_owned(), |file| format!("--cacert {}", file.display()));
        return Err(TlsError::NoRoots { whose });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
