//! Which texts can be stored: the same on every backend, checked before the database call.
//!
//! PostgreSQL's texts contain no NUL, and an index entry is limited to a third of a page, after compression.

use crate::db::error::DbError;
use crate::db::tables::rows::MAX_RECORD_BYTES;

/// Maximum length of an indexed text: an account's name, a setting's key. Bytes of UTF-8.
pub const MAX_INDEXED_TEXT_BYTES: usize = 1_024;

/// Maximum length of other texts, bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = MAX_RECORD_BYTES;

/// Checks an indexed text.
///
/// # Errors
/// [`DbError::NulInText`], [`DbError::TextTooLong`].
pub(in crate::db) fn check_indexed(what: &'static str, text: &str) -> Result<(), DbError> {
    check_within(what, text, MAX_INDEXED_TEXT_BYTES)
}

/// Checks any other text.
///
/// # Errors
/// [`DbError::NulInText`], [`DbError::TextTooLong`].
pub(in crate::db) fn check(what: &'static str, text: &str) -> Result<(), DbError> {
    check_within(what, text, MAX_TEXT_BYTES)
}

fn check_within(what: &'static str, text: &str, limit: usize) -> Result<(), DbError> {
    if text.len() > limit {
        return Err(DbError::TextTooLong { what, bytes: text.len(), limit });
    }
    if text.contains('\0') {
        return Err(DbError::NulInText { what });
    }
    Ok(())
}
