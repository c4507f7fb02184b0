//! A certificate that is replaced while its server runs.

use std::sync::{Arc, PoisonError, RwLock};

use wtransport::tls::rustls;
use wtransport::tls::rustls::server::{ClientHello, ResolvesServerCert};
use wtransport::tls::rustls::sign::CertifiedKey;

use super::{Identity, provider};
use crate::error::TransportError;

/// The certificate of new handshakes. All clones share one. A replacement applies to new handshakes and affects no
/// existing connection.
#[derive(Clone)]
pub struct LiveCertificate {
    shown: Arc<Shown>,
}

struct Shown {
    current: RwLock<Current>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    hash: [u8; 32],
}

impl Current {
    fn new(identity: &Identity) -> Result<Self, TransportError> {
        Ok(Self { certified: Arc::new(identity.certified()?), hash: identity.certificate_hash() })
    }
}

impl LiveCertificate {
    /// Starts with this certificate.
    ///
    /// # Errors
    /// When rustls cannot sign with its key.
    pub fn new(identity: &Identity) -> Result<Self, TransportError> {
        Ok(Self { shown: Arc::new(Shown { current: RwLock::new(Current::new(identity)?) }) })
    }

    /// Uses this certificate from now on.
    ///
    /// # Errors
    /// When rustls cannot sign with its key. The previous one then stays in use.
    pub fn replace(&self, identity: &Identity) -> Result<(), TransportError> {
        let next = Current::new(identity)?;
        *self.shown.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// SHA-256 of the DER form of the present certificate, which clients pin.
    pub fn certificate_hash(&self) -> [u8; 32] {
        self.shown.current.read().unwrap_or_else(PoisonError::into_inner).hash
    }

    /// TLS 1.3 with this certificate, for a protocol by its ALPN name.
    pub fn tls_config(&self, alpn: &[u8]) -> rustls::ServerConfig {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring's provider has TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.shown.clone());
        config.alpn_protocols = vec![alpn.to_vec()];
        // The clients of one server share its processor.
        config.ignore_client_order = true;
        config
    }
}

impl std::fmt::Debug for LiveCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveCertificate").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).certified.clone())
    }
}
