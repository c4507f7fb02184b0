//! Sessions: a token that replaces the password when a player returns, valid as long as it is used now and then.
//!
//! Owned by the server process, called on its HTTP server's blocking threads. A session has one present token, random
//! and opaque, of which only the hash is stored. A refresh issues another token. The previous one stays valid until a
//! minute after the first use of the new one, so that a lost answer locks nobody out. A token that is used later than
//! that was copied: its session ends for all its holders. Every session ends at its maximum age.

use sidereal_process::log_limited;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::RngCore;
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::accounts::hex;
use crate::accounts::tickets::token_bytes;
use crate::db::{Database, DbError, REGISTRATION_KEY_LIFETIME_MS, SessionBounds, StoredToken, TokenHash};

/// Lifetime of an unused session, ms.
pub const SESSION_LIFETIME_MS: i64 = 30 * 24 * 3_600_000;

/// Maximum age of a session since the login, ms: the limit for the use of a copied token.
pub const SESSION_MAX_AGE_MS: i64 = 90 * 24 * 3_600_000;

/// How long a replaced token stays valid after the first use of the new one, ms.
pub const ROTATED_GRACE_MS: i64 = 60_000;

/// A session's end is extended only if it has lost this much of its lifetime, ms: not every use writes.
const EXTEND_AFTER_MS: i64 = 3_600_000;

/// Interval and number of rows of the removal of expired sessions.
const SWEEP_INTERVAL_MS: i64 = 60_000;
const SWEEP_ROWS: i64 = 200;

/// A player has a few devices; a bot starts a session at each login. The old tokens kept are enough to detect a copied
/// one after a month of daily use.
const BOUNDS: SessionBounds = SessionBounds { sessions_per_account: 16, tokens_per_session: 32 };

/// The account of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
}

/// An issued token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The token: 64 hexadecimal digits.
    pub token: String,
    /// How long its session lives from now on without use, ms.
    pub lives_ms: i64,
}

/// Why a session token was rejected.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Never issued, or its session has ended.
    #[error("this session is not known or has ended: log in again")]
    Unknown,
    /// Unused for too long, or too old.
    #[error("this session has expired: log in again")]
    Expired,
    /// Replaced by another token long ago, so it was copied: the session has ended.
    #[error("this session token was replaced by a newer one, so the session was ended: log in again")]
    Reused,
    /// The database failed.
    #[error("sessions cannot be read at the moment: try again later")]
    Database(#[from] DbError),
}

/// All sessions. Clones share them. The calls block on the database.
#[derive(Clone, Debug)]
pub struct Sessions {
    database: Database,
    swept_ms: Arc<AtomicI64>,
}

