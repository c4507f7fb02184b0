//! Reconnecting after a lost session: when to request a ticket, and when to give up. A state machine without I/O;
//! [`crate::session::player`] carries out its steps.

use crate::{account::AccountError, session::link::SessionState};
use sidereal_protocol::frames::messages::TAKEN_OVER;
use sidereal_transport::VERSIONS_DIFFER;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How long a session must last after a reconnect for the next loss to count as a new one, seconds. Otherwise a server
/// that accepts sessions and drops them at once would receive two requests a second for ever.
const STEADY_S: f64 = 10.0;

/// How long and how often a player tries to reconnect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// The first wait, seconds; each one after it is twice as long.
    pub first_wait_s: f64,
    /// The longest wait, seconds.
    pub longest_wait_s: f64,
    /// How long it is tried after the loss, seconds.
    pub in_all_s: f64,
}

impl Default for Patience {
    /// A restarted server is available within seconds. If it is still away after two minutes, an operator has to act.
    fn default() -> Self {
        Self { first_wait_s: 0.5, longest_wait_s: 15.0, in_all_s: 120.0 }
    }
}

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Request a ticket, and report the result.
    AskForTicket,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// In a session, or connecting to one.
    Flying,
    Waiting {
        until_s: f64,
    },
    Asking,
    /// With the reason.
    Over(String),
}

/// A player's reconnects. The time is passed as seconds since any moment, never decreasing.
#[derive(Debug, Clone)]
pub struct Reconnect {
    patience: Patience,
    seed: u64,
    phase: Phase,
    /// When the session was lost, if there is no steady new one yet.
    lost_s: Option<f64>,
    back_s: Option<f64>,
    /// The reason of the last failure.
    reason: String,
    tries: u32,
}

impl Reconnect {
    /// For a player in a session. The waits differ from player to player by `seed`, so that all players of one server
    /// do not reconnect at once.
    pub fn new(patience: Patience, seed: u64) -> Self {
        Self { patience, seed, phase: Phase::Flying, lost_s: None, back_s: None, reason: String::new(), tries: 0 }
    }

    /// Whether a reconnect is in progress.
    pub fn is_under_way(&self) -> bool {
        self.lost_s.is_some() && self.gave_up().is_none()
    }

    /// The reason why reconnecting was given up, if it was.
    pub fn gave_up(&self) -> Option<&str> {
        match &self.phase {
            Phase::Over(reason) => Some(reason),
            _ => None,
        }
    }

    /// The player has a ship.
    pub fn in_space(&mut self, now_s: f64) {
        if self.phase == Phase::Flying && self.lost_s.take().is_some() {
            self.back_s = Some(now_s);
        }
    }

    /// The session has ended with `state`. Only the first call for a session counts.
    pub fn session_ended(&mut self, state: &SessionState, now_s: f64) {
        if self.phase != Phase::Flying {
            return;
        }
        let (reason, is_final) = match state {
            SessionState::Lost(reason) => (reason, reason == TAKEN_OVER),
            // A ticket that was too late, or a certificate that has changed since, is remedied by the next ticket.
            SessionState::Rejected(reason) => (reason, reason.starts_with(VERSIONS_DIFFER)),
            _ => return,
        };
        if self.back_s.take().is_some_and(|back_s| now_s - back_s < STEADY_S) {
            // As if the reconnect had never succeeded.
            self.lost_s.get_or_insert(now_s);
        } else if self.lost_s.is_none() {
            self.lost_s = Some(now_s);
            self.tries = 0;
        }
        self.failed(reason.clone(), is_final, 0.0, now_s);
    }

    /// A ticket was received: a new session begins.
    pub fn ticket_came(&mut self) {
        if self.phase == Phase::Asking {
            self.phase = Phase::Flying;
        }
    }

    /// No ticket was received.
    pub fn ticket_failed(&mut self, error: &AccountError, now_s: f64) {
        if self.phase != Phase::Asking {
            return;
        }
        let (is_final, at_least_s) = match error {
            // A proxy that answers for an unavailable server may send anything.
            AccountError::BadAnswer { .. } => (false, 0.0),
            AccountError::TooMany { after_s, .. } => (false, *after_s as f64),
            other => (other.is_permanent(), 0.0),
        };
        self.failed(error.to_string(), is_final, at_least_s, now_s);
    }

