//! The server's certificate, and how a client checks it. Runs in every process but the browser.
//!
//! A client accepts exactly one certificate, by the SHA-256 of its DER form, which it received over another trusted
//! channel (the login answer over HTTPS, the operator). There is no setting that accepts any certificate.

mod live;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wtransport::tls::WEBTRANSPORT_ALPN;
use wtransport::tls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use wtransport::tls::rustls::client::verify_server_name;
use wtransport::tls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use wtransport::tls::rustls::pki_types::pem::PemObject;
use wtransport::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use wtransport::tls::rustls::server::ParsedCertificate;
use wtransport::tls::rustls::sign::CertifiedKey;
use wtransport::tls::rustls::{self, CertificateError, CipherSuite, DigitallySignedStruct, SignatureScheme};
use wtransport::tls::self_signed::time::OffsetDateTime;

pub use live::LiveCertificate;

use crate::error::TransportError;

/// The lifetime of a self-signed certificate, counted from its start date: the longest that a browser accepts by its
/// hash.
pub const SELF_SIGNED_LIFETIME: Duration = Duration::from_secs(14 * 24 * 3600);

/// How far the start date lies in the past: a browser whose clock is behind refuses a certificate that starts later.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A certificate with its chain and its key.
pub struct Identity {
    /// The leaf first; never empty.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Identity {
    /// A new self-signed ECDSA P-256 certificate for `names`. It is dated an hour back, and ends
    /// [`SELF_SIGNED_LIFETIME`] after that.
    ///
    /// # Errors
    /// When a name is not allowed in a certificate.
    pub fn self_signed(names: &[impl AsRef<str>]) -> Result<Self, TransportError> {
        let begins = OffsetDateTime::now_utc() - BACKDATED;
        let made = wtransport::Identity::self_signed_builder()
            .subject_alt_names(names)
            .validity_period(begins, begins + SELF_SIGNED_LIFETIME)
            .build();
        let made = made.map_err(|_| {
            let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
            TransportError::Identity(format!("one of the names {names:?} is no host name or address; correct it"))
        })?;
        let chain = made.certificate_chain().as_slice().iter();
        Ok(Self {
            chain: chain.map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect(),
            key: PrivatePkcs8KeyDer::from(made.private_key().secret_der().to_vec()).into(),
        })
    }

    /// A certificate (chain) and its key (PKCS #8, SEC 1 or PKCS #1) from PEM files.
    ///
    /// # Errors
    /// When a file cannot be read or has other content, or the key does not belong to the certificate.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Self, TransportError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| in_file(path, error));
        Self::from_pem((certificate, &read(certificate)?), (key, &read(key)?))
    }

    /// As [`from_pem_files`](Self::from_pem_files), from files that were already read.
    ///
    /// # Errors
    /// As there.
    pub fn from_pem(certificate: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<Self, TransportError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.1)
            .collect::<Result<_, _>>()
            .map_err(|error| in_file(certificate.0, error))?;
        let Some(leaf) = chain.first() else { return Err(in_file(certificate.0, "no certificate in it")) };
        ParsedCertificate::try_from(leaf).map_err(|error| in_file(certificate.0, error))?;
        let key = PrivateKeyDer::from_pem_slice(key.1).map_err(|error| in_file(key.0, error))?;
        let identity = Self { chain, key };
        identity.certified()?;
        Ok(identity)
    }

    /// Whether the (leaf) certificate is valid for a host name or an IP address.
    pub fn is_for(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else { return false };
        ParsedCertificate::try_from(&self.chain[0]).is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
    }

    /// SHA-256 of the DER form of the (leaf) certificate, which clients pin.
    pub fn certificate_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.chain[0]).into()
    }

    /// The form in which rustls signs.
    fn certified(&self) -> Result<CertifiedKey, TransportError> {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider()).map_err(|error| {
            TransportError::Identity(format!("{error}; check that the key belongs to the certificate"))
        })
    }
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> TransportError {
    TransportError::IdentityFile { path: path.to_owned(), reason: error.to_string() }
}

