//! Finds the programs of the other processes beside the launcher's own, where cargo puts them.

use std::path::{Path, PathBuf};

/// Where the programs of a world are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `sidereal-server`
    pub server: PathBuf,
    /// `sidereal-shard`
    pub shard: PathBuf,
    /// `sidereal-bots`, when bots are wanted.
    pub bots: Option<PathBuf>,
    /// `sidereal-client`, when a window is wanted.
    pub client: Option<PathBuf>,
    /// `sidereal-relay`, when a network is added.
    pub relay: Option<PathBuf>,
}

/// A missing program.
#[derive(Debug, thiserror::Error)]
#[error("{} is not there: build it with `cargo build -p {package}`, or start the world with ./run-local, which does", path.display())]
pub struct MissingBinary {
    path: PathBuf,
    package: &'static str,
}

impl Binaries {
    /// The programs in `folder`; those of bots, client and relay only on request.
    ///
    /// # Errors
    /// Names the first missing one.
    pub fn in_folder(folder: &Path, bots: bool, client: bool, relay: bool) -> Result<Self, MissingBinary> {
        let find = |package: &'static str| {
            let path = folder.join(format!("{package}{}", std::env::consts::EXE_SUFFIX));
            if path.is_file() { Ok(path) } else { Err(MissingBinary { path, package }) }
        };
        Ok(Self {
            server: find("sidereal-server")?,
            shard: find("sidereal-shard")?,
            bots: bots.then(|| find("sidereal-bots")).transpose()?,
            client: client.then(|| find("sidereal-client")).transpose()?,
            relay: relay.then(|| find("sidereal-relay")).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_and_missing_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["sidereal-server", "sidereal-shard"] {
            std::fs::write(folder.path().join(format!("{name}{}", std::env::consts::EXE_SUFFIX)), "").expect("written");
        }
        assert!(Binaries::in_folder(folder.path(), false, false, false).is_ok());
        let error = Binaries::in_folder(folder.path(), true, false, false).expect_err("no bots there").to_string();
        assert!(error.contains("cargo build -p sidereal-bots"), "{error}");
    }
}
