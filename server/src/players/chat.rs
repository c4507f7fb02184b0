//! Chat between players: who receives a text, and the rate limits.
//!
//! Nothing is stored, and shards take no part: a text goes from the sender's session to those of its receivers.

use crate::{
    accounts::rate_limit::{Buckets, MAX_BUCKETS, RetryAfter},
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
    frames::{
        chat::{Scope, clean},
        messages::{Said, Say, ToPlayer},
    },
    world::{ids::AccountId, sector::SectorId, tick::TICK_DURATION},
};
use std::net::SocketAddr;

/// Texts that an account may send at once...
const SAY_BURST: u32 = 5;
/// ...and then in a minute: one each 2 s, faster than anybody types for long.
const SAYS_PER_MINUTE: u32 = 30;

/// Lines sent to one account at once...
const HEAR_BURST: u32 = 30;
/// ...and then per minute: ten a second, more than can be read. Further lines are dropped and counted, so that a crowd
/// in one place costs each of its players 4 KB/s at most, and the sessions' queues stay short.
const HEARD_PER_MINUTE: u32 = 600;

/// The rate limits of all senders and receivers. By account, so that a new session does not reset them.
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
    /// The number of accounts stored, as senders and as receivers.
    pub fn len(&self) -> usize {
        self.voices.len() + self.ears.len()
    }

    /// Whether no account is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A chat text from a player.
#[derive(Debug, Message)]
pub struct ChatSent {
    /// The session.
    pub from: SocketAddr,
    /// The text and its scope.
    pub say: Say,
}

/// The resources that deliver a chat text.
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
            self.deliver(address, account, Said::notice(too_fast(wait)));
            return;
        }
        match self.judge_text(address, say) {
            Ok((heard_by, scope, text)) => {
                self.tally.said += 1;
                for listener in heard_by {
                    let Some(ears) = self.players.account_at(&listener) else { continue };
                    let (speaker, text, yours) = (name.clone(), text.clone(), listener == address);
                    self.deliver(listener, ears, Said { scope: scope as u8, speaker, text, yours });
                }
            }
            Err(reason) => {
                self.tally.said_refused += 1;
                self.deliver(address, account, Said::notice(reason));
            }
        }
    }

    /// The receivers of a text.
    fn judge_text(&self, address: SocketAddr, say: &Say) -> Result<(Vec<SocketAddr>, Scope, String), String> {
        let scope = say.scope().map_err(|problem| problem.to_string())?;
        let text = clean(&say.text).map_err(|problem| problem.to_string())?;
        let mut heard_by = match scope {
            Scope::World => self.players.addresses().collect(),
            // A player whose ship is lost still sees the sector where it was.
            Scope::Sector => {
                let sector: Option<SectorId> = self.interest.center(&address);
                let sector = sector.ok_or("you are in no sector yet: write to the world")?;
                self.interest.players_seeing(sector)
            }
        };
        // The sender's own room may not be entered yet.
        if !heard_by.contains(&address) {
            heard_by.push(address);
        }
        Ok((heard_by, scope, text))
    }

    fn deliver(&mut self, address: SocketAddr, account: AccountId, said: Said) {
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

/// Delivers chat texts.
pub fn pass_on_spoken(mut spoken: MessageReader<ChatSent>, mut voices: Voices) {
    for ChatSent { from, say } in spoken.read() {
        voices.say(*from, say);
    }
}

fn too_fast(wait: RetryAfter) -> String {
    format!("you talk too fast: it was not said; wait {} s", wait.after_s())
}
