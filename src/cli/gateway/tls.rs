//! The TLS settings of the command line's client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The accepted certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Certificates that the system's roots have signed.
    System,
    /// Certificates that are signed by those of this PEM file.
    File(PathBuf),
    /// Every certificate.
    Anybody,
}

/// The TLS settings of a client with this trust.
pub(super) fn client_config(trust: &Trust) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().context("TLS can't be set up")?;
    let config = match trust {
        Trust::System => builder.with_root_certificates(system_roots()?),
        Trust::File(file) => builder.with_root_certificates(roots_of(file)?),
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptsAll(provider))),
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

fn system_roots() -> anyhow::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        bail!("this system has no root certificates (package ca-certificates), or SSL_CERT_FILE names none; --cacert names a file");
    }
    Ok(roots)
}

fn roots_of(file: &Path) -> anyhow::Result<RootCertStore> {
    let unreadable = || format!("--cacert {} can't be read", file.display());
    let certificates = CertificateDer::pem_file_iter(file).with_context(unreadable)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.with_context(unreadable)?).with_context(|| format!("--cacert {} holds no root", file.display()))?;
    }
    ensure!(!roots.is_empty(), "--cacert {} holds no certificate; it must be PEM, as `-----BEGIN CERTIFICATE-----`", file.display());
    Ok(roots)
}

/// Accepts every certificate, but verifies the signature of the handshake.
#[derive(Debug)]
struct AcceptsAll(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptsAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty.pem");
        std::fs::write(&file, "nothing").unwrap();
        for file in [file, folder.path().join("absent.pem")] {
            let error = format!("{:#}", client_config(&Trust::File(file.clone())).unwrap_err());
            assert!(error.contains("--cacert") && error.contains(file.to_str().unwrap()), "{error}");
        }
    }
}
