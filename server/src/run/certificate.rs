//! The certificate of players' connections, and of HTTPS if enabled: from files that are read again when they change,
//! or self-signed and renewed before it expires.
//!
//! Runs in `sidereal-server` on its own thread, which checks every [`LOOK_INTERVAL`]. Shards have another certificate,
//! in the ready file, which stays the same as long as the server runs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use sidereal_process::crash;
use sidereal_transport::{Identity, LiveCertificate, SELF_SIGNED_LIFETIME};

use crate::accounts::hex;

/// Interval at which the files and the age are checked.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The present certificate of players' connections, and the next one.
#[derive(Debug)]
pub struct PlayerCertificate {
    /// The certificate of handshakes.
    pub live: LiveCertificate,
    /// Whether clients identify it by its hash, because it is self-signed; otherwise by its host name, as for web
    /// pages.
    pub is_pinned: bool,
    /// The hash of the next one, once it is made.
    next_hash: Mutex<Option<[u8; 32]>>,
    /// The number of changes of the certificate.
    pub changes: AtomicU64,
    /// The number of rejected certificate files.
    pub refusals: AtomicU64,
}

impl PlayerCertificate {
    /// Starts with `identity`.
    ///
    /// # Errors
    /// When its key cannot sign.
    pub fn new(identity: &Identity, is_pinned: bool) -> anyhow::Result<Self> {
        Ok(Self {
            live: LiveCertificate::new(identity)?,
            is_pinned,
            next_hash: Mutex::default(),
            changes: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        })
    }

    /// SHA-256 of the present certificate, in hexadecimal.
    pub fn hash(&self) -> String {
        hex::encode(&self.live.certificate_hash())
    }

    /// The hash of the present certificate, then of the next one if it is made, in hexadecimal.
    pub fn hashes(&self) -> Vec<String> {
        let next = *self.next_hash.lock().unwrap_or_else(PoisonError::into_inner);
        [Some(self.live.certificate_hash()), next].into_iter().flatten().map(|hash| hex::encode(&hash)).collect()
    }

    fn announce(&self, next: Option<[u8; 32]>) {
        *self.next_hash.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn take_over(&self, identity: &Identity) -> anyhow::Result<()> {
        self.live.replace(identity)?;
        self.announce(None);
        self.changes.fetch_add(1, Ordering::Relaxed);
        tracing::info!(certificate_hash = self.hash(), "new connections get another certificate");
        Ok(())
    }
}

/// Keeps the certificate valid. Decides only; its thread calls [`look`](Self::look).
#[derive(Debug)]
pub struct CertificateKeeper {
    certificate: Arc<PlayerCertificate>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Files(Files),
    SelfSigned(SelfSigned),
}

impl CertificateKeeper {
    /// Reads the certificate (chain) and the key of these PEM files, which must be valid for `host`.
    ///
    /// # Errors
    /// The problem with the files.
    pub fn of_files(certificate: &Path, key: &Path, host: &str) -> anyhow::Result<Self> {
        let mut files =
            Files { certificate: certificate.to_owned(), key: key.to_owned(), host: host.to_owned(), seen: [0; 32] };
        let identity = files.changed().expect("nothing was read before")?;
        Ok(Self { certificate: Arc::new(PlayerCertificate::new(&identity, false)?), source: Source::Files(files) })
    }

    /// Starts with a self-signed certificate for these names, and renews it.
    ///
    /// # Errors
    /// If a certificate cannot contain one of the names.
    pub fn self_signed(first: &Identity, names: Vec<String>) -> anyhow::Result<Self> {
        Ok(Self {
            certificate: Arc::new(PlayerCertificate::new(first, true)?),
            source: Source::SelfSigned(SelfSigned { names, age: Duration::ZERO, next: None }),
        })
    }

    /// The certificate that it keeps valid.
    pub fn certificate(&self) -> &Arc<PlayerCertificate> {
        &self.certificate
    }

    /// Reads changed files, and makes a certificate that is due. An invalid one is logged and counted once; the
    /// present one stays in use. `passed` is the time since the last check.
    pub fn look(&mut self, passed: Duration) {
        let outcome = match &mut self.source {
            Source::Files(files) => files.look(&self.certificate),
            Source::SelfSigned(own) => own.look(&self.certificate, passed),
        };
        if let Err(error) = outcome {
            self.certificate.refusals.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the next certificate is rejected, the present one stays in use: {error:#}");
        }
    }

    /// Checks every [`LOOK_INTERVAL`] on its own thread, until the returned handle is dropped.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(mut self) -> std::io::Result<KeeperThread> {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("certificate".to_owned()).spawn(move || {
            // Certificates expire by the calendar, also while a machine sleeps.
            let mut looked = SystemTime::now();
            crash::fault_point("certificate");
            while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let now = SystemTime::now();
                self.look(now.duration_since(looked).unwrap_or_default());
                looked = now;
            }
        })?;
        Ok(KeeperThread { stop: Some(stop), thread: Some(thread) })
    }
}

