//! Chat: the received lines, the player's texts, and the muted players.
//!
//! Runs in the player client and in bots. The book outlives the session: take it out of one app with [`take_book`] and
//! insert it into the next. Nothing of it is stored.

use crate::{
    economy::deals::take_out,
    replication::clock::ClientClock,
    session::{
        link::{Session, SessionState},
        news::{self, News},
    },
};
use bevy::{
    app::App,
    ecs::{
        message::MessageReader,
        system::{Res, ResMut},
    },
    prelude::Resource,
};
use sidereal_protocol::frames::{
    chat::{Scope, clean},
    messages::{FromPlayer, Said, Say, ToPlayer},
};
use std::collections::{BTreeSet, VecDeque};

/// The most lines kept; the oldest is dropped first.
pub const MAX_LINES: usize = 100;

/// The most texts that wait for a session: old ones are not sent any more.
pub const MAX_WAITING: usize = 4;

/// The most muted players.
pub const MAX_MUTED: usize = 200;

/// Takes the book out of the app of an ended session, for the app of the next one ([`App::insert_resource`] before its
/// first update). The old app continues with an empty one.
pub fn take_book(app: &mut App) -> ChatBook {
    take_out(app)
}

/// A line of the book.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatLine {
    /// Counts up from 1, so that a reader recognises new ones.
    pub number: u64,
    /// Its scope; `None` for a notice of the server or of this client.
    pub scope: Option<Scope>,
    /// The speaker; empty for a notice of the server or of this client.
    pub speaker: String,
    /// The text.
    pub text: String,
    /// The player is the speaker.
    pub own: bool,
    /// Seconds since it was received, in sessions.
    pub age_s: f64,
}

/// The received lines, and the texts to send.
#[derive(Resource, Debug, Clone, Default)]
pub struct ChatBook {
    lines: VecDeque<ChatLine>,
    waiting: VecDeque<(Scope, String)>,
    /// Lower case.
    muted: BTreeSet<String>,
    count: u64,
}

impl ChatBook {
    /// The lines, oldest first.
    pub fn lines(&self) -> &VecDeque<ChatLine> {
        &self.lines
    }

    /// Handles a line that the player has typed: a command (`/mute name`, `/unmute name`), or a text for `scope`.
    /// Errors are added as a line.
    pub fn write(&mut self, scope: Scope, text: &str) {
        let text = text.trim();
        if let Some(command) = text.strip_prefix('/') {
            let (command, name) = command.split_once(' ').unwrap_or((command, ""));
            let answer = self.command(command, name.trim());
            self.note(answer);
        } else if let Err(reason) = self.say(scope, text) {
            self.note(reason);
        }
    }

    /// Sends a text to `scope`, as soon as there is a session.
    ///
    /// # Errors
    /// Why it is not sent, in words.
    pub fn say(&mut self, scope: Scope, text: &str) -> Result<(), String> {
        let text = clean(text).map_err(|refused| refused.to_string())?;
        if self.waiting.len() >= MAX_WAITING {
            return Err("no connection: your text was not sent".to_owned());
        }
        self.waiting.push_back((scope, text));
        Ok(())
    }

    /// Whether a player is muted.
    pub fn is_muted(&self, name: &str) -> bool {
        self.muted.contains(&name.to_lowercase())
    }

    fn command(&mut self, command: &str, name: &str) -> String {
        match command {
            "mute" | "unmute" if name.is_empty() => format!("which player? /{command} name"),
            "mute" if self.muted.len() >= MAX_MUTED => format!("{MAX_MUTED} are muted: /unmute one first"),
            "mute" => {
                self.muted.insert(name.to_lowercase());
                self.lines.retain(|line| line.own || line.speaker.to_lowercase() != name.to_lowercase());
                format!("{name} is muted until you leave: /unmute {name}")
            }
            "unmute" if self.muted.remove(&name.to_lowercase()) => format!("you hear {name} again"),
            "unmute" => format!("{name} was not muted"),
            _ => "there are /mute name and /unmute name".to_owned(),
        }
    }

    /// Adds a notice of this client.
    pub fn note(&mut self, text: String) {
        self.add(None, String::new(), text, false);
    }

