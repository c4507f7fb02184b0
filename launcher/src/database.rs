//! The database of a run, and the files that `--fresh` deletes.
//!
//! The launcher never opens the database: only the server does.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file name of the default database in the data folder.
const DEFAULT_FILE: &str = "world.sqlite";

/// SQLite's files beside a database file in WAL mode.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// The database of a run, as passed to the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    url: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    SqliteFile(PathBuf),
    Memory,
    Elsewhere,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The folder of the default database cannot be created.
    #[error("the data folder {} cannot be made: {source}; choose another one with --data DIR, or a database with --db", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `--fresh` for a database that is not a local file.
    #[error("--fresh only deletes a SQLite file, not {0}: empty that database yourself, or leave --fresh out")]
    NotAFile(Database),
    /// `--fresh` for a running world.
    #[error("--fresh cannot delete {}: a server runs on it; end that one, or use another file with --db", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be deleted.
    #[error("--fresh cannot delete {}: {source}", path.display())]
    Delete {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Database {
    /// The database that `--db` names. Names that the server refuses (an empty one) are left to the server.
    pub fn from_url(url: &str) -> Self {
        let path = match url.split_once("://") {
            Some(("sqlite", path)) => Some(path),
            Some(_) => None,
            // Malformed, and perhaps with a password: not a file name.
            None if url.starts_with("postgres:") || url.starts_with("postgresql:") => None,
            None => Some(url.strip_prefix("sqlite:").unwrap_or(url)),
        };
        let place = match path {
            Some(":memory:") => Place::Memory,
            // "file:" and parameters are SQLite's URIs: not plain paths, so nothing is deleted by them.
            Some(path) if !path.is_empty() && !path.contains('?') && !path.starts_with("file:") => {
                Place::SqliteFile(PathBuf::from(path))
            }
            _ => Place::Elsewhere,
        };
        Self { url: url.to_owned(), place }
    }

    /// The default database, a file in `data`, which is created if missing.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn default_in(data: &Path) -> Result<Self, DatabaseError> {
        std::fs::create_dir_all(data).map_err(|source| DatabaseError::Folder { path: data.to_owned(), source })?;
        let file = data.join(DEFAULT_FILE);
        Ok(Self { url: format!("sqlite://{}", file.display()), place: Place::SqliteFile(file) })
    }

    /// The URL for the server. It may contain a password: never print it, print the [`Database`].
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Deletes the SQLite file and its companions; returns the deleted files. Missing files are no error.
    ///
    /// # Errors
    /// It is not a SQLite file, a server runs on it, or one of the files cannot be deleted.
    pub fn delete(&self) -> Result<Vec<PathBuf>, DatabaseError> {
        let file = match &self.place {
            Place::SqliteFile(file) => file,
            Place::Memory => return Ok(Vec::new()),
            Place::Elsewhere => return Err(DatabaseError::NotAFile(self.clone())),
        };
        let beside = |suffix| {
            let mut name = file.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        // The server's lock file stays: after a deletion two servers could each hold one of that name.
        let lock = std::fs::canonicalize(file).map(|file| file.into_os_string()).and_then(|mut name| {
            name.push("-lock");
            File::open(name)
        });
        if lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
            return Err(DatabaseError::InUse { path: file.clone() });
        }
        let mut deleted = Vec::new();
        // The companions first: a log without its database would be applied to the next database of that name.
        for path in COMPANIONS.iter().map(beside).chain([file.clone()]) {
            match std::fs::remove_file(&path) {
                Ok(()) => deleted.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(DatabaseError::Delete { path, source }),
            }
        }
        Ok(deleted)
    }
}

/// Without user and password, which precede the `@` in the URL of a database server.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.url.split_once("://")) {
            (Place::SqliteFile(path), _) => write!(f, "{}", path.display()),
            (Place::Memory, _) => write!(f, "memory (nothing is kept)"),
            (Place::Elsewhere, Some((scheme, rest))) => {
                // The user ends at the first '@' before a '/'. Text that does not look like a host and a name is not
                // shown.
                let rest = match rest.find(['@', '/']) {
                    Some(at) if rest[at..].starts_with('@') => &rest[at + 1..],
                    _ => rest,
                };
                let place = rest.split('?').next().unwrap_or_default();
                let is_place = |c: char| c.is_ascii_alphanumeric() || "-._~:,[]/%".contains(c);
                if place.chars().all(is_place) {
                    write!(f, "{scheme}://{place}")
                } else {
                    write!(f, "{scheme}://(hidden)")
                }
            }
            (Place::Elsewhere, None) if self.url.contains('@') => write!(f, "(hidden)"),
            (Place::Elsewhere, None) => write!(f, "\"{}\"", self.url),
        }
    }
}

/// Like [`fmt::Display`]: the URL may contain a password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_deletes_the_database_with_its_companions_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names = ["w.sqlite", "w.sqlite-wal", "w.sqlite-shm", "w.sqlite-backup", "other.sqlite"];
        for name in names {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        let database = Database::from_url(&format!("sqlite://{}/w.sqlite", folder.path().display()));
        assert_eq!(database.delete().expect("deleted").len(), 3);
        let left = names.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, false, false, true, true]);
        assert_eq!(database.delete().expect("nothing there is fine").len(), 0);
    }

    #[test]
    fn fresh_refuses_the_database_of_a_running_server() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("w.sqlite");
        std::fs::write(&file, "x").expect("written");
        let lock = File::create(folder.path().join("w.sqlite-lock")).expect("created");
        lock.lock().expect("nobody else has it");
        let database = Database::from_url(&format!("sqlite://{}", file.display()));
        let error = database.delete().expect_err("it is in use").to_string();
        assert!(error.contains("a server runs on it") && file.exists(), "{error}");
        drop(lock);
        assert_eq!(database.delete().expect("deleted"), [file]);
    }

    #[test]
    fn fresh_refuses_every_other_database_and_shows_no_password() {
        for url in ["postgres://me:secret@db/world?sslpassword=secret", "sqlite://x.sqlite?password=secret", ""] {
            let error = Database::from_url(url).delete().expect_err("not a file").to_string();
            assert!(error.contains("--fresh") && !error.contains("secret"), "{error}");
        }
        assert!(Database::from_url(":memory:").delete().expect("always fresh").is_empty());
    }

    #[test]
    fn what_is_shown_of_a_url_is_host_and_name_at_most() {
        let shown = |url: &str| Database::from_url(url).to_string();
        assert_eq!(shown("postgres://me:secret@db:5432/world?sslmode=require"), "postgres://db:5432/world");
        assert_eq!(shown("postgres://%2Frun/world"), "postgres://%2Frun/world");
        for url in [
            "postgres://me:sec@secret@db/world",
            "postgres://db/world?password=x@secret",
            "postgres://me:sec/secret@db/world",
            "postgres://me:a?secret@db/world",
            "postgres:me:secret@db/world",
        ] {
            assert!(!format!("{} {:?}", shown(url), Database::from_url(url)).contains("secret"), "{}", shown(url));
        }
    }

    #[test]
    fn the_default_is_a_file_in_the_data_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("a/b");
        let database = Database::default_in(&data).expect("it is made");
        assert!(data.is_dir());
        assert_eq!(Database::from_url(database.url()), database);
    }
}
