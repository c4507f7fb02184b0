//! Accounts: registration and login with a name and a password (argon2id), and accounts for identities of another
//! token issuer.
//!
//! Owned by the server process and called by its HTTP thread. Database calls run on blocking threads, a few at a time.
//! Hashing takes tens of milliseconds of a core and has its own threads (`hashing`). Tickets and session tokens are
//! issued elsewhere: `tickets`, `sessions`.

mod fair_queue;
mod hashing;
pub(crate) mod hex;
mod password;
pub mod rate_limit;
pub mod sessions;
mod spread;
pub mod supabase;
pub mod tickets;
pub(crate) mod turns;

use sidereal_process::log_limited;
use std::net::IpAddr;
use std::sync::Arc;

use argon2::Params;
use rand::Rng;
use thiserror::Error;

use crate::accounts::hashing::{Hashing, MAX_WAITING};
use crate::accounts::password::Passwords;
use crate::accounts::supabase::Identity;
use crate::accounts::turns::Turns;
use crate::db::{Account, Database, DbError, Made};

/// Allowed lengths of a name, characters.
pub const NAME_CHARS: std::ops::RangeInclusive<usize> = 3..=24;

/// Allowed lengths of a password, characters.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;

/// Allowed lengths of an `Idempotency-Key`, characters.
pub const KEY_CHARS: std::ops::RangeInclusive<usize> = 8..=64;

/// Maximum number of names that are tried for the account of an external identity.
const NAME_TRIES: u32 = 8;

/// Length of the random suffix, after a hyphen, that is added to a name that is taken.
const SUFFIX_CHARS: usize = 4;

/// Concurrent database calls for accounts. As many may wait as there are places for passwords.
const CALLS_AT_ONCE: usize = 2;

/// Whether new accounts can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Registration {
    /// Anybody can register.
    #[default]
    Open,
    /// Only existing accounts can log in.
    Closed,
}

/// The cost parameters of a password hash.
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

    /// The minimum that argon2 allows: for tests and for short-lived worlds on one machine.
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
    /// The registration's key is malformed.
    #[error("an Idempotency-Key has 8 to 64 visible ASCII characters: make another one, at random")]
    BadKey,
    /// The registration's key was used for something else.
    #[error("this Idempotency-Key was used with another name or password: make a new one for each registration")]
    KeyReused,
    /// The queue for hashing is full.
    #[error("the server is busy: try again in a few seconds")]
    Busy,
    /// The database failed.
    #[error("the account could not be stored: try again later")]
    Database(#[source] DbError),
}

/// Why a login was refused.
#[derive(Debug, Error)]
pub enum LoginError {
    /// No such account, or another password: the answer does not distinguish them.
    #[error("the name or the password is wrong: try again, or register first")]
    WrongCredentials,
    /// The queue for hashing is full.
    #[error("the server is busy: try again in a few seconds")]
    Busy,
    /// The database failed.
    #[error("accounts cannot be read at the moment: try again later")]
    Database(#[source] DbError),
}

struct Inner {
    database: Database,
    passwords: Passwords,
    /// Checked when there is no such account, so that both cases take the same time.
    dummy_hash: String,
    hashing: Hashing,
    storage: Turns,
}

/// Registration and login. Clones share the limits.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

impl Accounts {
    /// Accounts in `database`. New passwords are hashed at `cost`; old ones are checked at the cost they were hashed
    /// at.
    ///
    /// # Errors
    /// When argon2 does not allow `cost`, or the system cannot start the hashing threads.
    pub fn new(database: Database, cost: HashCost) -> anyhow::Result<Self> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(anyhow::Error::msg)?;
        let passwords = Passwords::new(params);
        let dummy_hash = passwords.hash("nobody has this password");
        let (hashing, storage) = (Hashing::start()?, Turns::new(CALLS_AT_ONCE, MAX_WAITING));
        Ok(Self { inner: Arc::new(Inner { database, passwords, dummy_hash, hashing, storage }) })
    }

    /// The number of passwords in the hashing queue.
    pub fn waiting(&self) -> usize {
        self.inner.hashing.waiting()
    }

    /// Memory that all hashes so far have processed, KiB: a measure of their cost.
    pub fn hashed_kib(&self) -> u64 {
        self.inner.passwords.work()
    }

    /// The account that was registered under `key` before; otherwise checks that the name is free.
    fn registered_before(&self, name: &str, key: Option<&str>) -> Result<Option<Account>, RegisterError> {
        let database = &self.inner.database;
        if let Some(key) = key
            && let Some(before) = database.registered_with(key).map_err(RegisterError::Database)?
        {
            return Ok(Some(before));
        }
        match database.find_account(name).map_err(RegisterError::Database)? {
            Some(_) => Err(RegisterError::NameTaken),
            None => Ok(None),
        }
    }

