//! What players say to each other: who hears it, and how often one may speak.
//!
//! Nothing is stored, and no shard knows of it: a text goes from its speaker's session to those of who hears it.

use crate::{
    accounts::rate_limit::{Buckets, ComeBack, MAX_BUCKETS},
    audit::tally::Tally,
    clock::Clock,
    players::session::Players,
    replication::interest::Interest,
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Message, MessageReader, Res, ResMut, Resource},
};
use sidereal_protocol::{
    chat::{Scope, clean},
    ids::AccountId,
    messages::{Said, Say, ToPlayer},
    sector::SectorId,
    tick::TICK_DURATION,
};
use std::net::SocketAddr;

/// What an account may say at once...
const SAY_BURST: u32 = 5;
/// ...and then in a minute: one each 2 s, faster than anybody types for long.
const SAYS_PER_MINUTE: u32 = 30;

/// Lines that one account is sent at once...
const HEAR_BURST: u32 = 30;
/// ...and then in a minute: ten a second, which is more than can be read. What is over that is dropped and counted, so that
/// a crowd in one place costs each of its players 4 KB/s at most, and the sessions' queues stay short.
const HEARD_PER_MINUTE: u32 = 600;

/// How much everybody has said and heard just now. By account, so that a new session brings nothing.
#[derive(Debug, Resource)]
pub struct Chat {
    voices: Buckets<AccountId>,
    ears: Buckets<AccountId>,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            voices: Buckets::with_burst(SAYS_PER_MINUTE, SAY_BURST, MAX_BUCKETS),
            ears: Buckets::with_burst(HEARD_PER_MINUTE, HEAR_BURST, MAX_BUCKETS),
        }
    }
}

impl Chat {
    /// Accounts that are remembered, as speakers and as listeners.
    pub fn len(&self) -> usize {
        self.voices.len() + self.ears.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A player says something.
#[derive(Debug, Message)]
pub struct Spoken {
    /// The session.
    pub from: SocketAddr,
    /// What it says.
    pub say: Say,
}

/// What a text goes through from its speaker to those who hear it.
#[derive(SystemParam)]
pub struct Voices<'w> {
    clock: Res<'w, Clock>,
    chat: ResMut<'w, Chat>,
    players: Res<'w, Players>,
    interest: Res<'w, Interest>,
    link: ResMut<'w, Link>,
    tally: ResMut<'w, Tally>,
}

impl Voices<'_> {
    fn say(&mut self, address: SocketAddr, say: &Say) {
        let Some((account, name)) = self.players.speaker(&address) else { return };
        let now_ms = self.chat_ms();
        if let Err(wait) = self.chat.voices.take(account, now_ms) {
            self.tally.said_over_rate += 1;
            self.hear(address, account, Said::notice(too_fast(wait)));
            return;
        }
        match self.judge_text(address, say) {
            Ok((heard_by, scope, text)) => {
                self.tally.said += 1;
                for listener in heard_by {
                    let Some(ears) = self.players.account_at(&listener) else { continue };
                    let (speaker, text, yours) = (name.clone(), text.clone(), listener == address);
                    self.hear(listener, ears, Said { scope: scope as u8, speaker, text, yours });
                }
            }
            Err(reason) => {
                self.tally.said_refused += 1;
                self.hear(address, account, Said::notice(reason));
            }
        }
    }

    /// Who hears what.
    fn judge_text(&self, address: SocketAddr, say: &Say) -> Result<(Vec<SocketAddr>, Scope, String), String> {
        let scope = say.scope().map_err(|problem| problem.to_string())?;
        let text = clean(&say.text).map_err(|problem| problem.to_string())?;
        let mut heard_by = match scope {
            Scope::World => self.players.addresses().collect(),
            // Who has lost the ship still looks on from where that was.
            Scope::Sector => {
                let sector: Option<SectorId> = self.interest.center(&address);
                let sector = sector.ok_or("you are in no sector yet: say it to the world")?;
                self.interest.players_seeing(sector)
            }
        };
        // The own room may not be entered yet.
        if !heard_by.contains(&address) {
            heard_by.push(address);
        }
        Ok((heard_by, scope, text))
    }

    fn hear(&mut self, address: SocketAddr, account: AccountId, said: Said) {
        let now_ms = self.chat_ms();
        match self.chat.ears.take(account, now_ms) {
            Ok(()) => self.link.notify(&address, ToPlayer::Said(said)),
            Err(_) => self.tally.said_unheard += 1,
        }
    }

    fn chat_ms(&self) -> u64 {
        self.clock.tick.0.saturating_mul(TICK_DURATION.as_millis() as u64)
    }
}

/// Passes on what was said.
pub fn pass_on_spoken(mut spoken: MessageReader<Spoken>, mut voices: Voices) {
    for Spoken { from, say } in spoken.read() {
        voices.say(*from, say);
    }
}

fn too_fast(wait: ComeBack) -> String {
    format!("you talk too fast: it was not said; wait {} s", wait.after_s())
}
