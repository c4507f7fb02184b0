//! Every input is applied exactly once, in order.
//!
//! A ship's inputs are one line from boarding to boarding, whichever shard applies them. A boarding begins when the
//! server assigns it; inputs that a shard applies before it has received that are void. A new owner continues from the
//! point of the line that its record names: inputs that the old one applied after that are void, because the ship's
//! state does not contain them. No input that the client has sent may be missing between two applied ones, except those
//! that the client gave up.

use sidereal_client::flight::inputs::InputCounts;
use sidereal_protocol::{
    limits::INPUT_HISTORY,
    packets::input::Input,
    world::{ids::EntityId, tick::SimTick},
};
use sidereal_shard::journal::Event;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Applied inputs that are remembered for each ship: a new owner continues from one that the server still has.
const REMEMBERED: usize = 4 * INPUT_HISTORY;

/// The client's own data of its inputs.
#[derive(Debug)]
pub struct PilotSide<'a> {
    /// Its ship, and the boarding in the ship's own states.
    pub ship: Option<(EntityId, u32)>,
    /// Sent inputs that are not acknowledged.
    pub pending: &'a [Input],
    /// Its own counts.
    pub counts: InputCounts,
}

/// The inputs of one boarding.
#[derive(Debug, Default)]
struct Line {
    /// Its number.
    boarding: u32,
    /// The epoch of the last owner that began.
    epoch: u64,
    /// How many were applied.
    total: u64,
    /// Stamps of the last applied ones, oldest first.
    applied: VecDeque<SimTick>,
    /// Stamps that the client has sent.
    sent: BTreeSet<SimTick>,
    /// Sent, and skipped.
    skipped: u64,
    /// Given up by the client.
    given_up: u64,
}

impl Line {
    fn last(&self) -> SimTick {
        self.applied.back().copied().unwrap_or_default()
    }

    /// Another owner continues after `total` inputs.
    fn begin(&mut self, epoch: u64, total: u64) -> Result<(), String> {
        let void = self
            .total
            .checked_sub(total)
            .ok_or(format!("{total} inputs are counted as applied, {} were", self.total))?;
        if void > self.applied.len() as u64 {
            return Err(format!("the new owner of epoch {epoch} has {total} inputs of {}", self.total));
        }
        self.applied.truncate(self.applied.len() - void as usize);
        (self.epoch, self.total) = (epoch, total);
        Ok(())
    }

    fn apply(&mut self, stamp: SimTick) -> Result<(), String> {
        let last = self.last();
        if stamp <= last {
            return Err(format!("input {stamp} is applied after input {last}"));
        }
        let between = (std::ops::Bound::Excluded(last), std::ops::Bound::Excluded(stamp));
        self.skipped += self.sent.range(between).count() as u64;
        if self.skipped > self.given_up {
            return Err(format!(
                "{} inputs before {stamp} were passed over, the last one applied is {last}; {} were given up",
                self.skipped, self.given_up
            ));
        }
        if self.applied.len() == REMEMBERED {
            self.applied.pop_front();
        }
        self.applied.push_back(stamp);
        self.total += 1;
        Ok(())
    }
}

/// The lines of all ships with a player.
#[derive(Debug, Default)]
pub struct InputLines(BTreeMap<EntityId, Line>);

impl InputLines {
    /// A new boarding: counting starts anew.
    pub fn board(&mut self, ship: EntityId, boarding: u32) {
        self.0.insert(ship, Line { boarding, ..Line::default() });
    }

    /// Reads an event of a shard's journal.
    ///
    /// # Errors
    /// When an input is applied twice, out of order, or counted wrongly, or one is skipped.
    pub fn receive(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Began { id, epoch, boarding, inputs, .. } => match self.0.get_mut(id) {
                Some(line) if *boarding < line.boarding => {
                    line.epoch = *epoch;
                    Ok(())
                }
                Some(line) => line.begin(*epoch, *inputs).map_err(|problem| format!("{id}: {problem}")),
                None => Ok(()),
            },
            Event::Inputs { id, epoch, boarding, stamps, total } => {
                let Some(line) = self.0.get_mut(id) else { return Ok(()) };
                // A former owner that has not received its release yet; or an old boarding.
                if *epoch < line.epoch || *boarding < line.boarding {
                    return Ok(());
                }
                if *boarding > line.boarding {
                    return Err(format!("{id}: boarding {boarding} has the helm, {} was the last", line.boarding));
                }
                for &stamp in stamps {
                    line.apply(stamp).map_err(|problem| format!("{id}: {problem}, under epoch {epoch}"))?;
                }
                if line.total != *total {
                    return Err(format!("{id}: {total} inputs are counted, {} were applied", line.total));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads a client's data.
    ///
    /// # Errors
    /// When the client itself counts an input as lost or doubled.
    pub fn check(&mut self, pilot: PilotSide<'_>) -> Result<(), String> {
        let Some((ship, boarding)) = pilot.ship else { return Ok(()) };
        if (pilot.counts.lost, pilot.counts.doubled) != (0, 0) {
            return Err(format!("{ship}: by the client's count {:?}", pilot.counts));
        }
        let Some(line) = self.0.get_mut(&ship).filter(|line| line.boarding == boarding) else { return Ok(()) };
        line.sent.extend(pilot.pending.iter().map(|input| input.tick));
        while line.sent.len() > REMEMBERED {
            line.sent.pop_first();
        }
        line.given_up = pilot.counts.given_up;
        Ok(())
    }
}
