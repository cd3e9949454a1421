//! TLS of a listener: the certificate in force, which a reload can replace.

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{self, Problem};

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
pub fn read(section: &'static str, settings: Option<&config::Tls>) -> Result<Option<Arc<ServerConfig>>, Problem> {
    const CHAIN: &str = "the chain, the server's own certificate first";
    let Some(config::Tls { cert, key }) = settings else { return Ok(None) };
    let unusable = |name: &str, path: &Path, error: pem::Error, right: &str| {
        Problem(format!("{section}.{name} = {path:?} can't be used: {error}; give a PEM file that holds {right}"))
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable("cert", cert, error, CHAIN))?;
    if chain.is_empty() {
        return Err(Problem(format!("{section}.cert = {cert:?} holds no certificate; give a PEM file that holds {CHAIN}")));
    }
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("key", key, error, "the certificate's private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private_key))
        .map_err(|error| {
            let files = format!("{section}.cert = {cert:?} and {section}.key = {key:?}");
            Problem(format!("{files} can't be used together: {error}; give a certificate and the key that it was made for"))
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
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
    fn a_key_must_match_its_certificate() {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (_folder, good) = files(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        assert!(read("server.tls", Some(&good)).unwrap().is_some());
        assert!(read("server.tls", None).unwrap().is_none());
        let (_folder, mixed) = files(&pair.cert.pem(), &other.signing_key.serialize_pem());
        assert!(read("server.tls", Some(&mixed)).unwrap_err().to_string().contains("can't be used together"));
        let (_folder, empty) = files("", &pair.signing_key.serialize_pem());
        assert!(read("server.tls", Some(&empty)).unwrap_err().to_string().starts_with("server.tls.cert"));
        let missing = config::Tls { cert: "/nowhere/cert.pem".into(), ..good };
        assert!(read("server.tls", Some(&missing)).unwrap_err().to_string().contains("/nowhere/cert.pem"));
    }
}