/// ring, with AES-128 first: it needs a third less time than AES-256 for a packet, and nobody breaks either.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// Accepts the one certificate with the pinned hash, from a peer that proves that it holds the key.
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

    /// Whether a server presented another certificate: distinguishes this failure from other failures of TLS.
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

    /// A directory of this test, removed at the end.
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

    /// The certificate and its PKCS #8 key, as PEM.
    fn pem(identity: &wtransport::Identity) -> (String, String) {
        (identity.certificate_chain().as_slice()[0].to_pem(), identity.private_key().to_secret_pem())
    }

    fn made() -> wtransport::Identity {
        wtransport::Identity::self_signed(["localhost"]).unwrap()
    }

    #[test]
    fn pem_files_give_the_same_certificate() {
        let files = Files::new("same");
        let identity = made();
        let (certificate, key) = pem(&identity);
        let certificate = files.write("cert.pem", &certificate);
        let loaded = Identity::from_pem_files(&certificate, &files.write("key.pem", &key)).unwrap();
        let hash: [u8; 32] = *identity.certificate_chain().as_slice()[0].hash().as_ref();
        assert_eq!(loaded.certificate_hash(), hash);
        assert!(loaded.is_for("localhost") && !loaded.is_for("example.org") && !loaded.is_for("no host"));
    }

    /// The two dates of a certificate, as seconds since the epoch. They are next to each other in its DER form, each as
    /// `YYMMDDhhmmssZ` after the tag and the length of a `UTCTime`.
    fn validity(identity: &Identity) -> [i64; 2] {
        let der = &identity.chain[0];
        let is_time = |at: usize| der[at..].starts_with(&[0x17, 13]) && der[at + 14] == b'Z';
        let first = (0..der.len() - 30).find(|&at| is_time(at) && is_time(at + 15)).unwrap();
        [first, first + 15].map(|at| {
            let number = |from: usize| str::from_utf8(&der[from..from + 2]).unwrap().parse::<i64>().unwrap();
            let [year, month, day, hour, minute, second] = [2, 4, 6, 8, 10, 12].map(|offset| number(at + offset));
            // Days from the civil date, counted from March on so that the leap day is a year's last.
            let (year, month) = if month > 2 { (2000 + year, month - 3) } else { (1999 + year, month + 9) };
            let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
            ((days * 24 + hour) * 60 + minute) * 60 + second
        })
    }

    #[test]
    fn a_self_signed_certificate_is_dated_an_hour_back_and_lives_no_longer_than_browsers_take() {
        let seconds = || OffsetDateTime::now_utc().unix_timestamp();
        let before = seconds();
        let [begins, ends] = validity(&Identity::self_signed(&["localhost"]).unwrap());
        let after = seconds();
        assert!((before..=after).contains(&(begins + 3600)), "{begins} of {before} to {after}");
        assert_eq!(ends - begins, 14 * 24 * 3600);
    }

    #[test]
    fn a_key_may_be_in_the_older_form_of_sec_1() {
        // PKCS #8 of P-256 ends with it.
        let identity = made();
        let pkcs8 = identity.private_key().secret_der();
        let sec1 = &pkcs8[pkcs8.len() - 109..];
        let wrapped = wtransport::tls::PrivateKey::from_der_pkcs8(sec1.to_vec()).to_secret_pem();
        let key = wrapped.replace("PRIVATE KEY", "EC PRIVATE KEY");
        let at = Path::new("x");
        Identity::from_pem((at, pem(&identity).0.as_bytes()), (at, key.as_bytes())).unwrap();
    }

    #[test]
    fn unusable_files_are_named_and_never_panic() {
        let files = Files::new("unusable");
        let (certificate, key) = pem(&made());
        let (_, other_key) = pem(&made());
        let certificate = files.write("cert.pem", &certificate);
        let key = files.write("key.pem", &key);
        let missing = files.0.join("missing.pem");
        let junk = files.write("junk.pem", "junk");
        let error =
            |certificate: &Path, key: &Path| Identity::from_pem_files(certificate, key).unwrap_err().to_string();
        assert!(error(&missing, &key).contains("missing.pem"));
        assert!(error(&certificate, &junk).contains("junk.pem"));
        assert!(error(&junk, &key).contains("junk.pem"));
        let mismatched = error(&certificate, &files.write("other.pem", &other_key));
        assert!(mismatched.contains("belongs to the certificate"), "{mismatched}");
        let error = Identity::self_signed(&["\u{2764}"]).unwrap_err();
        assert!(error.to_string().contains("no host name"), "{error}");
    }
}
