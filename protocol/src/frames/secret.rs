//! Requirements for the shared secret of server and shards. Both check their own at start.

/// The shortest secret, bytes: fewer random bytes could be guessed. (The documented command makes 64 hexadecimal
/// digits.)
pub const MIN_SHARD_SECRET_BYTES: usize = 32;

/// The longest secret, bytes: it must fit into a credential, with the shard's name.
pub const MAX_SHARD_SECRET_BYTES: usize = 1024;

/// An unsuitable secret. It is never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShardSecretError {
    /// Under [`MIN_SHARD_SECRET_BYTES`].
    #[error(
        "the shard secret (--shard-secret) has {0} bytes, and at least {MIN_SHARD_SECRET_BYTES} keep strangers out; \
         this makes one, the same for server and shards: export SIDEREAL_SHARD_SECRET=$(head -c 32 /dev/urandom | od \
         -An -tx1 | tr -d ' \\n')"
    )]
    TooShort(usize),
    /// Over [`MAX_SHARD_SECRET_BYTES`].
    #[error("the shard secret (--shard-secret) has {0} bytes, and at most {MAX_SHARD_SECRET_BYTES} are taken")]
    TooLong(usize),
}

/// Checks a secret of server and shards. Its bytes are counted as given, so 32 hexadecimal digits, which stand for 128
/// random bits, are enough.
///
/// # Errors
/// [`ShardSecretError`].
pub fn check_shard_secret(secret: &str) -> Result<(), ShardSecretError> {
    match secret.len() {
        length @ ..MIN_SHARD_SECRET_BYTES => Err(ShardSecretError::TooShort(length)),
        MIN_SHARD_SECRET_BYTES..=MAX_SHARD_SECRET_BYTES => Ok(()),
        length => Err(ShardSecretError::TooLong(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_32_bytes_or_more_and_is_not_told_when_it_has_not() {
        assert_eq!(check_shard_secret(&"0".repeat(32)), Ok(()));
        assert_eq!(check_shard_secret(&"f".repeat(1024)), Ok(()));
        assert_eq!(check_shard_secret(&"f".repeat(1025)), Err(ShardSecretError::TooLong(1025)));
        let error = check_shard_secret("hunter2").expect_err("too short").to_string();
        assert!(error.contains("has 7 bytes") && !error.contains("hunter2"), "{error}");
        assert!(error.ends_with("$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')"), "{error}");
    }
}
