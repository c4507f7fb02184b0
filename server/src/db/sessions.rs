//! The stored rows of sessions, registration keys and external identities. Plain queries; `crate::accounts::sessions`
//! defines tokens and their validity.

use diesel::dsl::max;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use uuid::Uuid;

use crate::db::backend::conn::{Conn, with_conn};
use crate::db::database::{ACCOUNT_COLUMNS, Account, Database, insert_account, uuid_from};
use crate::db::error::DbError;
use crate::db::tables::schema::{accounts, identities, registrations, session_tokens, sessions};
use crate::db::tables::text;

/// How long a registration key is kept, ms: a day, longer than any client retries.
pub(crate) const REGISTRATION_KEY_LIFETIME_MS: i64 = 24 * 3_600_000;

/// SHA-256 of a session token.
pub type TokenHash = [u8; 32];

/// A stored token with its session and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// Its session.
    pub session_id: Uuid,
    /// The session's account.
    pub account_id: Uuid,
    /// The account's name.
    pub account_name: String,
    /// When the session began, unix ms.
    pub created_at: i64,
    /// When the session ends if it is not used, unix ms.
    pub expires_at: i64,
    /// When a later token was first used in its place, unix ms.
    pub rotated_at: Option<i64>,
    /// Whether earlier tokens of the session are valid until this one is used.
    pub has_predecessors: bool,
}

/// Limits of an account's sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionBounds {
    /// Maximum sessions of an account; the oldest end beyond it.
    pub sessions_per_account: i64,
    /// Maximum tokens of a session; the oldest are removed beyond it.
    pub tokens_per_session: i64,
}

/// An account, and whether it existed under the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is new.
    New(Account),
    /// It was made before, with the same key or for the same identity.
    Before(Account),
}