    fn make(&self, name: &str, hash: &str, key: Option<&str>) -> Result<Made, RegisterError> {
        let database = &self.inner.database;
        let made = match key {
            Some(key) => database.create_account_once(name, hash, key),
            None => database.create_account(name, hash).map(Made::New),
        };
        made.map_err(|error| match error {
            DbError::NameTaken => RegisterError::NameTaken,
            other => RegisterError::Database(other),
        })
    }

    /// Whether `password` is the account's. False without an account or without a stored password, after the same
    /// work.
    fn matches(&self, account: Option<&Account>, password: &str) -> bool {
        let Inner { passwords, dummy_hash, .. } = &*self.inner;
        let hash = account.map(|account| account.password_hash.as_str()).filter(|hash| !hash.is_empty());
        let outcome = passwords.matches(password, hash.unwrap_or(dummy_hash));
        match outcome {
            Ok(matches) => matches && hash.is_some(),
            Err(error) => {
                let account = account.map(|account| account.id);
                log_limited!(error, ?account, %error, "a stored password hash is damaged");
                let _ = passwords.matches(password, dummy_hash);
                false
            }
        }
    }

    /// The account of an external identity. It is made at the first login if `registration` is open. Returns it with
    /// whether it is new, or `None` if there is none.
    ///
    /// # Errors
    /// When the database fails, or no free name was found.
    pub fn of_identity_blocking(
        &self,
        identity: &Identity,
        registration: Registration,
    ) -> Result<Option<(Account, bool)>, DbError> {
        let database = &self.inner.database;
        if let Some(account) = database.account_of_identity(&identity.issuer, identity.subject)? {
            return Ok(Some((account, false)));
        }
        if registration == Registration::Closed {
            return Ok(None);
        }
        let base = clean_name(identity.wished_name.as_deref().unwrap_or_default());
        let mut tries = 0;
        loop {
            let name = if tries == 0 { base.clone() } else { with_suffix(&base) };
            match database.create_account_of_identity(&name, &identity.issuer, identity.subject) {
                Ok(Made::New(account)) => return Ok(Some((account, true))),
                Ok(Made::Before(account)) => return Ok(Some((account, false))),
                Err(DbError::NameTaken) if tries < NAME_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes an account; it is stored when the future completes. With a `key`, repeating the registration within a day
    /// returns the same account. Hashing is fair between networks; `from` is the caller's.
    ///
    /// # Errors
    /// [`RegisterError`] says why it was not made.
    pub async fn register(
        &self,
        from: IpAddr,
        name: String,
        password: String,
        key: Option<String>,
    ) -> Result<Account, RegisterError> {
        check_new(&name, &password, key.as_deref())?;
        let (accounts, look_for, under) = (self.clone(), name.clone(), key.clone());
        let before = self.stored(move || accounts.registered_before(&look_for, under.as_deref())).await;
        let made = match before.unwrap_or(Err(RegisterError::Busy))? {
            Some(before) => Made::Before(before),
            None => {
                let (accounts, to_hash) = (self.clone(), password.clone());
                let hash = self.hashed(from, move || accounts.inner.passwords.hash(&to_hash)).await;
                let hash = hash.ok_or(RegisterError::Busy)?;
                let (accounts, name) = (self.clone(), name.clone());
                let made = self.stored(move || accounts.make(&name, &hash, key.as_deref())).await;
                made.unwrap_or(Err(RegisterError::Busy))?
            }
        };
        match made {
            Made::New(account) => Ok(account),
            Made::Before(account) => {
                let (accounts, of) = (self.clone(), account.clone());
                let matches = self.hashed(from, move || accounts.matches(Some(&of), &password)).await;
                same_registration(matches.ok_or(RegisterError::Busy)?, account, &name)
            }
        }
    }

    /// The account with that name and password. Hashing is fair between networks; `from` is the caller's.
    ///
    /// # Errors
    /// [`LoginError`]; an unknown name and a wrong password give the same answer after the same work.
    pub async fn login(&self, from: IpAddr, name: String, password: String) -> Result<Account, LoginError> {
        if !is_name(&name) || !is_password(&password) {
            // No account has these, and the rules are public.
            return Err(LoginError::WrongCredentials);
        }
        let accounts = self.clone();
        let found = self.stored(move || accounts.inner.database.find_account(&name)).await;
        let account = found.ok_or(LoginError::Busy)?.map_err(LoginError::Database)?;
        let (accounts, of) = (self.clone(), account.clone());
        let matches = self.hashed(from, move || accounts.matches(of.as_ref(), &password)).await;
        let matches = matches.ok_or(LoginError::Busy)?;
        account.filter(|_| matches).ok_or(LoginError::WrongCredentials)
    }

    async fn stored<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.inner.storage.run(call).await
    }

    async fn hashed<T: Send + 'static>(&self, from: IpAddr, hash: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.inner.hashing.run(from, hash).await
    }
}

/// The account registered before under a key, if it matches this registration.
fn same_registration(matches: bool, before: Account, name: &str) -> Result<Account, RegisterError> {
    if before.name == name && matches { Ok(before) } else { Err(RegisterError::KeyReused) }
}

/// Checks name, password and key of a registration against the rules.
pub(crate) fn check_new(name: &str, password: &str, key: Option<&str>) -> Result<(), RegisterError> {
    if !is_name(name) {
        return Err(RegisterError::BadName);
    }
    if !is_password(password) {
        return Err(RegisterError::BadPassword);
    }
    if key.is_some_and(|key| !KEY_CHARS.contains(&key.len()) || !key.bytes().all(|c| c.is_ascii_graphic())) {
        return Err(RegisterError::BadKey);
    }
    Ok(())
}

/// A valid name close to `wish`: other characters become one hyphen, and a result that is too short becomes `pilot`.
fn clean_name(wish: &str) -> String {
    let mut name = String::new();
    for c in wish.chars() {
        if name.len() == *NAME_CHARS.end() {
            break;
        }
        if c.is_ascii_alphanumeric() || c == '_' {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    if NAME_CHARS.contains(&name.len()) { name.to_owned() } else { "pilot".to_owned() }
}

fn with_suffix(base: &str) -> String {
    // Without characters that look alike.
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let kept = base.len().min(*NAME_CHARS.end() - SUFFIX_CHARS - 1);
    let mut random = rand::rng();
    let suffix = (0..SUFFIX_CHARS).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]));
    format!("{}-{}", base[..kept].trim_end_matches('-'), suffix.collect::<String>())
}

