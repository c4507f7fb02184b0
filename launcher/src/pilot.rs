//! The account of the player at this machine, so that the window opens without a login and in the same ship again.
//!
//! Stored in the data folder, with a random password: a known one would give everyone access when the same database is
//! later served to others.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The file in the data folder, readable by its owner only.
const FILE: &str = "pilot.json";

/// The longest wait for one answer of the local server.
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);

/// A name and its password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pilot {
    /// The account's name.
    pub user: String,
    /// Its password. Never printed.
    pub password: String,
}

/// Why the local player has no account.
#[derive(Debug, thiserror::Error)]
pub enum PilotError {
    /// The file exists and cannot be used, or cannot be created.
    #[error("the local pilot's account cannot be kept in {}: {source}; repair or delete that file", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The server refused the registration.
    #[error("the local pilot's account could not be registered: {0}")]
    Register(String),
}

impl Pilot {
    /// The account stored in `data`, created the first time.
    ///
    /// # Errors
    /// The file cannot be read, parsed or written.
    pub fn load_or_make(data: &Path) -> Result<Self, PilotError> {
        let path = data.join(FILE);
        let found = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(data, &path),
            Err(error) => Err(error),
        };
        found.map_err(|source| PilotError::File { path, source })
    }

    fn make(data: &Path, path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(data)?;
        let pilot = Self { user: "pilot".into(), password: uuid::Uuid::new_v4().simple().to_string() };
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(serde_json::to_string_pretty(&pilot)?.as_bytes())?;
        Ok(pilot)
    }

    /// Registers the account with the server at `http_url`. It is no error if it exists already, or if the server
    /// accepts no registrations: the client's login shows whether it exists with this password.
    ///
    /// # Errors
    /// The server does not answer, or answers otherwise.
    pub fn register(&self, http_url: &str) -> Result<(), PilotError> {
        let failed = |error: ureq::Error| PilotError::Register(error.to_string());
        let mut answer =
            agent(HTTP_TIMEOUT).post(format!("{http_url}/api/register")).send_json(self).map_err(failed)?;
        match answer.status().as_u16() {
            201 | 403 | 409 => Ok(()),
            status => {
                let said = answer.body_mut().read_to_string().unwrap_or_default();
                Err(PilotError::Register(format!("HTTP status {status}: {}", said.trim())))
            }
        }
    }
}

/// For the server on this machine: any status is an answer, and no proxy is used.
pub(crate) fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.timeout_global(Some(timeout)).http_status_as_error(false).proxy(None).build().new_agent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_made_once_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let made = Pilot::load_or_make(&data).expect("it is made");
        assert!(made == Pilot::load_or_make(&data).expect("it is found"));
        assert!(made.password.len() >= 32);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(data.join(FILE)).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    /// A server that answers one request with `status` and a body.
    fn answer_once(status: &'static str) -> String {
        use std::io::{BufRead, BufReader, Read};
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("some port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            // The whole request is read: closing earlier would cut off the answer.
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            let mut body_bytes = 0;
            for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    body_bytes = length.trim().parse().expect("a length");
                }
            }
            let sent: Pilot = serde_json::from_reader(reader.take(body_bytes)).expect("name and password");
            assert_eq!(sent.user, "pilot");
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 7\r\nconnection: close\r\n\r\nbecause");
        });
        url
    }

    #[test]
    fn an_account_that_is_there_already_is_fine_a_refusal_is_told() {
        let pilot = Pilot { user: "pilot".into(), password: "never shown".into() };
        for status in ["201 Created", "403 Forbidden", "409 Conflict"] {
            assert!(pilot.register(&answer_once(status)).is_ok(), "{status}");
        }
        let refused = pilot.register(&answer_once("503 Service Unavailable")).expect_err("refused").to_string();
        assert!(
            refused.contains("503") && refused.contains("because") && !refused.contains("never shown"),
            "{refused}"
        );
        assert!(pilot.register("http://127.0.0.1:1").is_err(), "nobody listens on port 1");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named_and_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(FILE), "{").expect("written");
        let Err(error) = Pilot::load_or_make(folder.path()) else { panic!("half a file was taken") };
        assert!(error.to_string().contains(FILE), "{error}");
        assert_eq!(std::fs::read(folder.path().join(FILE)).expect("still there"), b"{");
    }
}
