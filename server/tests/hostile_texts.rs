//! Every backend treats any text the same: it is returned byte for byte, or rejected with an error and without effect.

mod common;

use std::time::Duration;

use common::World;
use proptest::prelude::*;
use sidereal_server::db::{Admission, Database, DbError, MAX_TEXT_BYTES, Store, StoreConfig};

/// Quotes, statements, NUL, both writing directions, a character of two UTF-16 units, apparent escapes.
const PIECES: [&str; 16] = [
    "'",
    "\"",
    "\\",
    "\0",
    "; DROP TABLE meta; --",
    "%s",
    "$1",
    "?1",
    "\u{202e}אב",
    "🚀",
    "é",
    "e\u{301}",
    "\\x00",
    "\r\n",
    "NULL",
    "İ",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        3 => "[a-cA-C]{0,2}",
        1 => any::<String>(),
        1 => Just("x".repeat(700)),
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn worlds() -> Vec<World> {
    #[cfg(feature = "postgres")]
    let postgres = World::postgres();
    #[cfg(not(feature = "postgres"))]
    let postgres = None;
    [World::sqlite()].into_iter().chain(postgres).collect()
}

/// The result, in words that both backends share.
fn outcome<T>(result: Result<T, DbError>) -> String {
    match result {
        Ok(_) => "stored".to_owned(),
        Err(error @ (DbError::NameTaken | DbError::NulInText { .. } | DbError::TextTooLong { .. })) => {
            error.to_string()
        }
        Err(other) => panic!("rejected for another reason: {other}"),
    }
}

fn store_account(database: &Database, name: &str, hash: &str) -> String {
    let before = database.find_account(name).expect("read");
    let result = database.create_account(name, hash);
    let after = database.find_account(name).expect("read");
    match &result {
        Ok(account) => {
            assert!(before.is_none());
            assert_eq!(after.as_ref(), Some(account));
            assert_eq!((account.name.as_str(), account.password_hash.as_str()), (name, hash));
            assert_eq!(database.account_by_id(account.id).expect("read").as_ref(), Some(account));
        }
        Err(_) => assert_eq!(before, after),
    }
    outcome(result)
}

fn store_setting(database: &Database, key: &str, value: &str) -> String {
    let before = database.meta(key).expect("read");
    let result = database.set_meta(key, value);
    let expected = if result.is_ok() { Some(value.to_owned()) } else { before };
    assert_eq!(database.meta(key).expect("read"), expected);
    outcome(result)
}

#[test]
fn every_text_is_stored_as_it_is_or_refused_and_all_backends_agree() {
    let worlds = worlds();
    let databases: Vec<Database> = worlds.iter().map(World::open).collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&(text(), text()), |(first, second)| {
            let accounts: Vec<String> = databases.iter().map(|to| store_account(to, &first, &second)).collect();
            let settings: Vec<String> = databases.iter().map(|to| store_setting(to, &second, &first)).collect();
            for outcomes in [accounts, settings] {
                prop_assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
            }
            Ok(())
        })
        .expect("all texts");
}

#[test]
fn a_text_of_ten_megabytes_is_refused_and_the_longest_one_comes_back() {
    for world in worlds() {
        let database = world.open();
        let huge = "ж".repeat(5 * 1024 * 1024);
        assert!(outcome(database.create_account(&huge, "hash")).contains("use a shorter one"));
        assert!(outcome(database.create_account("ann", &huge)).contains("use a shorter one"));
        assert_eq!(database.find_account(&huge).expect("read"), None);
        assert_eq!(database.find_account("ann").expect("read"), None);
        assert!(store_setting(&database, "key", &huge).contains("use a shorter one"));
        assert!(store_setting(&database, &huge, "value").contains("use a shorter one"));
        assert_eq!(store_setting(&database, "key", &"ж".repeat(MAX_TEXT_BYTES / 2)), "stored");
    }
}

/// A text that no backend can store must not block later changes.
#[test]
fn a_text_that_cannot_be_stored_is_refused_when_it_is_handed_in() {
    for world in worlds() {
        let store = Store::start(world.open(), StoreConfig::default());
        assert_eq!(store.set_meta("a\0b", "value"), Admission::NulInText);
        assert_eq!(store.set_meta("key", "a\0b"), Admission::NulInText);
        assert_eq!(store.set_meta("k".repeat(5_000), "value"), Admission::TooLarge);
        assert_eq!(store.set_meta("key", "x".repeat(10 * 1024 * 1024)), Admission::TooLarge);
        assert_eq!(store.set_meta("key", "value"), Admission::Accepted);
        assert_eq!((store.stats().nul_in_text, store.stats().too_large), (2, 2));
        store.flush_and_stop(Duration::from_secs(60)).expect("the last one is written");
        assert_eq!(world.open().meta("key").expect("read").as_deref(), Some("value"));
    }
}