/// ASCII only, so that names which look alike are equal.
pub(crate) fn is_name(name: &str) -> bool {
    NAME_CHARS.contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
}

fn is_password(password: &str) -> bool {
    PASSWORD_CHARS.contains(&password.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::PasswordHash;

    impl Accounts {
        fn wait<T>(outcome: impl Future<Output = T>) -> T {
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(outcome)
        }

        fn register_blocking(&self, name: &str, password: &str, key: Option<&str>) -> Result<Account, RegisterError> {
            let from = [192, 0, 2, 1].into();
            Self::wait(self.register(from, name.to_owned(), password.to_owned(), key.map(str::to_owned)))
        }

        fn login_blocking(&self, name: &str, password: &str) -> Result<Account, LoginError> {
            Self::wait(self.login([192, 0, 2, 1].into(), name.to_owned(), password.to_owned()))
        }
    }

    fn accounts() -> Accounts {
        Accounts::new(Database::open(":memory:").expect("memory is there"), HashCost::WEAK).expect("an allowed cost")
    }

    #[test]
    fn who_registered_can_log_in_in_whatever_case() {
        let accounts = accounts();
        let ann = accounts.register_blocking("Ann_1", "correct horse", None).expect("a good name");
        assert_eq!(accounts.login_blocking("ann_1", "correct horse").expect("registered").id, ann.id);
        assert!(matches!(accounts.register_blocking("ANN_1", "other horse", None), Err(RegisterError::NameTaken)));
    }

    #[test]
    fn the_password_is_stored_as_argon2id_with_a_salt_of_its_own() {
        let accounts = accounts();
        let ann = accounts.register_blocking("ann", "correct horse", None).expect("a good name");
        let bob = accounts.register_blocking("bob", "correct horse", None).expect("a good name");
        assert!(ann.password_hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", ann.password_hash);
        assert_ne!(ann.password_hash, bob.password_hash);
        assert!(!format!("{ann:?}").contains("argon2id"));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_name_read_the_same() {
        let accounts = accounts();
        accounts.register_blocking("ann", "correct horse", None).expect("a good name");
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
                matches!(accounts.register_blocking(name, "correct horse", None), Err(RegisterError::BadName)),
                "{name:?}"
            );
            assert!(matches!(accounts.login_blocking(name, "correct horse"), Err(LoginError::WrongCredentials)));
        }
        for password in ["", "1234567", &"x".repeat(129)] {
            assert!(matches!(accounts.register_blocking("ann", password, None), Err(RegisterError::BadPassword)));
        }
        for (name, password) in [("abc", "ünïcödé!"), ("a-b_3", "12345678"), (&*"a".repeat(24), &*"語".repeat(128))]
        {
            accounts.register_blocking(name, password, None).expect("within the rules");
            accounts.login_blocking(name, password).expect("registered");
        }
    }

    #[test]
    fn a_registration_that_is_sent_again_with_its_key_gives_the_same_account() {
        let accounts = accounts();
        let register = |name: &str, password: &str, key: Option<&str>| accounts.register_blocking(name, password, key);
        let ann = register("ann", "correct horse", Some("key-of-ann")).expect("a good name");
        assert_eq!(register("ann", "correct horse", Some("key-of-ann")).expect("again").id, ann.id);
        for (name, password) in [("bob", "correct horse"), ("ann", "another horse"), ("Ann", "correct horse")] {
            let again = register(name, password, Some("key-of-ann"));
            assert!(matches!(again, Err(RegisterError::KeyReused)), "{name} {password}");
        }
        assert!(accounts.inner.database.find_account("bob").expect("memory").is_none());
        assert!(matches!(register("ann", "correct horse", Some("another-key")), Err(RegisterError::NameTaken)));
        assert!(matches!(register("ann", "correct horse", None), Err(RegisterError::NameTaken)));
        register("bob", "correct horse", Some("another-key")).expect("a key of a registration that failed is free");
        for key in ["", "seven77", "with space", "ümläut-key", "tab\there", &"k".repeat(65)] {
            assert!(matches!(register("cyd", "correct horse", Some(key)), Err(RegisterError::BadKey)), "{key:?}");
        }
        for key in ["eight888", &"~".repeat(64)] {
            register(&format!("cyd{}", key.len()), "correct horse", Some(key)).expect("within the rules");
        }
    }

    #[test]
    fn every_login_that_is_refused_costs_the_same_work() {
        let accounts = accounts();
        accounts.register_blocking("ann", "correct horse", None).expect("a good name");
        let database = &accounts.inner.database;
        database.create_account("damaged", "$argon2id$what").expect("a new name");
        database.create_account_of_identity("external", "https://a", uuid::Uuid::from_u128(1)).expect("a new name");
        let work_of = |name: &str| {
            let before = accounts.inner.passwords.work();
            let refused = accounts.login_blocking(name, "wrong horse!").expect_err("wrong");
            assert!(matches!(refused, LoginError::WrongCredentials), "{name}");
            accounts.inner.passwords.work() - before
        };
        let wrong = work_of("ann");
        assert!(wrong > 0);
        for name in ["nobody", "external", "damaged"] {
            assert_eq!(work_of(name), wrong, "{name}");
        }
        // The empty hash of an account without a password matches no password.
        let nothing = accounts.login_blocking("external", "nobody has this password");
        assert!(matches!(nothing, Err(LoginError::WrongCredentials)));
    }

    #[test]
    fn somebody_whom_another_issuer_knows_has_one_account_under_a_name_within_the_rules() {
        let accounts = accounts();
        let identity = |subject: u128, wish: Option<&str>| Identity {
            issuer: "https://a".to_owned(),
            subject: uuid::Uuid::from_u128(subject),
            wished_name: wish.map(str::to_owned),
        };
        let find =
            |identity: &Identity, registration| accounts.of_identity_blocking(identity, registration).expect("memory");
        let account = |identity: &Identity| find(identity, Registration::Open).expect("made");
        let (ann, is_new) = account(&identity(1, Some("Ann Ønly!")));
        assert_eq!((ann.name.as_str(), is_new), ("Ann-nly", true));
        let (again, is_new) = account(&identity(1, Some("another wish")));
        assert_eq!((&again, is_new), (&ann, false));
        assert_eq!(find(&identity(1, None), Registration::Closed), Some((ann, false)), "an existing account logs in");
        assert_eq!(find(&identity(77, None), Registration::Closed), None);
        let mut names = std::collections::HashSet::new();
        let long = "x".repeat(500);
        let wishes =
            ["ann-nly", "Ann-nly", "", "語", "a", "../../etc/passwd", &long, &long, "\\0'; DROP TABLE accounts; --"];
        for (subject, wish) in (2..).zip(wishes.into_iter().map(Some).chain([None])) {
            let (account, is_new) = account(&identity(subject, wish));
            assert!(is_new && is_name(&account.name), "{wish:?}: {}", account.name);
            assert!(names.insert(account.name.to_ascii_lowercase()), "{}", account.name);
        }
    }
}
