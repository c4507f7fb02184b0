//! The command line of `sidereal-shard`.
//!
//! Runs in the shard, once at start.

use clap::Parser;
use sidereal_protocol::frames::messages::Credential;
use std::{fmt, net::SocketAddr, path::PathBuf};

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "give an IP address and a port, like 127.0.0.1:7778 or [::1]:7778")
}

/// Simulates the sectors that the server leases to it.
#[derive(Parser, Debug, Clone)]
#[command(name = "sidereal-shard", version)]
pub struct Arguments {
    /// The server's address for shards.
    #[arg(long, env = "SIDEREAL_SERVER", value_parser = address, default_value = "127.0.0.1:7778")]
    pub server: SocketAddr,
    /// SHA-256 of the server's certificate, 64 hexadecimal digits; the server writes it at start.
    #[arg(long, env = "SIDEREAL_CERTIFICATE_HASH")]
    pub certificate_hash: CertificateHash,
    /// The shards' secret, as the server has it, 32 bytes or more. Better given by the environment.
    #[arg(long, env = "SIDEREAL_SHARD_SECRET", hide_env_values = true)]
    pub shard_secret: Secret,
    /// This shard's name in logs.
    #[arg(long, env = "SIDEREAL_NAME", default_value = "shard")]
    pub name: String,
    /// Write a report (JSON) here at the end.
    #[arg(long, env = "SIDEREAL_REPORT")]
    pub report: Option<PathBuf>,
    /// End when standard input ends, so that the shard does not outlive its parent process.
    #[arg(long, env = "SIDEREAL_DIE_WITH_STDIN")]
    pub die_with_stdin: bool,
}

/// What [`crate::app::session::build_app`] needs.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// This shard's name in logs.
    pub name: String,
    /// The shards' secret.
    pub secret: Secret,
}

impl ShardConfig {
    /// What the shard presents when it connects.
    pub fn credential(&self) -> Credential {
        Credential { secret: self.secret.0.clone(), name: self.name.clone() }
    }
}

impl From<&Arguments> for ShardConfig {
    fn from(arguments: &Arguments) -> Self {
        Self { name: arguments.name.clone(), secret: arguments.shard_secret.clone() }
    }
}

/// The shards' secret. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl std::str::FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("it is empty: give the secret that the server was started with");
        }
        Ok(Self(text.to_owned()))
    }
}

/// SHA-256 of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateHash(pub [u8; 32]);

impl std::str::FromStr for CertificateHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim().replace(':', "");
        let count = digits.chars().count();
        if count != 64 {
            return Err(format!("it has {count} digits instead of 64"));
        }
        // This also rejects a sign, which `from_str_radix` accepts.
        if let Some(other) = digits.chars().find(|digit| !digit.is_ascii_hexdigit()) {
            return Err(format!("`{other}` is not hexadecimal"));
        }
        let mut hash = [0u8; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16)
                .map_err(|_| format!("`{}` is not hexadecimal", &digits[at..at + 2]))?;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_hash_is_read_with_or_without_colons() {
        let plain = "0f".repeat(32);
        let colons = vec!["0F"; 32].join(":");
        assert_eq!(plain.parse(), Ok(CertificateHash([15; 32])));
        assert_eq!(colons.parse(), Ok(CertificateHash([15; 32])));
        assert!("0f".parse::<CertificateHash>().is_err());
        assert!("zz".repeat(32).parse::<CertificateHash>().is_err());
        assert!("+f".repeat(32).parse::<CertificateHash>().is_err());
        assert!("é".repeat(64).parse::<CertificateHash>().is_err());
        assert!("é".repeat(32).parse::<CertificateHash>().is_err());
    }

    #[test]
    fn a_secret_is_never_printed() {
        let arguments = Arguments::try_parse_from([
            "sidereal-shard",
            "--certificate-hash",
            &"0f".repeat(32),
            "--shard-secret",
            "hunter2",
        ])
        .expect("all that is needed is there");
        assert!(!format!("{arguments:?}").contains("hunter2"));
        assert!(!format!("{:?}", ShardConfig::from(&arguments)).contains("hunter2"));
        let credential = ShardConfig::from(&arguments).credential();
        assert!(!format!("{credential:?}").contains("hunter2"));
    }
}
