//! The deal book: the player's requests and their results.
//!
//! Pure except that it is a resource. Runs in the player client and in bots. A deal keeps its key until it has ended,
//! however often it is requested: a client without a result repeats the request with the same key, and the deal is
//! still applied once. So the book outlives the session: take it out of one app with [`take_book`] and insert it into
//! the next. The requests are sent in [`crate::economy::dealing`].

use bevy::{app::App, prelude::Resource};
use sidereal_protocol::{
    frames::messages::DealOutcome,
    rules::economy::{Bargain, DEAL_KEY_LIFE, DealKey},
};
use std::collections::VecDeque;

/// The most open deals; a server accepts no more from one account.
pub const MAX_OPEN_DEALS: usize = 4;

/// The most events kept for a reader; the oldest is dropped first.
const MAX_EVENTS: usize = 64;

/// A deal without an answer for this long, seconds, is repeated. The channel is reliable, so only a server that has
/// lost the request makes this necessary. Each further wait is twice as long...
const UNANSWERED_S: f64 = 8.0;
/// ...up to this.
const MAX_UNANSWERED_S: f64 = 64.0;

/// The first pause after "undecided", seconds; each further one is twice as long...
const FIRST_PAUSE_S: f64 = 1.0;
/// ...up to this.
const MAX_PAUSE_S: f64 = 16.0;

/// Takes the book out of the app of an ended session, for the app of the next one ([`App::insert_resource`] before its
/// first update). The old app continues with an empty one.
pub fn take_book(app: &mut App) -> DealBook {
    take_out::<DealBook>(app).carry_over()
}

/// Takes a resource that outlives the session out of its app, which continues with an empty one.
pub(crate) fn take_out<T: Resource + Default>(app: &mut App) -> T {
    app.world_mut().get_resource_mut::<T>().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default()
}

/// The book is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_OPEN_DEALS} deals are open: wait until one has ended")]
pub struct BookFull;

/// A deal that has not ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenDeal {
    /// Its permanent key.
    pub key: DealKey,
    /// The request.
    pub bargain: Bargain,
    /// How often it was sent, over all sessions.
    pub sent: u32,
    /// The server has answered "undecided".
    pub undecided: bool,
    /// When it is to be sent, or repeated, seconds of the session's time.
    next_s: f64,
    /// The pause after the next "undecided", seconds.
    pause_s: f64,
    /// The wait for the next answer, seconds.
    wait_s: f64,
    /// When it was requested, seconds of the wall clock, which continues while the machine sleeps; set by the first
    /// [`DealBook::give_up`].
    asked_s: Option<f64>,
}

/// An event of a deal, for journals.
#[derive(Debug, Clone, PartialEq)]
pub enum DealEvent {
    /// It was requested; it may not have been sent yet.
    Asked {
        /// Its key.
        key: DealKey,
        /// The request.
        bargain: Bargain,
    },
    /// The server has answered. "Undecided" is not final.
    Answered {
        /// Its key.
        key: DealKey,
        /// The request.
        bargain: Bargain,
        /// The state of the deal.
        outcome: DealOutcome,
        /// The server's sentence.
        text: String,
    },
}

/// Numbers of deals, of all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DealCounts {
    /// Requested, each once.
    pub asked: u64,
    /// Done.
    pub done: u64,
    /// Refused.
    pub refused: u64,
    /// Answers "undecided"; a deal may have several.
    pub undecided: u64,
    /// Repeated under the same key.
    pub repeated: u64,
}

/// All deals of a player that have not ended.
#[derive(Resource, Debug, Clone, Default)]
pub struct DealBook {
    open: Vec<OpenDeal>,
    events: VecDeque<DealEvent>,
    counts: DealCounts,
}

impl DealBook {
    /// Requests `bargain` under a new key.
    ///
    /// # Errors
    /// [`BookFull`]; then nothing is requested.
    pub fn ask(&mut self, bargain: Bargain) -> Result<DealKey, BookFull> {
        let key = DealKey::random();
        self.ask_under(key, bargain)?;
        Ok(key)
    }

    /// Accepts or declines an offer. The key is the offer's; an answer that is on its way stays as it is.
    ///
    /// # Errors
    /// [`BookFull`]; then nothing is requested.
    pub fn answer_offer(&mut self, offer: DealKey, accept: bool) -> Result<(), BookFull> {
        if self.is_open(offer) {
            return Ok(());
        }
        self.ask_under(offer, if accept { Bargain::Accept } else { Bargain::Decline })
    }

    fn ask_under(&mut self, key: DealKey, bargain: Bargain) -> Result<(), BookFull> {
        if self.open.len() >= MAX_OPEN_DEALS {
            return Err(BookFull);
        }
        self.open.push(OpenDeal {
            key,
            bargain,
            sent: 0,
            undecided: false,
            next_s: f64::NEG_INFINITY,
            pause_s: FIRST_PAUSE_S,
            wait_s: UNANSWERED_S,
            asked_s: None,
        });
        self.counts.asked += 1;
        self.note(DealEvent::Asked { key, bargain });
        Ok(())
    }