    /// Receives a text from the server. Names and texts are displayed, so they are cleaned here, too.
    pub fn receive(&mut self, said: &Said) {
        let scope = said.scope();
        let Ok(text) = clean(&said.text) else { return };
        let speaker = clean(&said.speaker).unwrap_or_default();
        if !said.yours && scope.is_some() && self.is_muted(&speaker) {
            return;
        }
        self.add(scope, speaker, text, said.yours);
    }

    fn add(&mut self, scope: Option<Scope>, speaker: String, text: String, own: bool) {
        if self.lines.len() >= MAX_LINES {
            self.lines.pop_front();
        }
        self.count += 1;
        self.lines.push_back(ChatLine { number: self.count, scope, speaker, text, own, age_s: 0.0 });
    }

    /// Advances the time by `seconds`.
    pub(crate) fn pass(&mut self, seconds: f64) {
        for line in &mut self.lines {
            line.age_s += seconds;
        }
    }
}

/// Receives others' texts, and sends the player's.
pub(crate) fn talk(
    mut told: MessageReader<News>,
    clock: Res<ClientClock>,
    state: Res<SessionState>,
    session: Res<Session>,
    mut book: ResMut<ChatBook>,
) {
    book.pass(clock.delta_s);
    for News(told) in told.read() {
        if let ToPlayer::Said(said) = told {
            book.receive(said);
        }
    }
    if !matches!(*state, SessionState::Joining | SessionState::InSpace | SessionState::Destroyed) {
        return;
    }
    while let Some((scope, text)) = book.waiting.pop_front() {
        if let Err(problem) = news::ask(&session, &FromPlayer::Say(Say::to(scope, text))) {
            tracing::warn!(%problem, "a text was not sent");
            book.note("the connection failed: your text was not sent".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(speaker: &str, text: &str) -> Said {
        Said { scope: Scope::World as u8, speaker: speaker.to_owned(), text: text.to_owned(), yours: false }
    }

    fn texts(book: &ChatBook) -> Vec<&str> {
        book.lines().iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_book_is_bounded_and_counts_on() {
        let mut book = ChatBook::default();
        for index in 0..MAX_LINES + 5 {
            book.receive(&said("ada", &index.to_string()));
        }
        assert_eq!(book.lines().len(), MAX_LINES);
        assert_eq!(book.lines().front().unwrap().text, "5");
        assert_eq!(book.lines().back().unwrap().number, MAX_LINES as u64 + 5);
        for _ in 0..MAX_WAITING {
            assert_eq!(book.say(Scope::Sector, "hello"), Ok(()));
        }
        assert!(book.say(Scope::Sector, "hello").is_err(), "nobody takes it");
    }

    #[test]
    fn who_is_muted_is_not_heard_until_unmuted_whatever_the_case() {
        let mut book = ChatBook::default();
        book.receive(&said("Bob", "spam"));
        book.receive(&said("ada", "hello"));
        book.write(Scope::World, "/mute bob");
        book.receive(&said("BOB", "more"));
        assert_eq!(texts(&book), ["hello", "bob is muted until you leave: /unmute bob"]);
        book.receive(&Said::notice("you talk too fast".to_owned()));
        book.write(Scope::World, " /unmute Bob ");
        book.receive(&said("Bob", "sorry"));
        assert_eq!(texts(&book)[2..], ["you talk too fast", "you hear Bob again", "sorry"]);
        assert!(book.waiting.is_empty(), "commands are not said");
    }

    #[test]
    fn what_cannot_be_said_is_told_and_a_server_cannot_show_what_is_hidden() {
        let mut book = ChatBook::default();
        book.write(Scope::Sector, &"x".repeat(201));
        book.write(Scope::Sector, "\u{200b}");
        book.write(Scope::Sector, "/mute");
        book.write(Scope::Sector, "/dance");
        assert_eq!(book.lines().len(), 4);
        assert!(book.waiting.is_empty() && book.lines().iter().all(|line| line.scope.is_none()));
        book.receive(&said("a\u{202e}da", "x\u{202e}y\nz"));
        let line = book.lines().back().unwrap();
        assert_eq!((line.speaker.as_str(), line.text.as_str()), ("ada", "xy z"));
    }
}