impl Database {
    /// Starts a session of an account with its first token.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_session(
        &self,
        account: Uuid,
        token: &TokenHash,
        now_ms: i64,
        expires_ms: i64,
        bounds: SessionBounds,
    ) -> Result<Uuid, DbError> {
        let id = Uuid::now_v7();
        self.write_transaction(|conn| {
            // Times and ids may tie or go back with the clock: the pair orders all.
            let oldest = sessions::table
                .filter(sessions::account_id.eq(account.as_bytes().as_slice()))
                .order((sessions::created_at.desc(), sessions::id.desc()))
                .offset(bounds.sessions_per_account.saturating_sub(1))
                .limit(bounds.sessions_per_account)
                .select(sessions::id);
            let oldest: Vec<Vec<u8>> = with_conn!(conn, |c| oldest.load(c))?;
            delete_sessions(conn, &oldest)?;
            let insert = diesel::insert_into(sessions::table).values((
                sessions::id.eq(id.as_bytes().as_slice()),
                sessions::account_id.eq(account.as_bytes().as_slice()),
                sessions::created_at.eq(now_ms),
                sessions::expires_at.eq(expires_ms),
            ));
            with_conn!(conn, |c| insert.execute(c))?;
            insert_token(conn, id, token, now_ms)?;
            Ok(id)
        })
    }

    /// The token with that hash.
    ///
    /// # Errors
    /// When the database fails.
    pub fn session_token(&self, token: &TokenHash) -> Result<Option<StoredToken>, DbError> {
        self.with(|conn| find_token(conn, token))
    }

    /// Adds a token to a session. Earlier ones stay valid until it is used, see
    /// [`retire_predecessors`](Self::retire_predecessors). False if the session has ended meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub fn rotate_token(
        &self,
        session: Uuid,
        next: &TokenHash,
        now_ms: i64,
        expires_ms: i64,
        bounds: SessionBounds,
    ) -> Result<bool, DbError> {
        self.write_transaction(|conn| {
            // First, so that two rotations of a session are serialized, whatever the backend locks.
            if extend(conn, session, expires_ms)? == 0 {
                return Ok(false);
            }
            let of_session = session_tokens::session_id.eq(session.as_bytes().as_slice());
            // Later than all before, even if the clock was set back: it orders them.
            let newest = session_tokens::table.filter(of_session).select(max(session_tokens::issued_at));
            let newest: Option<i64> = with_conn!(conn, |c| newest.first(c))?;
            let issued_at = now_ms.max(newest.map_or(i64::MIN, |newest| newest.saturating_add(1)));
            let oldest = session_tokens::table
                .filter(of_session)
                .order((session_tokens::issued_at.desc(), session_tokens::token_hash.desc()))
                .offset(bounds.tokens_per_session.saturating_sub(1))
                .limit(bounds.tokens_per_session)
                .select(session_tokens::token_hash);
            let oldest: Vec<Vec<u8>> = with_conn!(conn, |c| oldest.load(c))?;
            let delete = diesel::delete(session_tokens::table.filter(session_tokens::token_hash.eq_any(oldest)));
            with_conn!(conn, |c| delete.execute(c))?;
            insert_token(conn, session, next, issued_at)?;
            Ok(true)
        })
    }

    /// The first use of a session's token: earlier tokens count as rotated from now on.
    ///
    /// # Errors
    /// When the database fails.
    pub fn retire_predecessors(&self, session: Uuid, token: &TokenHash, now_ms: i64) -> Result<(), DbError> {
        self.write_transaction(|conn| {
            let own = session_tokens::table.find(token.as_slice()).select(session_tokens::issued_at);
            let own: Option<i64> = with_conn!(conn, |c| own.first(c)).optional()?;
            let Some(issued_at) = own else { return Ok(()) };
            let before = session_tokens::table
                .filter(session_tokens::session_id.eq(session.as_bytes().as_slice()))
                .filter(session_tokens::rotated_at.is_null())
                .filter(session_tokens::issued_at.lt(issued_at));
            let update = diesel::update(before).set(session_tokens::rotated_at.eq(now_ms));
            with_conn!(conn, |c| update.execute(c))?;
            Ok(())
        })
    }

    /// Extends a session. False if it has ended meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub fn extend_session(&self, session: Uuid, expires_ms: i64) -> Result<bool, DbError> {
        self.write_transaction(|conn| Ok(extend(conn, session, expires_ms)? > 0))
    }

    /// Ends a session: its tokens become unknown. False if it had ended already.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_session(&self, session: Uuid) -> Result<bool, DbError> {
        let id = [session.as_bytes().to_vec()];
        self.write_transaction(|conn| Ok(delete_sessions(conn, &id)? > 0))
    }

    /// Removes at most `limit` sessions that ended before `now_ms`, and as many registration keys from before
    /// `keys_before_ms`. Returns the number of removed rows.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sweep_sessions(&self, now_ms: i64, keys_before_ms: i64, limit: i64) -> Result<usize, DbError> {
        self.write_transaction(|conn| {
            let ended = sessions::table
                .filter(sessions::expires_at.le(now_ms))
                .order(sessions::expires_at)
                .limit(limit)
                .select(sessions::id);
            let ended: Vec<Vec<u8>> = with_conn!(conn, |c| ended.load(c))?;
            let old = registrations::table
                .filter(registrations::created_at.lt(keys_before_ms))
                .order(registrations::created_at)
                .limit(limit)
                .select(registrations::idempotency_key);
            let old: Vec<String> = with_conn!(conn, |c| old.load(c))?;
            let keys = diesel::delete(registrations::table.filter(registrations::idempotency_key.eq_any(old)));
            Ok(delete_sessions(conn, &ended)? + with_conn!(conn, |c| keys.execute(c))?)
        })
    }

    /// The account that was registered with that key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn registered_with(&self, key: &str) -> Result<Option<Account>, DbError> {
        self.with(|conn| find_registration(conn, key))
    }

    /// Makes an account and stores the registration key with it, in one transaction. Under a known key it makes none
    /// and returns the existing account, which the caller compares.
    ///
    /// # Errors
    /// [`DbError::NameTaken`], or when the database fails.
    pub fn create_account_once(&self, name: &str, password_hash: &str, key: &str) -> Result<Made, DbError> {
        text::check_indexed("idempotency key", key)?;
        let account = Account::without_ship(name, password_hash);
        let made = self.write_transaction(|conn| {
            if let Some(before) = find_registration(conn, key)? {
                return Ok(Made::Before(before));
            }
            let now_ms = insert_account(conn, &account)?;
            let insert = diesel::insert_into(registrations::table).values((
                registrations::idempotency_key.eq(key),
                registrations::account_id.eq(account.id.as_bytes().as_slice()),
                registrations::created_at.eq(now_ms),
            ));
            with_conn!(conn, |c| insert.execute(c))?;
            Ok(Made::New(account))
        });
        // Two concurrent calls with the same key: where writers do not wait for each other, the second one violates a
        // unique index.
        match made {
            Err(error) if is_taken(&error) => self.registered_with(key)?.map(Made::Before).ok_or(DbError::NameTaken),
            other => other,
        }
    }

    /// The account of the external identity `subject` of `issuer`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn account_of_identity(&self, issuer: &str, subject: Uuid) -> Result<Option<Account>, DbError> {
        self.with(|conn| find_identity(conn, issuer, subject))
    }

    /// Makes an account without a password for the external identity `subject` of `issuer`.
    ///
    /// # Errors
    /// [`DbError::NameTaken`], or when the database fails.
    pub fn create_account_of_identity(&self, name: &str, issuer: &str, subject: Uuid) -> Result<Made, DbError> {
        text::check_indexed("issuer", issuer)?;
        let account = Account::without_ship(name, "");
        let made = self.write_transaction(|conn| {
            if let Some(before) = find_identity(conn, issuer, subject)? {
                return Ok(Made::Before(before));
            }
            let now_ms = insert_account(conn, &account)?;
            let insert = diesel::insert_into(identities::table).values((
                identities::issuer.eq(issuer),
                identities::subject.eq(subject.as_bytes().as_slice()),
                identities::account_id.eq(account.id.as_bytes().as_slice()),
                identities::created_at.eq(now_ms),
            ));
            with_conn!(conn, |c| insert.execute(c))?;
            Ok(Made::New(account))
        });
        match made {
            Err(error) if is_taken(&error) => {
                self.account_of_identity(issuer, subject)?.map(Made::Before).ok_or(DbError::NameTaken)
            }
            other => other,
        }
    }
}