    /// The book for the next session: the same deals, all to be repeated at once.
    #[must_use]
    pub fn carry_over(mut self) -> Self {
        for deal in &mut self.open {
            (deal.next_s, deal.pause_s, deal.wait_s) = (f64::NEG_INFINITY, FIRST_PAUSE_S, UNANSWERED_S);
        }
        self
    }

    /// Gives up deals without a result that were requested more than [`DEAL_KEY_LIFE`] ago: by then a server may have
    /// dropped the key, and would apply the deal again. `wall_s` is in seconds of the wall clock, from any start.
    pub fn give_up(&mut self, wall_s: f64) -> Vec<OpenDeal> {
        for deal in &mut self.open {
            // A clock that was set back must not make it newer than new.
            deal.asked_s = Some(deal.asked_s.unwrap_or(wall_s).min(wall_s));
        }
        let is_old =
            |deal: &mut OpenDeal| deal.asked_s.is_some_and(|asked_s| wall_s - asked_s > DEAL_KEY_LIFE.as_secs_f64());
        self.open.extract_if(.., is_old).collect()
    }

    /// The deals to send now, oldest first. They count as sent.
    pub fn due(&mut self, now_s: f64) -> Vec<(DealKey, Bargain)> {
        let mut due = Vec::new();
        for deal in self.open.iter_mut().filter(|deal| deal.next_s <= now_s) {
            self.counts.repeated += u64::from(deal.sent > 0);
            deal.sent += 1;
            deal.next_s = now_s + deal.wait_s;
            deal.wait_s = (deal.wait_s * 2.0).min(MAX_UNANSWERED_S);
            due.push((deal.key, deal.bargain));
        }
        due
    }

    /// Receives an answer; returns its request. `None` for an ended deal: it was repeated, and answered twice.
    pub fn receive(&mut self, key: DealKey, outcome: DealOutcome, text: &str, now_s: f64) -> Option<OpenDeal> {
        let index = self.open.iter().position(|deal| deal.key == key)?;
        let deal = &mut self.open[index];
        let before = *deal;
        match outcome {
            DealOutcome::Undecided => {
                deal.next_s = now_s + deal.pause_s;
                deal.pause_s = (deal.pause_s * 2.0).min(MAX_PAUSE_S);
                deal.wait_s = UNANSWERED_S;
                deal.undecided = true;
                self.counts.undecided += 1;
            }
            DealOutcome::Done => {
                self.open.remove(index);
                self.counts.done += 1;
            }
            DealOutcome::Refused => {
                self.open.remove(index);
                self.counts.refused += 1;
            }
        }
        self.note(DealEvent::Answered { key, bargain: before.bargain, outcome, text: text.to_owned() });
        Some(before)
    }

    /// Open deals, oldest first.
    pub fn open(&self) -> &[OpenDeal] {
        &self.open
    }

    /// Whether this deal is open.
    pub fn is_open(&self, key: DealKey) -> bool {
        self.open.iter().any(|deal| deal.key == key)
    }

    /// Whether a deal about the ship itself is open: a shard accepts one at a time.
    pub fn is_busy(&self) -> bool {
        let trades = |bargain| matches!(bargain, Bargain::Offer { .. } | Bargain::Accept | Bargain::Decline);
        self.open.iter().any(|deal| !trades(deal.bargain))
    }

    /// Whether the ship has requested to dock and has no result yet.
    pub fn is_docking(&self) -> bool {
        self.open.iter().any(|deal| deal.bargain == Bargain::Dock)
    }

    /// The numbers of deals.
    pub fn counts(&self) -> DealCounts {
        self.counts
    }

