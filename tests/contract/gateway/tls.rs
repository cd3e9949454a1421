//! A certificate of `localhost` in files, for a gateway that serves TLS, and clients that trust the certificate.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

/// A self-signed certificate and its key. Their files are deleted on drop.
pub struct Certificate {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Writes new files.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), pair.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
        Self { folder, der: pair.cert.der().clone() }
    }

    /// The line of `[server]` or `[admin]` that names the files.
    pub fn setting(&self) -> String {
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| self.folder.path().join(name));
        format!("tls = {{ cert = {cert:?}, key = {key:?} }}")
    }

    /// The client's end of TLS over `socket`.
    pub fn client(&self, socket: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = versions.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
    }
}
