//! The server's certificate, and how a client checks it. Runs in every process but the browser.
//!
//! A client trusts exactly one certificate, by the SHA-256 of its DER form, which it was told through
//! another way that it trusts (the login answer over HTTPS, the operator). There is no setting that
//! accepts any certificate.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};
use wtransport::tls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use wtransport::tls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use wtransport::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use wtransport::tls::rustls::{self, CertificateError, DigitallySignedStruct, SignatureScheme};
use wtransport::tls::{Certificate, CertificateChain, PrivateKey, WEBTRANSPORT_ALPN};

use crate::error::TransportError;

/// A certificate with its key.
pub struct Identity {
    inner: wtransport::Identity,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A new self-signed ECDSA P-256 certificate for `names`, valid for 14 days: the longest that a
    /// browser accepts by its hash.
    ///
    /// # Errors
    /// When a name is not one that a certificate can hold.
    pub fn self_signed(names: &[&str]) -> Result<Self, TransportError> {
        wtransport::Identity::self_signed(names).map(|inner| Self { inner }).map_err(|_| {
            TransportError::Identity(format!("one of the names {names:?} is no host name or address; correct it"))
        })
    }

    /// A certificate (chain) and its PKCS #8 key from PEM files.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Self, TransportError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(TransportError::Network)?;
        let file = |path: &Path, error: &dyn std::fmt::Display| TransportError::IdentityFile {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let chain =
            runtime.block_on(CertificateChain::load_pemfile(certificate)).map_err(|error| file(certificate, &error))?;
        let key = runtime.block_on(PrivateKey::load_pemfile(key)).map_err(|error| file(key, &error))?;
        if chain.as_slice().is_empty() {
            return Err(file(certificate, &"no certificate in it"));
        }
        Ok(Self { inner: wtransport::Identity::new(chain, key) })
    }

    /// SHA-256 of the DER form of the (leaf) certificate: what clients pin.
    pub fn certificate_hash(&self) -> [u8; 32] {
        self.inner
            .certificate_chain()
            .as_slice()
            .first()
            .map(|certificate: &Certificate| Sha256::digest(certificate.der()).into())
            .expect("an identity is only made with a certificate")
    }

    pub(crate) fn tls_config(&self) -> Result<rustls::ServerConfig, TransportError> {
        let chain = self
            .inner
            .certificate_chain()
            .as_slice()
            .iter()
            .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
            .collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.inner.private_key().secret_der().to_vec()));
        let unusable = |error: rustls::Error| {
            TransportError::Identity(format!("{error}; check that the key belongs to the certificate"))
        };
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![WEBTRANSPORT_ALPN.to_vec()];
        Ok(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Accepts the one certificate with the pinned hash, from a peer that proves to hold its key.
#[derive(Debug)]
pub(crate) struct PinnedCertificate {
    hash: [u8; 32],
    provider: Arc<CryptoProvider>,
    refused: AtomicBool,
}

impl PinnedCertificate {
    pub(crate) fn new(hash: [u8; 32]) -> Arc<Self> {
        Arc::new(Self { hash, provider: provider(), refused: AtomicBool::new(false) })
    }

    /// Whether a server showed another certificate: tells that failure from other failures of TLS.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn tls_config(self: &Arc<Self>) -> rustls::ClientConfig {
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring's provider has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![WEBTRANSPORT_ALPN.to_vec()];
        config
    }
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let hash: [u8; 32] = Sha256::digest(end_entity.as_ref()).into();
        if hash == self.hash {
            return Ok(ServerCertVerified::assertion());
        }
        self.refused.store(true, Ordering::Relaxed);
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC is TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A directory of this test's own, removed in the end.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("sidereal-cert-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pem(identity: &Identity) -> (String, String) {
        let certificate = identity.inner.certificate_chain().as_slice()[0].to_pem();
        (certificate, identity.inner.private_key().to_secret_pem())
    }

    #[test]
    fn pem_files_give_the_same_certificate() {
        let files = Files::new("same");
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let (certificate, key) = pem(&identity);
        let loaded =
            Identity::from_pem_files(&files.write("cert.pem", &certificate), &files.write("key.pem", &key)).unwrap();
        assert_eq!(loaded.certificate_hash(), identity.certificate_hash());
        loaded.tls_config().unwrap();
    }

    #[test]
    fn unusable_files_are_named_and_never_panic() {
        let files = Files::new("unusable");
        let (certificate, key) = pem(&Identity::self_signed(&["localhost"]).unwrap());
        let (_, other_key) = pem(&Identity::self_signed(&["localhost"]).unwrap());
        let certificate = files.write("cert.pem", &certificate);
        let missing = files.0.join("missing.pem");
        let error = Identity::from_pem_files(&missing, &files.write("key.pem", &key)).unwrap_err();
        assert!(error.to_string().contains("missing.pem"), "{error}");
        let error = Identity::from_pem_files(&certificate, &files.write("junk.pem", "junk")).unwrap_err();
        assert!(error.to_string().contains("junk.pem"), "{error}");
        let mismatched = Identity::from_pem_files(&certificate, &files.write("other.pem", &other_key)).unwrap();
        let error = mismatched.tls_config().unwrap_err();
        assert!(error.to_string().contains("belongs to the certificate"), "{error}");
        let error = Identity::self_signed(&["\u{2764}"]).unwrap_err();
        assert!(error.to_string().contains("no host name"), "{error}");
    }
}