impl Sessions {
    /// The sessions in `database`.
    pub fn new(database: Database) -> Self {
        Self { database, swept_ms: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// Starts a session of an account and issues its token.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin(&self, account: Uuid, now_ms: i64) -> Result<Given, DbError> {
        self.sweep(now_ms);
        let (token, hash) = new_token();
        let expires_ms = now_ms + SESSION_LIFETIME_MS;
        self.database.begin_session(account, &hash, now_ms, expires_ms, BOUNDS)?;
        Ok(Given { token, lives_ms: SESSION_LIFETIME_MS })
    }

    /// The account of the session of a token. Extends the session.
    ///
    /// # Errors
    /// [`SessionError`] says why the token was rejected.
    pub fn check(&self, token: &str, now_ms: i64) -> Result<Holder, SessionError> {
        let stored = self.find(token, now_ms)?;
        let expires_ms = put_off(&stored, now_ms);
        // The last hour before the maximum age is not worth a write either.
        if stored.expires_at < expires_ms - EXTEND_AFTER_MS
            && !self.database.extend_session(stored.session_id, expires_ms)?
        {
            return Err(SessionError::Unknown);
        }
        Ok(Holder { account_id: stored.account_id, name: stored.account_name })
    }

    /// Replaces the token of a session. The old one stays valid until a minute after the first use of the new one.
    ///
    /// # Errors
    /// [`SessionError`] says why the token was rejected.
    pub fn refresh(&self, token: &str, now_ms: i64) -> Result<(Holder, Given), SessionError> {
        self.sweep(now_ms);
        let stored = self.find(token, now_ms)?;
        let (next, hash) = new_token();
        let expires_ms = put_off(&stored, now_ms);
        if !self.database.rotate_token(stored.session_id, &hash, now_ms, expires_ms, BOUNDS)? {
            return Err(SessionError::Unknown);
        }
        let holder = Holder { account_id: stored.account_id, name: stored.account_name };
        Ok((holder, Given { token: next, lives_ms: expires_ms - now_ms }))
    }

    /// Ends the session of a token.
    ///
    /// # Errors
    /// [`SessionError`] if there is no such session, or the database fails.
    pub fn end(&self, token: &str, now_ms: i64) -> Result<Holder, SessionError> {
        let stored = self.find(token, now_ms)?;
        self.database.end_session(stored.session_id)?;
        Ok(Holder { account_id: stored.account_id, name: stored.account_name })
    }

    fn find(&self, token: &str, now_ms: i64) -> Result<StoredToken, SessionError> {
        let token = hash(&token_bytes(token).ok_or(SessionError::Unknown)?);
        let stored = self.database.session_token(&token)?.ok_or(SessionError::Unknown)?;
        if now_ms >= stored.expires_at.min(stored.created_at + SESSION_MAX_AGE_MS) {
            return Err(SessionError::Expired);
        }
        if stored.rotated_at.is_some_and(|rotated_at| now_ms >= rotated_at + ROTATED_GRACE_MS) {
            self.database.end_session(stored.session_id)?;
            log_limited!(warn, account = %stored.account_id, session = %stored.session_id, "a replaced session token was used: the session was ended");
            return Err(SessionError::Reused);
        }
        if stored.has_predecessors {
            self.database.retire_predecessors(stored.session_id, &token, now_ms)?;
        }
        Ok(stored)
    }

    /// Removes some expired rows, now and then. A failure does not affect the player's request.
    fn sweep(&self, now_ms: i64) {
        let swept_ms = self.swept_ms.load(Ordering::Relaxed);
        // A clock that was set back must not stop it.
        if (swept_ms..swept_ms.saturating_add(SWEEP_INTERVAL_MS)).contains(&now_ms)
            || self.swept_ms.compare_exchange(swept_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        match self.database.sweep_sessions(now_ms, now_ms - REGISTRATION_KEY_LIFETIME_MS, SWEEP_ROWS) {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "expired sessions and keys were removed"),
            Err(error) => log_limited!(warn, %error, "expired sessions could not be removed: it is tried again"),
        }
    }
}

/// The new end of a session that is used now, ms since the epoch.
fn put_off(stored: &StoredToken, now_ms: i64) -> i64 {
    (now_ms + SESSION_LIFETIME_MS).min(stored.created_at + SESSION_MAX_AGE_MS)
}

fn new_token() -> (String, TokenHash) {
    let mut token = [0; 32];
    rand::rng().fill_bytes(&mut token);
    (hex::encode(&token), hash(&token))
}

fn hash(token: &[u8; 32]) -> TokenHash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3_600_000;

    fn sessions() -> (Sessions, Uuid) {
        let database = Database::open(":memory:").expect("memory is there");
        let ann = database.create_account("ann", "hash").expect("a new name").id;
        (Sessions::new(database), ann)
    }

    fn begin(sessions: &Sessions, account: Uuid, now_ms: i64) -> String {
        sessions.begin(account, now_ms).expect("stored").token
    }

    fn refresh(sessions: &Sessions, token: &str, now_ms: i64) -> (Holder, String) {
        let (holder, given) = sessions.refresh(token, now_ms).expect("good");
        (holder, given.token)
    }

    #[test]
    fn a_token_is_random_and_only_its_hash_is_stored() {
        let (sessions, ann) = sessions();
        let (one, two) = (begin(&sessions, ann, 0), begin(&sessions, ann, 0));
        assert_ne!(one, two);
        let bytes = token_bytes(&one).expect("64 hexadecimal digits");
        assert!(sessions.database.session_token(&bytes).expect("readable").is_none());
        assert!(sessions.database.session_token(&hash(&bytes)).expect("readable").is_some());
        assert_eq!(sessions.check(&one, 1).expect("good"), Holder { account_id: ann, name: "ann".to_owned() });
    }

    #[test]
    fn a_session_that_is_used_goes_on_and_one_that_is_not_expires() {
        let (sessions, ann) = sessions();
        let (used, idle) = (begin(&sessions, ann, 0), begin(&sessions, ann, 0));
        for day in 1..70 {
            sessions.check(&used, day * DAY_MS).expect("used every day");
        }
        assert!(matches!(sessions.check(&idle, SESSION_LIFETIME_MS), Err(SessionError::Expired)));
        sessions.check(&idle, SESSION_LIFETIME_MS - 1).expect("the last moment");
        assert!(matches!(sessions.check(&used, 99 * DAY_MS), Err(SessionError::Expired)));
        begin(&sessions, ann, 130 * DAY_MS);
        assert!(matches!(sessions.check(&used, 89 * DAY_MS), Err(SessionError::Unknown)), "swept away");
    }