/// The thread of a [`CertificateKeeper`]. Dropping it ends it.
#[derive(Debug)]
pub struct KeeperThread {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for KeeperThread {
    fn drop(&mut self) {
        self.stop.take();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the certificate's thread panicked");
        }
    }
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    host: String,
    /// SHA-256 of the last contents, valid or not.
    seen: [u8; 32],
}

impl Files {
    fn look(&mut self, certificate: &PlayerCertificate) -> anyhow::Result<()> {
        match self.changed() {
            Some(identity) => certificate.take_over(&identity?),
            None => Ok(()),
        }
    }

    /// The contents of the files if they differ from the last ones. (They are a few kilobytes, so they are read
    /// completely, and file times are not trusted.)
    fn changed(&mut self) -> Option<anyhow::Result<Identity>> {
        let [certificate, key] = [&self.certificate, &self.key].map(std::fs::read);
        let mut hash = Sha256::new();
        for content in [&certificate, &key] {
            match content {
                Ok(bytes) => hash.update(Sha256::digest(bytes)),
                Err(_) => hash.update(b"unreadable"),
            }
        }
        let seen = hash.finalize().into();
        (std::mem::replace(&mut self.seen, seen) != seen).then(|| self.judge(certificate, key))
    }

    fn judge(&self, certificate: std::io::Result<Vec<u8>>, key: std::io::Result<Vec<u8>>) -> anyhow::Result<Identity> {
        let unread = |path: &Path| format!("cannot read {} (--tls-certificate, --tls-key)", path.display());
        let certificate = certificate.with_context(|| unread(&self.certificate))?;
        let key = key.with_context(|| unread(&self.key))?;
        let identity = Identity::from_pem((&self.certificate, &certificate), (&self.key, &key))?;
        if !identity.is_for(&self.host) {
            bail!(
                "the certificate in {} is not for {}: name a host of the certificate with --advertise-player-host",
                self.certificate.display(),
                self.host
            );
        }
        Ok(identity)
    }
}

/// The next self-signed certificate is made two fourteenths of the lifetime (two days) before the present one expires,
/// so that tickets contain both hashes, and replaces it after one of them.
#[derive(Debug)]
struct SelfSigned {
    names: Vec<String>,
    age: Duration,
    next: Option<Next>,
}

#[derive(Debug)]
struct Next {
    identity: Identity,
    age: Duration,
}

/// The age at which the next certificate is made.
pub const ANNOUNCE_AGE: Duration = Duration::from_secs(SELF_SIGNED_LIFETIME.as_secs() / 14 * 12);

/// The age at which the next certificate replaces it.
pub const RENEW_AGE: Duration = Duration::from_secs(SELF_SIGNED_LIFETIME.as_secs() / 14 * 13);

impl SelfSigned {
    fn look(&mut self, certificate: &PlayerCertificate, passed: Duration) -> anyhow::Result<()> {
        self.age += passed;
        if let Some(next) = &mut self.next {
            next.age += passed;
        } else if self.age >= ANNOUNCE_AGE {
            let identity = Identity::self_signed(&self.names)?;
            certificate.announce(Some(identity.certificate_hash()));
            self.next = Some(Next { identity, age: Duration::ZERO });
        }
        if self.age >= RENEW_AGE
            && let Some(next) = self.next.take()
        {
            certificate.take_over(&next.identity)?;
            self.age = next.age;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_self_signed_certificate_is_followed_by_one_that_was_announced_a_day_before() {
        let names = vec!["localhost".to_owned()];
        let first = Identity::self_signed(&names).expect("a good name");
        let mut keeper = CertificateKeeper::self_signed(&first, names).expect("a good key");
        let certificate = keeper.certificate().clone();
        let mut before = certificate.hash();
        let (mut age_h, mut told_h, mut changes) = (0, 0, 0);
        for _ in 0..24 * 60 {
            let announced = certificate.hashes().get(1).cloned();
            keeper.look(HOUR);
            age_h += 1;
            told_h += u64::from(announced.is_some());
            assert_eq!(certificate.hashes()[0], certificate.hash());
            if certificate.hash() != before {
                changes += 1;
                assert_eq!(announced, Some(certificate.hash()), "it was announced");
                assert_eq!(certificate.hashes().len(), 1, "the next one is not made so early");
                // The second one is a day old when it replaces the first.
                assert_eq!(age_h, 13 * 24);
                assert_eq!(told_h, 24);
                before = certificate.hash();
                (age_h, told_h) = (24, 0);
            }
        }
        assert_eq!(changes, 4);
        assert_eq!(certificate.changes.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_look_that_comes_late_renews_at_once() {
        let names = vec!["localhost".to_owned()];
        let first = Identity::self_signed(&names).expect("a good name");
        let mut keeper = CertificateKeeper::self_signed(&first, names).expect("a good key");
        keeper.look(RENEW_AGE * 3);
        assert_ne!(keeper.certificate().live.certificate_hash(), first.certificate_hash());
    }
}