fn is_taken(error: &DbError) -> bool {
    matches!(
        error,
        DbError::NameTaken | DbError::Statement(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
    )
}

fn insert_token(conn: &mut Conn<'_>, session: Uuid, token: &TokenHash, now_ms: i64) -> QueryResult<()> {
    let insert = diesel::insert_into(session_tokens::table).values((
        session_tokens::token_hash.eq(token.as_slice()),
        session_tokens::session_id.eq(session.as_bytes().as_slice()),
        session_tokens::issued_at.eq(now_ms),
    ));
    with_conn!(conn, |c| insert.execute(c))?;
    Ok(())
}

fn find_token(conn: &mut Conn<'_>, token: &TokenHash) -> Result<Option<StoredToken>, DbError> {
    let query = session_tokens::table
        .inner_join(sessions::table.on(sessions::id.eq(session_tokens::session_id)))
        .inner_join(accounts::table.on(accounts::id.eq(sessions::account_id)))
        .filter(session_tokens::token_hash.eq(token.as_slice()))
        .select((
            (sessions::id, accounts::id, accounts::name),
            (sessions::created_at, sessions::expires_at),
            (session_tokens::issued_at, session_tokens::rotated_at),
        ));
    type Row = ((Vec<u8>, Vec<u8>, String), (i64, i64), (i64, Option<i64>));
    let row: Option<Row> = with_conn!(conn, |c| query.first(c)).optional()?;
    let Some(((session, account, account_name), (created_at, expires_at), (issued_at, rotated_at))) = row else {
        return Ok(None);
    };
    let before = session_tokens::table
        .filter(session_tokens::session_id.eq(&session))
        .filter(session_tokens::rotated_at.is_null())
        .filter(session_tokens::issued_at.lt(issued_at))
        .count();
    let before: i64 = with_conn!(conn, |c| before.get_result(c))?;
    Ok(Some(StoredToken {
        session_id: uuid_from(&session, "session id")?,
        account_id: uuid_from(&account, "account id")?,
        account_name,
        created_at,
        expires_at,
        rotated_at,
        has_predecessors: before > 0,
    }))
}

fn extend(conn: &mut Conn<'_>, session: Uuid, expires_ms: i64) -> QueryResult<usize> {
    let session = sessions::table.filter(sessions::id.eq(session.as_bytes().as_slice()));
    let update = diesel::update(session).set(sessions::expires_at.eq(expires_ms));
    with_conn!(conn, |c| update.execute(c))
}

fn delete_sessions(conn: &mut Conn<'_>, ids: &[Vec<u8>]) -> QueryResult<usize> {
    if ids.is_empty() {
        return Ok(0);
    }
    let tokens = diesel::delete(session_tokens::table.filter(session_tokens::session_id.eq_any(ids)));
    with_conn!(conn, |c| tokens.execute(c))?;
    let sessions = diesel::delete(sessions::table.filter(sessions::id.eq_any(ids)));
    with_conn!(conn, |c| sessions.execute(c))
}

fn find_registration(conn: &mut Conn<'_>, key: &str) -> Result<Option<Account>, DbError> {
    let query = registrations::table
        .inner_join(accounts::table.on(accounts::id.eq(registrations::account_id)))
        .filter(registrations::idempotency_key.eq(key))
        .select(ACCOUNT_COLUMNS);
    let row = with_conn!(conn, |c| query.first(c)).optional()?;
    row.map(Account::from_row).transpose()
}

fn find_identity(conn: &mut Conn<'_>, issuer: &str, subject: Uuid) -> Result<Option<Account>, DbError> {
    let query = identities::table
        .inner_join(accounts::table.on(accounts::id.eq(identities::account_id)))
        .filter(identities::issuer.eq(issuer).and(identities::subject.eq(subject.as_bytes().as_slice())))
        .select(ACCOUNT_COLUMNS);
    let row = with_conn!(conn, |c| query.first(c)).optional()?;
    row.map(Account::from_row).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: SessionBounds = SessionBounds { sessions_per_account: 3, tokens_per_session: 4 };

    fn database() -> (Database, Uuid) {
        let database = Database::open(":memory:").expect("memory is there");
        let account = database.create_account("ann", "hash").expect("a new name");
        (database, account.id)
    }

    fn hash(number: u8) -> TokenHash {
        [number; 32]
    }

    fn known(database: &Database, numbers: std::ops::Range<u8>) -> Vec<u8> {
        numbers.filter(|number| database.session_token(&hash(*number)).expect("readable").is_some()).collect()
    }

    #[test]
    fn of_an_accounts_sessions_the_newest_are_kept() {
        let (database, ann) = database();
        let other = database.create_account("bob", "hash").expect("a new name").id;
        database.begin_session(other, &hash(99), 0, 1_000, BOUNDS).expect("stored");
        for number in 0..6 {
            database.begin_session(ann, &hash(number), i64::from(number), 1_000, BOUNDS).expect("stored");
        }
        assert_eq!(known(&database, 0..100), [3, 4, 5, 99]);
    }

    #[test]
    fn of_a_sessions_tokens_the_newest_are_kept_and_one_is_present() {
        let (database, ann) = database();
        let session = database.begin_session(ann, &hash(0), 0, 1_000, BOUNDS).expect("stored");
        for number in 1..8 {
            let now = i64::from(number);
            // The order is that of the calls, even if the clock goes back.
            assert!(database.rotate_token(session, &hash(number), -now, 1_000 + now, BOUNDS).expect("stored"));
        }
        assert_eq!(known(&database, 0..8), [4, 5, 6, 7]);
        let token = |number| database.session_token(&hash(number)).expect("readable").expect("kept");
        let rotated = || [4, 5, 6, 7].map(|number| token(number).rotated_at);
        assert_eq!(rotated(), [None; 4], "none was used yet");
        assert_eq!([4, 5].map(|number| token(number).has_predecessors), [false, true]);
        database.retire_predecessors(session, &hash(6), 20).expect("stored");
        database.retire_predecessors(session, &hash(7), 30).expect("stored");
        database.retire_predecessors(session, &hash(5), 40).expect("stored");
        assert_eq!(rotated(), [Some(20), Some(20), Some(30), None]);
        assert!(!token(7).has_predecessors);
        assert_eq!((token(7).created_at, token(7).expires_at), (0, 1_007));
        assert!(database.end_session(session).expect("stored"));
        assert!(!database.end_session(session).expect("stored"));
        assert!(!database.rotate_token(session, &hash(9), 9, 9, BOUNDS).expect("stored"), "it has ended");
        assert!(!database.extend_session(session, 9).expect("stored"), "it has ended");
        assert!(known(&database, 0..10).is_empty());
    }

    #[test]
    fn a_sweep_removes_what_is_over_and_not_more_than_it_was_told() {
        let (database, ann) = database();
        let bounds = SessionBounds { sessions_per_account: 100, ..BOUNDS };
        for number in 0..10 {
            database.begin_session(ann, &hash(number), 0, i64::from(number), bounds).expect("stored");
        }
        database.create_account_once("bob", "hash", "key of bob").expect("stored");
        assert_eq!(database.sweep_sessions(5, 0, 4).expect("swept"), 4);
        assert_eq!(known(&database, 0..10), [4, 5, 6, 7, 8, 9]);
        assert_eq!(database.sweep_sessions(5, 0, 100).expect("swept"), 2);
        assert_eq!(database.sweep_sessions(5, 0, 100).expect("swept"), 0);
        assert!(database.registered_with("key of bob").expect("readable").is_some());
        assert_eq!(database.sweep_sessions(0, i64::MAX, 100).expect("swept"), 1);
        assert!(database.registered_with("key of bob").expect("readable").is_none());
        assert!(database.find_account("bob").expect("readable").is_some(), "the account stays");
    }

    #[test]
    fn a_key_and_an_identity_make_one_account() {
        let (database, _) = database();
        let Made::New(bob) = database.create_account_once("bob", "hash", "key of bob").expect("stored") else {
            panic!("it is new")
        };
        let again = database.create_account_once("bobby", "other", "key of bob").expect("stored");
        assert_eq!(again, Made::Before(bob));
        assert!(database.find_account("bobby").expect("readable").is_none());
        let taken = database.create_account_once("BOB", "hash", "another key").expect_err("taken");
        assert!(matches!(taken, DbError::NameTaken));
        assert!(database.registered_with("another key").expect("readable").is_none(), "with the account or not at all");

        let subject = Uuid::from_u128(7);
        let made = database.create_account_of_identity("cyd", "https://a", subject).expect("stored");
        let Made::New(cyd) = made else { panic!("it is new") };
        let again = database.create_account_of_identity("cyd-2", "https://a", subject).expect("stored");
        assert_eq!(again, Made::Before(cyd.clone()));
        assert_eq!(database.account_of_identity("https://a", subject).expect("readable"), Some(cyd));
        assert_eq!(database.account_of_identity("https://b", subject).expect("readable"), None);
        let taken = database.create_account_of_identity("Cyd", "https://b", subject).expect_err("taken");
        assert!(matches!(taken, DbError::NameTaken));
    }
}
