//! Sections of what controls a body: a player, or the shard.

use super::{EntityRecord, Presence, Section};
use crate::{
    DecodeError,
    packets::input::FIRST_INPUT_DELAY_TICKS,
    rules::flight::Controls,
    world::{ids::EntityId, kind::EntityKind, tick::SimTick},
};
use bevy::math::DVec2;
use serde::{Deserialize, Serialize};

/// A player's control of a ship. It moves with the ship from shard to shard. It is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Pilot {
    /// The number of this boarding, counted by the server during its run. Each session that takes control of a ship
    /// begins one, with stamps and counts of its own. Inputs of an earlier boarding are ignored.
    pub boarding: u32,
    /// Stamp of the last input applied; zero before the first.
    pub last_input: SimTick,
    /// Inputs applied in this boarding.
    pub inputs_applied: u64,
    /// The last controls: they stay while there is no newer input.
    pub controls: Controls,
    /// Ticks between an input's stamp and the tick that applies it.
    pub input_delay_ticks: u8,
    /// How far back its beams may be judged, quarters of a tick, from the server's measurement of the player's link.
    pub rewind: u8,
}

impl Pilot {
    /// The start of a boarding, before its first input.
    pub fn aboard(boarding: u32, rewind: u8) -> Self {
        Self { boarding, rewind, input_delay_ticks: FIRST_INPUT_DELAY_TICKS, ..Self::default() }
    }
}

impl Section for Pilot {
    const ID: u16 = 4;
    const NAME: &'static str = "pilot";

    fn presence(kind: EntityKind) -> Presence {
        if kind == EntityKind::Ship { Presence::Optional } else { Presence::Never }
    }
}

/// The state of a drone's control.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DroneMind {
    /// Centre of its patrol, world units.
    pub home: DVec2,
    /// Its position on the patrol, radians around its home.
    pub patrol_phase: f64,
    /// The ship that it chases.
    pub target: Option<EntityId>,
}

impl Section for DroneMind {
    const ID: u16 = 5;
    const NAME: &'static str = "mind";

    fn presence(kind: EntityKind) -> Presence {
        if kind == EntityKind::Drone { Presence::Optional } else { Presence::Never }
    }

    fn check(&self) -> Result<(), DecodeError> {
        let finite = self.home.is_finite() && self.patrol_phase.is_finite();
        if finite { Ok(()) } else { Err(DecodeError::OutOfRange(Self::NAME)) }
    }
}

impl EntityRecord {
    /// A player's control, while a session controls the ship.
    pub fn pilot(&self) -> Option<Pilot> {
        self.get()
    }
}
