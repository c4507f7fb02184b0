//! A network that loses, duplicates, delays and reorders.

use super::{of_a_handoff_down, of_a_handoff_up};
use rand::Rng;
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    frames::control::{ToServer, ToShard},
    world::{ids::ShardId, tick::SimTick},
};
use std::collections::VecDeque;

/// The largest delay of a late message, ticks: a little more than the source waits for an answer.
const LATE_TICKS: u64 = 70;

/// The faults for messages of handoffs, shares of 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// Lost.
    pub loss: f64,
    /// Sent twice; the copy has its own delay.
    pub duplication: f64,
    /// Late by up to some seconds, so that others overtake it.
    pub late: f64,
}

/// The fate of one message of a handoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives after a tick.
    Arrives,
    /// It is lost.
    Lost,
    /// It arrives, and once more later.
    Doubled,
    /// It arrives after the source has repeated it.
    Late,
}

/// A message and its shard.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Letter {
    /// From a shard.
    ToServer(ShardId, ToServer),
    /// To a shard.
    ToShard(ShardId, ToShard),
}

#[derive(Debug)]
pub(super) struct Network {
    faults: Faults,
    fates: VecDeque<Fate>,
    /// Sent messages without a fate.
    fresh: Vec<(SimTick, Letter)>,
    flying: Vec<(SimTick, Letter)>,
    handoff_messages: u64,
}

impl Network {
    pub fn new(faults: Faults) -> Self {
        Self { faults, fates: VecDeque::new(), fresh: Vec::new(), flying: Vec::new(), handoff_messages: 0 }
    }

    /// The fates of the next messages of handoffs, except inputs; later ones all arrive.
    pub fn script(&mut self, fates: Vec<Fate>) {
        self.fates = fates.into();
        self.handoff_messages = 0;
    }

    /// Messages of handoffs sent since [`Network::script`].
    pub fn handoff_messages(&self) -> u64 {
        self.handoff_messages
    }

    /// From now on these faults occur.
    pub fn disturb(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// From now on nothing is lost or duplicated.
    pub fn calm(&mut self) {
        self.faults = Faults::default();
        self.fates.clear();
    }

    pub fn send_up(&mut self, now: SimTick, from: ShardId, message: ToServer) {
        self.fresh.push((now, Letter::ToServer(from, message)));
    }

    pub fn send_down(&mut self, now: SimTick, to: ShardId, message: ToShard) {
        self.fresh.push((now, Letter::ToShard(to, message)));
    }

    /// Messages to or from `shard` do not arrive any more.
    pub fn forget(&mut self, shard: ShardId) {
        let concerns = |letter: &Letter| match letter {
            Letter::ToServer(of, _) | Letter::ToShard(of, _) => *of == shard,
        };
        self.fresh.retain(|(_, letter)| !concerns(letter));
        self.flying.retain(|(_, letter)| !concerns(letter));
    }

    pub fn forget_all(&mut self) {
        self.fresh.clear();
        self.flying.clear();
    }

    /// The messages that arrive now.
    pub fn due(&mut self, now: SimTick, random: &mut Pcg64Mcg) -> Vec<Letter> {
        for (sent, letter) in std::mem::take(&mut self.fresh) {
            self.dispatch(sent, letter, random);
        }
        let (due, flying) = std::mem::take(&mut self.flying).into_iter().partition(|(at, _)| *at <= now);
        self.flying = flying;
        let due: Vec<(SimTick, Letter)> = due;
        due.into_iter().map(|(_, letter)| letter).collect()
    }

    fn dispatch(&mut self, sent: SimTick, letter: Letter, random: &mut Pcg64Mcg) {
        let (free, counts) = match &letter {
            Letter::ToServer(_, message) => (of_a_handoff_up(message), !matches!(message, ToServer::Census { .. })),
            Letter::ToShard(_, message) => (of_a_handoff_down(message), !matches!(message, ToShard::Inputs(_))),
        };
        if !free {
            self.flying.push((sent + 1, letter));
            return;
        }
        let fate = if counts {
            self.handoff_messages += 1;
            self.fates.pop_front()
        } else {
            None
        };
        let fate = fate.unwrap_or_else(|| self.draw(random));
        match fate {
            Fate::Arrives => self.flying.push((sent + 1, letter)),
            Fate::Lost => {}
            Fate::Doubled => {
                let again = sent + random.random_range(1..LATE_TICKS);
                self.flying.push((sent + 1, letter.clone()));
                self.flying.push((again, letter));
            }
            Fate::Late => self.flying.push((sent + random.random_range(2..LATE_TICKS), letter)),
        }
    }

    fn draw(&self, random: &mut Pcg64Mcg) -> Fate {
        let Faults { loss, duplication, late } = self.faults;
        if loss > 0.0 && random.random_bool(loss) {
            Fate::Lost
        } else if duplication > 0.0 && random.random_bool(duplication) {
            Fate::Doubled
        } else if late > 0.0 && random.random_bool(late) {
            Fate::Late
        } else {
            Fate::Arrives
        }
    }
}
