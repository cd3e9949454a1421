//! TLS of a listener: the certificate in force, which a reload can replace.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file can't be read, or has no PEM of the expected kind.
    #[error("{section}.{key} = {path:?} can't be used: {source}; give a PEM file that holds {}", if *key == "cert" { "the chain, the server's own certificate first" } else { "the certificate's private key" })]
    File {
        /// `server.tls` or `admin.tls`.
        section: &'static str,
        /// `cert` or `key`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rustls_pki_types::pem::Error,
    },
    /// The file has no certificate.
    #[error("{section}.cert = {path:?} holds no certificate; give a PEM file that holds the chain, the server's own certificate first")]
    NoCertificate {
        /// `server.tls` or `admin.tls`.
        section: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key do not belong together.
    #[error(
        "{section}.cert = {cert:?} and {section}.key = {key:?} can't be used together: {source}; give a certificate and the key that it was made for"
    )]
    Pair {
        /// `server.tls` or `admin.tls`.
        section: &'static str,
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        source: Box<rustls::Error>,
    },
}

/// The TLS settings in force; without any, plain TCP.
#[derive(Debug)]
pub struct TlsInForce {
    /// Locked for one clone of the `Arc`.
    current: RwLock<Option<Arc<ServerConfig>>>,
}

impl TlsInForce {
    /// Begins with `current`.
    pub fn new(current: Option<Arc<ServerConfig>>) -> Self {
        Self { current: RwLock::new(current) }
    }

    /// The settings for a new connection.
    pub fn load(&self) -> Option<Arc<ServerConfig>> {
        self.current.read().clone()
    }

    /// Puts `next` in force for new connections.
    pub fn replace(&self, next: Option<Arc<ServerConfig>>) {
        *self.current.write() = next;
    }
}

/// Reads the files of `settings`, the table `section`; `None` if it has none.
pub fn read(section: &'static str, settings: Option<&config::Tls>) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let Some(settings) = settings else { return Ok(None) };
    let chain = CertificateDer::pem_file_iter(&settings.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| file(section, "cert", &settings.cert, source))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { section, path: settings.cert.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|source| file(section, "key", &settings.key, source))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pair = |source| TlsError::Pair { source: Box::new(source), section, cert: settings.cert.clone(), key: settings.key.clone() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn file(section: &'static str, key: &'static str, path: &Path, source: rustls_pki_types::pem::Error) -> TlsError {
    TlsError::File { section, key, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(cert: &str, key: &str) -> (tempfile::TempDir, config::Tls) {
        let folder = tempfile::tempdir().unwrap();
        let tls = config::Tls { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        std::fs::write(&tls.cert, cert).unwrap();
        std::fs::write(&tls.key, key).unwrap();
        (folder, tls)
    }

    #[test]
    fn a_pair_is_taken_and_a_wrong_one_is_named() {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (_folder, good) = files(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        assert!(read("server.tls", Some(&good)).unwrap().is_some());
        assert!(read("server.tls", None).unwrap().is_none());
        let (_folder, mixed) = files(&pair.cert.pem(), &other.signing_key.serialize_pem());
        assert!(matches!(read("server.tls", Some(&mixed)), Err(TlsError::Pair { .. })));
        let (_folder, empty) = files("", &pair.signing_key.serialize_pem());
        assert!(read("server.tls", Some(&empty)).unwrap_err().to_string().starts_with("server.tls.cert"));
        let missing = config::Tls { cert: "/nowhere/cert.pem".into(), ..good };
        assert!(read("server.tls", Some(&missing)).unwrap_err().to_string().contains("/nowhere/cert.pem"));
    }
}
