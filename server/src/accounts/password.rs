//! Password hashes: argon2id in the PHC string format, with reused memory.
//!
//! Each hash needs 19 MiB. When each call allocated its own, the allocator kept them, and the server held 150 MiB
//! after some logins. One buffer for each concurrent hash is enough.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::{Ident, Output, ParamsString, PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand::RngCore;

/// Length of a hash, bytes.
const OUTPUT_BYTES: usize = 32;

/// Hashes and checks passwords.
pub(crate) struct Passwords {
    params: Params,
    /// Unused buffers; as many as there were concurrent hashes.
    idle: Mutex<Vec<Vec<Block>>>,
    /// Blocks of memory processed, for tests and figures: the cost of the hashes, independent of the clock.
    work: AtomicU64,
}

impl Passwords {
    /// New passwords are hashed with `params`.
    pub fn new(params: Params) -> Self {
        Self { params, idle: Mutex::default(), work: AtomicU64::new(0) }
    }

    /// The PHC string for a password, with a random salt. The password must be within its limits.
    pub fn hash(&self, password: &str) -> String {
        let mut salt = [0; 16];
        rand::rng().fill_bytes(&mut salt);
        let output = self.compute(&self.params, Version::V0x13, password, &salt).expect("a password within its limits");
        let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).expect("argon2's own parameters"),
            salt: Some(salt.as_salt()),
            hash: Some(Output::new(&output).expect("32 bytes are an output")),
        };
        hash.to_string()
    }

    /// Whether `password` is the hashed one, checked at the cost in `stored`.
    ///
    /// # Errors
    /// The stored string is not an argon2id hash in this format.
    pub fn matches(&self, password: &str, stored: &str) -> Result<bool, argon2::password_hash::Error> {
        use argon2::password_hash::Error;
        let stored = PasswordHash::new(stored)?;
        if stored.algorithm != Ident::new_unwrap("argon2id") {
            return Err(Error::Algorithm);
        }
        let version = stored.version.and_then(|version| Version::try_from(version).ok()).ok_or(Error::Version)?;
        let params = Params::try_from(&stored)?;
        let mut salt = [0; 64];
        let salt = stored.salt.ok_or(Error::Password)?.decode_b64(&mut salt)?;
        let expected = stored.hash.ok_or(Error::Password)?;
        let output = self.compute(&params, version, password, salt)?;
        // `Output` compares in constant time.
        Ok(Output::new(&output)? == expected)
    }

    /// Blocks of memory (1 KiB) that all hashes so far have processed.
    pub fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    fn compute(
        &self,
        params: &Params,
        version: Version,
        password: &str,
        salt: &[u8],
    ) -> argon2::Result<[u8; OUTPUT_BYTES]> {
        let mut memory = self.take();
        memory.resize(memory.len().max(params.block_count()), Block::default());
        let mut output = [0; OUTPUT_BYTES];
        self.work.fetch_add(params.block_count() as u64 * u64::from(params.t_cost()), Ordering::Relaxed);
        let argon2 = Argon2::new(Algorithm::Argon2id, version, params.clone());
        let outcome = argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut output, &mut memory[..]);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        outcome.map(|()| output)
    }

    fn take(&self) -> Vec<Block> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}