    /// Takes the events since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<DealEvent> {
        self.events.drain(..).collect()
    }

    fn note(&mut self, event: DealEvent) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELL: Bargain = Bargain::Sell { ore: 3 };

    #[test]
    fn an_undecided_deal_is_asked_for_again_under_its_key_ever_more_seldom() {
        let mut book = DealBook::default();
        let key = book.ask(SELL).unwrap();
        let (mut now_s, mut sent_s) = (0.0, Vec::new());
        while now_s < 150.0 {
            for (due, bargain) in book.due(now_s) {
                assert_eq!((due, bargain), (key, SELL));
                sent_s.push(now_s);
                book.receive(key, DealOutcome::Undecided, "the database does not answer", now_s);
            }
            now_s += 0.125;
        }
        let pauses: Vec<f64> = sent_s.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses[..6], [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]);
        assert!(book.open()[0].undecided);
        assert_eq!(book.receive(key, DealOutcome::Done, "sold", now_s).unwrap().key, key);
        assert!(book.due(1e9).is_empty() && book.open().is_empty());
        let counts = book.counts();
        assert_eq!((counts.asked, counts.done, counts.refused), (1, 1, 0));
        assert_eq!(counts.undecided, sent_s.len() as u64);
    }

    #[test]
    fn a_deal_without_an_answer_is_asked_for_again_after_a_while() {
        let mut book = DealBook::default();
        let key = book.ask(SELL).unwrap();
        assert_eq!(book.due(0.0).len(), 1);
        assert!(book.due(UNANSWERED_S - 0.1).is_empty());
        assert_eq!(book.due(UNANSWERED_S), [(key, SELL)]);
        assert!(book.due(3.0 * UNANSWERED_S - 0.1).is_empty(), "each wait is longer");
        assert_eq!(book.due(3.0 * UNANSWERED_S), [(key, SELL)]);
        assert_eq!(book.counts().repeated, 2);
    }

    #[test]
    fn what_a_server_may_have_forgotten_is_not_asked_for_again() {
        let (mut book, life_s) = (DealBook::default(), DEAL_KEY_LIFE.as_secs_f64());
        let old = book.ask(SELL).unwrap();
        assert!(book.give_up(5_000.0).is_empty());
        book.due(0.0);
        let mut book = book.carry_over();
        let new = book.ask(Bargain::Repair).unwrap();
        assert!(book.give_up(5_000.0 + life_s).is_empty(), "to the last second it is asked for");
        // The session's clock stood still while the machine slept, the wall clock did not.
        assert_eq!(book.give_up(5_001.0 + life_s).iter().map(|deal| deal.key).collect::<Vec<_>>(), [old]);
        assert_eq!(book.due(0.1), [(new, Bargain::Repair)]);
        assert!(book.give_up(1_000.0).is_empty(), "the wall clock was put back");
        assert_eq!(book.give_up(1_001.0 + life_s).len(), 1);
        assert_eq!(
            book.receive(old, DealOutcome::Done, "sold", 9.0),
            None,
            "an answer that comes after all is no harm"
        );
    }

    #[test]
    fn the_next_session_asks_for_what_is_open_under_the_same_keys_at_once() {
        let mut book = DealBook::default();
        let [ended, open] = [SELL, Bargain::Repair].map(|bargain| book.ask(bargain).unwrap());
        book.due(100.0);
        book.receive(ended, DealOutcome::Refused, "no", 100.1);
        book.receive(open, DealOutcome::Undecided, "", 100.1);
        // The next session's clock starts anew.
        let mut next = book.clone().carry_over();
        assert_eq!(next.due(0.0), [(open, Bargain::Repair)]);
        assert_eq!(next.open()[0].sent, 2);
        assert_eq!(next.counts().asked, 2, "the counts go on");
        assert_eq!(next.take_events().len(), 4, "and what nobody has read is still there");
    }

    #[test]
    fn no_more_than_a_few_are_open_and_what_is_refused_leaves_nothing() {
        let mut book = DealBook::default();
        let keys: Vec<_> = (0..MAX_OPEN_DEALS).map(|_| book.ask(SELL).unwrap()).collect();
        assert_eq!(book.ask(SELL), Err(BookFull));
        assert_eq!(book.answer_offer(DealKey::random(), true), Err(BookFull));
        assert_eq!((book.open().len(), book.counts().asked), (MAX_OPEN_DEALS, MAX_OPEN_DEALS as u64));
        book.receive(keys[0], DealOutcome::Done, "", 0.0);
        book.ask(SELL).unwrap();
    }

    #[test]
    fn an_offer_is_answered_once_under_its_own_key() {
        let (mut book, offer) = (DealBook::default(), DealKey::random());
        book.answer_offer(offer, true).unwrap();
        book.answer_offer(offer, false).unwrap();
        assert_eq!(book.due(0.0), [(offer, Bargain::Accept)]);
        assert!(!book.is_busy(), "a trade does not keep the ship from docking");
        book.ask(Bargain::Dock).unwrap();
        assert!(book.is_busy() && book.is_docking());
    }

    #[test]
    fn a_second_answer_to_a_deal_that_has_ended_changes_nothing() {
        let mut book = DealBook::default();
        let key = book.ask(SELL).unwrap();
        book.due(0.0);
        book.due(UNANSWERED_S);
        assert!(book.receive(key, DealOutcome::Done, "sold", 9.0).is_some());
        assert_eq!(book.receive(key, DealOutcome::Done, "sold", 9.1), None);
        assert_eq!(book.counts().done, 1);
    }

    #[test]
    fn events_nobody_reads_are_bounded() {
        let mut book = DealBook::default();
        for _ in 0..MAX_EVENTS {
            let key = book.ask(SELL).unwrap();
            book.receive(key, DealOutcome::Refused, "no", 0.0);
        }
        let events = book.take_events();
        assert_eq!(events.len(), MAX_EVENTS);
        assert!(matches!(events.last(), Some(DealEvent::Answered { outcome: DealOutcome::Refused, .. })));
        assert!(book.take_events().is_empty());
    }
}