    /// The step to do now.
    pub fn step(&mut self, now_s: f64) -> Step {
        match self.phase {
            Phase::Waiting { until_s } if now_s >= until_s => {
                self.phase = Phase::Asking;
                Step::AskForTicket
            }
            _ => Step::Nothing,
        }
    }

    fn failed(&mut self, reason: String, is_final: bool, at_least_s: f64, now_s: f64) {
        if is_final {
            self.phase = Phase::Over(reason);
            return;
        }
        let until_s = now_s + self.wait_s().max(at_least_s);
        let last_s = self.lost_s.unwrap_or(now_s) + self.patience.in_all_s;
        self.phase = if until_s > last_s {
            Phase::Over(format!("{reason} (tried {} times to come back)", self.tries))
        } else {
            Phase::Waiting { until_s }
        };
        self.tries = self.tries.saturating_add(1);
        self.reason = reason;
    }

    /// The progress of the reconnect for the player: its reason, and the next attempt.
    pub fn says(&self, now_s: f64) -> String {
        let reason = &self.reason;
        match self.phase {
            Phase::Waiting { until_s } => {
                let wait_s = (until_s - now_s).max(0.0).ceil();
                let last_s = self.lost_s.unwrap_or(now_s) + self.patience.in_all_s;
                let left_s = (last_s - now_s).max(0.0).ceil();
                format!("{reason}\ntry {} in {wait_s} s, for another {left_s} s", self.tries)
            }
            Phase::Asking => format!("{reason}\ntry {}: asking the server", self.tries),
            _ => format!("{reason}\ntry {}: connecting", self.tries),
        }
    }

