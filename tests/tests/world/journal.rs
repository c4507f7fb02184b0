//! Compares the bots' journal of deals with the database.

use sidereal_server::db::{Database, tools};
use std::{collections::BTreeMap, path::Path};
use uuid::Uuid;

/// The answers to one deal.
#[derive(Debug, Default)]
struct Told {
    bargain: String,
    done: u32,
    refused: u32,
    undecided: u32,
}

/// The results of a journal's deals.
#[derive(Debug, Default)]
pub struct Kept {
    /// Confirmed as done.
    pub done: usize,
    /// Answered as refused, and never as done.
    pub refused: usize,
    /// "Undecided" answers.
    pub undecided: u32,
    /// Without a final answer.
    pub open: usize,
    /// Of these, deals that are done in the database: only the answer was lost.
    pub done_unheard: usize,
    /// Rows that are missing or surplus in the database, and the findings of [`tools::check`].
    pub problems: Vec<String>,
}

/// Undocking moves nothing, and an offer becomes a row only when it is accepted, under the same key.
fn is_stored(bargain: &str) -> bool {
    !["Undock", "Offer", "Decline"].iter().any(|kind| bargain.contains(kind))
}

/// All deals that leave a row.
fn told(journal: &Path) -> BTreeMap<Uuid, Told> {
    let mut told: BTreeMap<Uuid, Told> = BTreeMap::new();
    let text = std::fs::read_to_string(journal).expect("they wrote it");
    // A line without an end is being written just now.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let bargain = line["bargain"].to_string();
        if !is_stored(&bargain) {
            continue;
        }
        let key = line["key"].as_str().and_then(|key| key.parse().ok()).expect("a key");
        let deal = told.entry(key).or_default();
        match line["outcome"].as_str() {
            None => deal.bargain = bargain,
            Some("done") => deal.done += 1,
            Some("refused") => deal.refused += 1,
            Some(_) => deal.undecided += 1,
        }
    }
    told
}

/// The database is sound, contains all deals confirmed as done, and none answered as refused.
pub fn hold_against(journal: &Path, database: &Database) -> Kept {
    let problems = tools::check(database).expect("it can be read").problems;
    let mut kept = Kept { problems, ..Kept::default() };
    for (key, deal) in told(journal) {
        let stored = database.deal(key).expect("it can be read").is_some();
        kept.undecided += deal.undecided;
        match (deal.done > 0, deal.refused > 0) {
            (true, _) => {
                kept.done += 1;
                if !stored {
                    kept.problems.push(format!("lost: {key} was answered as done: {deal:?}"));
                }
            }
            (false, true) => {
                kept.refused += 1;
                if stored {
                    kept.problems.push(format!("doubled: {key} was answered as refused: {deal:?}"));
                }
            }
            (false, false) => {
                kept.open += 1;
                kept.done_unheard += usize::from(stored);
            }
        }
    }
    kept
}