    #[test]
    fn however_it_is_used_a_session_ends_when_it_is_old() {
        let (sessions, ann) = sessions();
        let begun = sessions.begin(ann, 5).expect("stored");
        assert_eq!(begun.lives_ms, SESSION_LIFETIME_MS);
        let mut token = begun.token;
        for day in 1..90 {
            let (_, next) = sessions.refresh(&token, day * DAY_MS).expect("used every day");
            assert_eq!(next.lives_ms, SESSION_LIFETIME_MS.min(5 + SESSION_MAX_AGE_MS - day * DAY_MS));
            token = next.token;
            sessions.check(&token, day * DAY_MS).expect("the present one");
        }
        sessions.check(&token, 5 + SESSION_MAX_AGE_MS - 1).expect("the last moment");
        for with in [Sessions::end as fn(&Sessions, &str, i64) -> Result<Holder, SessionError>, Sessions::check] {
            assert!(matches!(with(&sessions, &token, 5 + SESSION_MAX_AGE_MS), Err(SessionError::Expired)));
        }
        // A session that an earlier build has extended further.
        let bytes = hash(&token_bytes(&token).expect("a token"));
        let session = sessions.database.session_token(&bytes).expect("readable").expect("stored").session_id;
        assert!(sessions.database.extend_session(session, 200 * DAY_MS).expect("stored"));
        assert!(matches!(sessions.check(&token, 91 * DAY_MS), Err(SessionError::Expired)));
    }

    #[test]
    fn a_lost_answer_to_a_refresh_strands_nobody_however_late_it_is_asked_again() {
        let (sessions, ann) = sessions();
        let first = begin(&sessions, ann, 0);
        let (_, lost) = refresh(&sessions, &first, 1_000);
        sessions.check(&first, 2 * DAY_MS).expect("the other one was never used");
        let (holder, second) = refresh(&sessions, &first, 2 * DAY_MS);
        assert_eq!(holder.account_id, ann);
        let used_ms = 3 * DAY_MS;
        sessions.check(&second, used_ms).expect("the present one");
        sessions.check(&first, used_ms + ROTATED_GRACE_MS - 1).expect("good for another minute");
        let reused = sessions.check(&lost, used_ms + ROTATED_GRACE_MS);
        assert!(matches!(reused, Err(SessionError::Reused)), "it was ended");
        assert!(matches!(sessions.check(&second, used_ms), Err(SessionError::Unknown)));
    }

    #[test]
    fn a_replaced_token_that_comes_late_ends_the_session_for_all_its_holders() {
        for with in [Sessions::end as fn(&Sessions, &str, i64) -> Result<Holder, SessionError>, Sessions::check] {
            let (sessions, ann) = sessions();
            let other = begin(&sessions, ann, 0);
            let first = begin(&sessions, ann, 0);
            let (_, second) = refresh(&sessions, &first, 1_000);
            let (_, third) = refresh(&sessions, &second, 1_500);
            // The second one was used for the third.
            assert!(matches!(with(&sessions, &first, 1_500 + ROTATED_GRACE_MS), Err(SessionError::Reused)));
            for token in [first, second, third] {
                assert!(matches!(sessions.check(&token, 2_000), Err(SessionError::Unknown)));
            }
            sessions.check(&other, 2_000).expect("another log in is not concerned");
        }
    }

    #[test]
    fn after_a_log_out_no_token_of_the_session_is_good() {
        let (sessions, ann) = sessions();
        let first = begin(&sessions, ann, 0);
        let (_, second) = refresh(&sessions, &first, 1_000);
        sessions.end(&first, 1_001).expect("good for another minute");
        assert!(matches!(sessions.check(&second, 1_002), Err(SessionError::Unknown)));
        assert!(matches!(sessions.refresh(&first, 1_002), Err(SessionError::Unknown)));
    }

    #[test]
    fn what_is_no_token_is_unknown() {
        let (sessions, ann) = sessions();
        let token = begin(&sessions, ann, 0);
        for wrong in ["", &token[1..], &format!("{token}0"), &"0".repeat(64), &"é".repeat(32), "a.b.c"] {
            assert!(matches!(sessions.check(wrong, 1), Err(SessionError::Unknown)), "{wrong}");
        }
    }
}
