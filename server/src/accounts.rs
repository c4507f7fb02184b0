//! Accounts: registration and login with a name and a password (argon2id).
//!
//! Owned by the server process and called by its HTTP thread. The `..._blocking` calls take tens of milliseconds of
//! CPU and wait for the database; the async ones run them on blocking threads, a few at a time. What a login gives its
//! owner is a ticket (`tickets`), not a session.

use std::sync::Arc;

use argon2::Params;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::db::{Account, Database, DbError};
use crate::password::Passwords;

/// The lengths of a name.
pub const NAME_CHARS: std::ops::RangeInclusive<usize> = 3..=24;

/// The lengths of a password.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;

/// Passwords that are hashed at the same time: each takes a core and 19 MiB, and the simulation needs the cores too.
const HASHES_AT_ONCE: usize = 2;

/// Logins and registrations that wait for their turn: some seconds of hashing. One more is told to come back.
const MAX_WAITING: usize = 64;

/// What a password hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl HashCost {
    /// OWASP's recommendation for argon2id.
    pub const PRODUCTION: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };

    /// As little as argon2 allows: for tests and for worlds that live on one machine for an hour.
    pub const WEAK: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };
}

/// Why an account was not made.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The name breaks the rules.
    #[error("a name has 3 to 24 characters out of a-z, A-Z, 0-9, _ and -: choose another one")]
    BadName,
    /// The password is too short or too long.
    #[error("a password has 8 to 128 characters: choose another one")]
    BadPassword,
    /// The name is taken, in whatever case.
    #[error("the name is taken: choose another one")]
    NameTaken,
    /// Too many wait for their turn.
    #[error("the server is busy: try again in a few seconds")]
    Busy,
    /// The database failed.
    #[error("the account could not be stored: try again later")]
    Database(#[source] DbError),
}

/// Why a login was refused.
#[derive(Debug, Error)]
pub enum LoginError {
    /// No such account, or another password: nobody is told which.
    #[error("the name or the password is wrong: try again, or register first")]
    WrongCredentials,
    /// Too many wait for their turn.
    #[error("the server is busy: try again in a few seconds")]
    Busy,
    /// The database failed.
    #[error("accounts cannot be read at the moment: try again later")]
    Database(#[source] DbError),
}

struct Inner {
    database: Database,
    passwords: Passwords,
    /// Checked when there is no such account, so that it takes as long as when there is one.
    dummy_hash: String,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Registration and login. Clones share the limits.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

impl Accounts {
    /// Accounts in `database`; new passwords are hashed at `cost`, old ones are checked at the cost they were hashed at.
    ///
    /// # Errors
    /// When argon2 does not allow `cost`.
    pub fn new(database: Database, cost: HashCost) -> Result<Self, argon2::Error> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None)?;
        let passwords = Passwords::new(params);
        let dummy_hash = passwords.hash("nobody has this password");
        Ok(Self {
            inner: Arc::new(Inner {
                database,
                passwords,
                dummy_hash,
                turns: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
                places: Arc::new(Semaphore::new(HASHES_AT_ONCE + MAX_WAITING)),
            }),
        })
    }

    /// Makes an account; it is stored when this returns.
    ///
    /// # Errors
    /// [`RegisterError`] tells why it was not made.
    pub fn register_blocking(&self, name: &str, password: &str) -> Result<Account, RegisterError> {
        check_new(name, password)?;
        let database = &self.inner.database;
        if database.find_account(name).map_err(RegisterError::Database)?.is_some() {
            return Err(RegisterError::NameTaken);
        }
        let hash = self.inner.passwords.hash(password);
        database.create_account(name, &hash).map_err(|error| match error {
            DbError::NameTaken => RegisterError::NameTaken,
            other => RegisterError::Database(other),
        })
    }

    /// The account with that name and password.
    ///
    /// # Errors
    /// [`LoginError`]; an unknown name and a wrong password give the same answer after the same work.
    pub fn login_blocking(&self, name: &str, password: &str) -> Result<Account, LoginError> {
        if !is_name(name) || !is_password(password) {
            // No account has these, which everybody can know.
            return Err(LoginError::WrongCredentials);
        }
        let account = self.inner.database.find_account(name).map_err(LoginError::Database)?;
        let hash = account.as_ref().map_or(&self.inner.dummy_hash, |account| &account.password_hash);
        let matches = self.inner.passwords.matches(password, hash).unwrap_or_else(|error| {
            tracing::error!(account = ?account.as_ref().map(|account| account.id), %error, "a stored password hash is damaged");
            false
        });
        account.filter(|_| matches).ok_or(LoginError::WrongCredentials)
    }

    /// [`register_blocking`](Self::register_blocking) on a blocking thread, when its turn has come.
    ///
    /// # Errors
    /// As there, and [`RegisterError::Busy`].
    pub async fn register(&self, name: String, password: String) -> Result<Account, RegisterError> {
        check_new(&name, &password)?;
        let turn = self.turn().await.ok_or(RegisterError::Busy)?;
        let accounts = self.clone();
        on_blocking_thread(turn, move || accounts.register_blocking(&name, &password))
            .await
            .unwrap_or(Err(RegisterError::Busy))
    }