    /// Why the last attempt failed.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// A random time between half of the wait and all of it.
    fn wait_s(&self) -> f64 {
        let doubled = self.patience.first_wait_s * f64::from(self.tries.min(30)).exp2();
        let mut hasher = DefaultHasher::new();
        (self.seed, self.tries).hash(&mut hasher);
        let share = hasher.finish() as f64 / u64::MAX as f64;
        doubled.min(self.patience.longest_wait_s) * (0.5 + 0.5 * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_told_with_its_tries_and_waits() {
        let mut reconnect = Reconnect::new(Patience::default(), 7);
        reconnect.session_ended(&SessionState::Lost("the server stopped".to_owned()), 100.0);
        assert_eq!(reconnect.says(100.0), "the server stopped\ntry 1 in 1 s, for another 120 s");
        assert_eq!(reconnect.step(101.0), Step::AskForTicket);
        assert_eq!(reconnect.says(101.0), "the server stopped\ntry 1: asking the server");
        reconnect.ticket_failed(&unreachable(), 101.0);
        assert!(reconnect.says(101.0).contains("try 2 in 1 s, for another 119 s"), "{}", reconnect.says(101.0));
        assert_eq!(reconnect.step(102.0), Step::AskForTicket);
        reconnect.ticket_came();
        assert!(reconnect.says(102.5).ends_with("try 2: connecting"), "{}", reconnect.says(102.5));
    }

    fn lost() -> SessionState {
        SessionState::Lost("nothing arrived from the peer for 10 s".to_owned())
    }

    fn unreachable() -> AccountError {
        AccountError::Unreachable { address: "there".to_owned(), reason: "refused".to_owned() }
    }

    /// When a player who lost the session at 100 s and never gets a ticket requests one.
    fn asks(seed: u64, error: &AccountError) -> (Vec<f64>, Reconnect) {
        let mut reconnect = Reconnect::new(Patience::default(), seed);
        reconnect.session_ended(&lost(), 100.0);
        let mut asks = Vec::new();
        for tick in 0..10_000 {
            let now_s = 100.0 + f64::from(tick) * 0.03;
            if reconnect.step(now_s) == Step::AskForTicket {
                asks.push(now_s);
                assert_eq!(reconnect.step(now_s), Step::Nothing, "one at a time");
                reconnect.ticket_failed(error, now_s);
            }
        }
        (asks, reconnect)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end_in_time() {
        for seed in 0..50 {
            let (asks, reconnect) = asks(seed, &unreachable());
            let waits: Vec<f64> =
                std::iter::once(100.0).chain(asks.iter().copied()).zip(&asks).map(|(a, b)| b - a).collect();
            for (tries, wait_s) in waits.iter().enumerate() {
                let most = (0.5 * 2f64.powi(tries as i32)).min(15.0);
                assert!((0.5 * most..most + 0.04).contains(wait_s), "{waits:?}");
            }
            assert!(asks.last().is_some_and(|last| (190.0..=220.0).contains(last)), "{asks:?}");
            let why = reconnect.gave_up().unwrap();
            assert!(why.contains("does not answer") && why.contains("tried"), "{why}");
            assert!(!reconnect.is_under_way());
        }
        assert_ne!(asks(1, &unreachable()).0, asks(2, &unreachable()).0, "not all at once");
    }

    #[test]
    fn what_will_not_change_is_final() {
        for state in [
            SessionState::Lost(TAKEN_OVER.to_owned()),
            SessionState::Rejected(format!("{VERSIONS_DIFFER}: the server speaks 4, the client 3; update the client")),
        ] {
            let mut reconnect = Reconnect::new(Patience::default(), 1);
            reconnect.session_ended(&state, 5.0);
            assert_eq!(reconnect.gave_up(), state.failure());
            assert_eq!(reconnect.step(1_000.0), Step::Nothing);
        }
        for error in [AccountError::SessionOver("over".to_owned()), AccountError::Refused("no".to_owned())] {
            let (asks, reconnect) = asks(1, &error);
            assert_eq!((asks.len(), reconnect.gave_up()), (1, Some(error.to_string().as_str())));
        }
        for error in [
            AccountError::Busy("busy".to_owned()),
            AccountError::BadAnswer { address: String::new(), reason: "<html>".to_owned() },
        ] {
            assert!(asks(1, &error).0.len() > 8, "{error}");
        }
    }

    #[test]
    fn who_is_told_when_to_come_back_waits_so_long() {
        let many = AccountError::TooMany { after_s: 20, reason: "too many".to_owned() };
        let (asks, _) = asks(1, &many);
        assert!(asks.windows(2).all(|pair| pair[1] - pair[0] >= 20.0), "{asks:?}");
    }

    #[test]
    fn a_return_makes_up_for_the_loss_once_it_has_lasted() {
        let mut reconnect = Reconnect::new(Patience::default(), 1);
        let mut now_s = 0.0;
        let mut wait = |reconnect: &mut Reconnect, state: &SessionState| {
            reconnect.session_ended(state, now_s);
            let from_s = now_s;
            while reconnect.gave_up().is_none() && reconnect.step(now_s) == Step::Nothing {
                now_s += 0.01;
            }
            reconnect.ticket_came();
            now_s - from_s
        };
        let rejected = SessionState::Rejected("this ticket has expired: log in again".to_owned());
        assert!(wait(&mut reconnect, &lost()) < 0.52);
        assert!(wait(&mut reconnect, &rejected) >= 0.5, "it never came back: the second try");
        assert!(wait(&mut reconnect, &rejected) >= 1.0, "the third");
        assert!(reconnect.is_under_way());
        let mut flies = reconnect.clone();
        flies.in_space(50.0);
        assert!(!flies.is_under_way());
        flies.session_ended(&lost(), 50.0 + STEADY_S);
        assert_eq!(flies.step(50.0 + STEADY_S + 0.5), Step::AskForTicket, "a new loss");
        reconnect.in_space(50.0);
        reconnect.session_ended(&lost(), 51.0);
        assert_eq!(reconnect.step(52.9), Step::Nothing, "the fourth try of the old one");
    }

    #[test]
    fn what_is_told_twice_or_at_another_time_changes_nothing() {
        let mut reconnect = Reconnect::new(Patience::default(), 1);
        for state in [SessionState::Connecting, SessionState::InSpace, SessionState::Closed] {
            reconnect.session_ended(&state, 0.0);
        }
        reconnect.ticket_came();
        reconnect.ticket_failed(&AccountError::Refused("no".to_owned()), 0.0);
        assert!(!reconnect.is_under_way() && reconnect.gave_up().is_none());
        reconnect.session_ended(&lost(), 0.0);
        let once = format!("{reconnect:?}");
        reconnect.session_ended(&SessionState::Lost(TAKEN_OVER.to_owned()), 0.1);
        reconnect.in_space(0.1);
        assert_eq!(format!("{reconnect:?}"), once);
    }
}
