//! The journal of deals: a line of JSON for each request and for each answer.
//!
//! A line is written before its consequences: a request before it is sent, an answer as soon as it is received. So the
//! journal of a run can be compared with the database, whichever process died in between.

use anyhow::{Context, Result};
use serde::Serialize;
use sidereal_client::economy::deals::DealEvent;
use sidereal_protocol::{
    frames::messages::DealOutcome,
    rules::economy::{Bargain, DealKey},
    world::ids::AccountId,
};
use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since 1970.
    at_ms: u64,
    /// `asked` or `answered`.
    event: &'static str,
    /// The deal's key.
    key: DealKey,
    /// The bot.
    bot: &'a str,
    /// Its account.
    account: Option<String>,
    /// The request.
    bargain: Bargain,
    /// `done`, `refused` or `undecided`; only in an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The server's sentence; only in an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// The output; none without a file.
#[derive(Debug)]
pub struct Journal(Option<File>);

impl Journal {
    /// Continues the journal at `path`, or creates it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            File::options().create(true).append(true).open(path).with_context(|| {
                format!("cannot write the journal {} (is its folder there and writable?)", path.display())
            })
        };
        Ok(Self(path.map(open).transpose()?))
    }

    /// Writes a line. When this returns, the line has left the process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, bot: &str, account: Option<AccountId>, event: &DealEvent) -> Result<()> {
        let Some(file) = &mut self.0 else { return Ok(()) };
        let (name, key, bargain, outcome, text) = match event {
            DealEvent::Asked { key, bargain } => ("asked", key, bargain, None, None),
            DealEvent::Answered { key, bargain, outcome, text } => {
                let outcome = match outcome {
                    DealOutcome::Done => "done",
                    DealOutcome::Refused => "refused",
                    DealOutcome::Undecided => "undecided",
                };
                ("answered", key, bargain, Some(outcome), Some(text.as_str()))
            }
        };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = Line {
            at_ms: since_1970.as_millis() as u64,
            event: name,
            key: *key,
            bot,
            account: account.map(|account| account.0.to_string()),
            bargain: *bargain,
            outcome,
            text,
        };
        let mut line = serde_json::to_vec(&line).context("cannot encode a line of the journal")?;
        line.push(b'\n');
        // One write for the whole line: a process that dies leaves no half line.
        file.write_all(&line).context("cannot write the journal (is the disk full?)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_goes_on_where_it_was_and_every_line_stands_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (key, bargain) = (DealKey::random(), Bargain::Take { ore: 4 });
        let asked = DealEvent::Asked { key, bargain };
        let text = "a \"quoted\"\nline".to_owned();
        let answered = DealEvent::Answered { key, bargain, outcome: DealOutcome::Refused, text: text.clone() };
        for event in [&asked, &answered] {
            Journal::open(Some(&path)).unwrap().write("bot-1-1", None, event).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&"asked".into(), &"answered".into()));
        assert_eq!(lines[0]["key"], lines[1]["key"]);
        assert_eq!((&lines[1]["outcome"], &lines[1]["text"]), (&"refused".into(), &text.into()));
        assert!(lines[0].get("outcome").is_none() && lines[0]["at_ms"].as_u64().unwrap() > 1_600_000_000_000);
        let error = Journal::open(Some(Path::new("/nowhere/x/journal"))).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/x/journal"), "{error:#}");
    }
}