    /// [`login_blocking`](Self::login_blocking) on a blocking thread, when its turn has come.
    ///
    /// # Errors
    /// As there, and [`LoginError::Busy`].
    pub async fn login(&self, name: String, password: String) -> Result<Account, LoginError> {
        let turn = self.turn().await.ok_or(LoginError::Busy)?;
        let accounts = self.clone();
        on_blocking_thread(turn, move || accounts.login_blocking(&name, &password))
            .await
            .unwrap_or(Err(LoginError::Busy))
    }

    /// Waits for a turn, if there is a place to wait.
    async fn turn(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        let place = self.inner.places.clone().try_acquire_owned().ok()?;
        let turn = self.inner.turns.clone().acquire_owned().await.ok()?;
        Some([place, turn])
    }
}

/// The turn goes with the work, which goes on when the one who asked is gone. `None` if the runtime ends or the work
/// panicked.
async fn on_blocking_thread<T: Send + 'static>(
    turn: [OwnedSemaphorePermit; 2],
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(move || {
        let outcome = work();
        drop(turn);
        outcome
    })
    .await
    .inspect_err(|error| tracing::error!(%error, "a login or a registration broke off"))
    .ok()
}

fn check_new(name: &str, password: &str) -> Result<(), RegisterError> {
    if !is_name(name) {
        return Err(RegisterError::BadName);
    }
    if !is_password(password) {
        return Err(RegisterError::BadPassword);
    }
    Ok(())
}

/// ASCII only: names that look alike are then alike.
fn is_name(name: &str) -> bool {
    NAME_CHARS.contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
}

fn is_password(password: &str) -> bool {
    PASSWORD_CHARS.contains(&password.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::PasswordHash;

    fn accounts() -> Accounts {
        Accounts::new(Database::open(":memory:").expect("memory is there"), HashCost::WEAK).expect("an allowed cost")
    }

    #[test]
    fn who_registered_can_log_in_in_whatever_case() {
        let accounts = accounts();
        let ann = accounts.register_blocking("Ann_1", "correct horse").expect("a good name");
        assert_eq!(accounts.login_blocking("ann_1", "correct horse").expect("registered").id, ann.id);
        assert!(matches!(accounts.register_blocking("ANN_1", "other horse"), Err(RegisterError::NameTaken)));
    }

    #[test]
    fn the_password_is_stored_as_argon2id_with_a_salt_of_its_own() {
        let accounts = accounts();
        let ann = accounts.register_blocking("ann", "correct horse").expect("a good name");
        let bob = accounts.register_blocking("bob", "correct horse").expect("a good name");
        assert!(ann.password_hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", ann.password_hash);
        assert_ne!(ann.password_hash, bob.password_hash);
        assert!(!format!("{ann:?}").contains("argon2id"));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_name_read_the_same() {
        let accounts = accounts();
        accounts.register_blocking("ann", "correct horse").expect("a good name");
        let wrong = accounts.login_blocking("ann", "wrong horse!").expect_err("wrong");
        let unknown = accounts.login_blocking("bob", "correct horse").expect_err("unknown");
        assert!(matches!(wrong, LoginError::WrongCredentials));
        assert_eq!(wrong.to_string(), unknown.to_string());
        let dummy = PasswordHash::new(&accounts.inner.dummy_hash).expect("a hash");
        let real = accounts.inner.database.find_account("ann").expect("memory").expect("registered").password_hash;
        let real = PasswordHash::new(&real).expect("a hash");
        assert_eq!(dummy.params, real.params, "the check of an unknown name costs as much");
    }

    #[test]
    fn names_and_passwords_keep_to_the_rules() {
        let accounts = accounts();
        for name in ["", "ab", "an n", "ann\0", "ann'--", "änn", "аnn", "../../etc", &"a".repeat(25)] {
            assert!(
                matches!(accounts.register_blocking(name, "correct horse"), Err(RegisterError::BadName)),
                "{name:?}"
            );
            assert!(matches!(accounts.login_blocking(name, "correct horse"), Err(LoginError::WrongCredentials)));
        }
        for password in ["", "1234567", &"x".repeat(129)] {
            assert!(matches!(accounts.register_blocking("ann", password), Err(RegisterError::BadPassword)));
        }
        for (name, password) in [("abc", "ünïcödé!"), ("a-b_3", "12345678"), (&*"a".repeat(24), &*"語".repeat(128))]
        {
            accounts.register_blocking(name, password).expect("within the rules");
            accounts.login_blocking(name, password).expect("registered");
        }
    }

    #[tokio::test]
    async fn past_the_waiting_places_a_login_is_told_to_come_back() {
        let accounts = accounts();
        let every_place = accounts
            .inner
            .places
            .clone()
            .acquire_many_owned((HASHES_AT_ONCE + MAX_WAITING) as u32)
            .await
            .expect("never closed");
        let login = || accounts.login("ann".to_owned(), "correct horse".to_owned());
        assert!(matches!(login().await, Err(LoginError::Busy)));
        drop(every_place);
        assert!(matches!(login().await, Err(LoginError::WrongCredentials)));
    }
}
