//! The older formats of stored records, each with a type of its own.
//!
//! A database keeps its rows in the format that wrote them; each is written anew in today's format with the entity's
//! next change. These types never change. Parts that are sections today have types of their own here, because a section
//! may change.

use super::{
    BeamReady, DockedAt, DroneMind, EntityRecord, ExpiresAt, GunReady, LauncherReady, OreLoad, Pilot, SettledAt,
    ShipHull, Structure, Warhead,
};
use crate::{
    DecodeError,
    rules::{
        economy::Fitted,
        flight::{Controls, FlightState, HullKind},
    },
    world::{
        ids::{AccountId, EntityId, NetId},
        kind::{EntityKind, Hulls},
        sector::SectorId,
        tick::SimTick,
    },
};
use bevy::math::DVec2;
use serde::{Deserialize, Serialize};

/// A player's control of a ship.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of today's section")]
pub struct OldPilot {
    pub boarding: u32,
    pub last_input: SimTick,
    pub inputs_applied: u64,
    /// Thrust, turn, buttons.
    pub controls: (i8, i8, u8),
    pub input_delay_ticks: u8,
    pub rewind: u8,
}

/// The state of a drone's control.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of today's section")]
pub struct OldMind {
    pub home: DVec2,
    pub patrol_phase: f64,
    pub target: Option<EntityId>,
}

/// The state of a missile's control.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of today's section")]
pub struct OldWarhead {
    pub shooter: EntityId,
    pub target: Option<EntityId>,
    pub expires: SimTick,
}

impl From<OldPilot> for Pilot {
    fn from(old: OldPilot) -> Self {
        let OldPilot { boarding, last_input, inputs_applied, controls, input_delay_ticks, rewind } = old;
        let (thrust, turn, buttons) = controls;
        let controls = Controls { thrust, turn, buttons };
        Self { boarding, last_input, inputs_applied, controls, input_delay_ticks, rewind }
    }
}

impl From<OldMind> for DroneMind {
    fn from(OldMind { home, patrol_phase, target }: OldMind) -> Self {
        Self { home, patrol_phase, target }
    }
}

impl From<OldWarhead> for Warhead {
    fn from(OldWarhead { shooter, target, expires }: OldWarhead) -> Self {
        Self { shooter, target, expires }
    }
}

/// Format 1: before missiles, beams and the economy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of today's header, motion and sections")]
pub struct Format1 {
    pub id: EntityId,
    pub net_id: NetId,
    pub kind: EntityKind,
    pub hull_kind: Option<HullKind>,
    pub owner: Option<AccountId>,
    pub name: String,
    pub epoch: u64,
    pub version: u64,
    pub tick: SimTick,
    pub sector: SectorId,
    pub state: FlightState,
    pub radius: f64,
    pub hull: u16,
    pub hull_max: u16,
    pub weapon_ready: SimTick,
    pub settled_at: SimTick,
    pub pilot: Option<OldPilot>,
    pub mind: Option<OldMind>,
}

/// Format 2: with missiles and beams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of today's sections")]
pub struct Format2 {
    pub before: Format1,
    pub launcher_ready: SimTick,
    pub beam_ready: SimTick,
    pub warhead: Option<OldWarhead>,
}

/// Format 3: with the economy. The last one without sections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of today's sections")]
pub struct Format3 {
    pub before: Format2,
    pub docked: Option<EntityId>,
    /// A bit for each weapon.
    pub fitted: u8,
    pub ore: u32,
    pub expires: SimTick,
}

impl From<Format1> for Format2 {
    /// No weapon waits, and there is no warhead.
    fn from(before: Format1) -> Self {
        Self { before, launcher_ready: SimTick(0), beam_ready: SimTick(0), warhead: None }
    }
}

impl From<Format2> for Format3 {
    /// Nothing is docked, fitted or loaded.
    fn from(before: Format2) -> Self {
        Self { before, docked: None, fitted: 0, ore: 0, expires: SimTick(0) }
    }
}

impl TryFrom<Format3> for EntityRecord {
    type Error = DecodeError;

    /// Today's record. Its sections are not checked yet: see [`EntityRecord::validate`].
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`]: a hull that the kind never has. A record of today cannot say it.
    fn try_from(old: Format3) -> Result<Self, DecodeError> {
        let Format3 { before: Format2 { before: body, launcher_ready, beam_ready, warhead }, docked, .. } = old;
        let mut record = Self {
            net_id: body.net_id,
            owner: body.owner,
            name: body.name,
            epoch: body.epoch,
            version: body.version,
            sector: body.sector,
            state: body.state,
            ..Self::at_rest(body.id, body.kind, body.state.position, body.tick)
        };
        match (body.kind.spec().hulls, body.hull_kind) {
            (Hulls::Chosen, Some(hull)) => record.set(ShipHull(hull)),
            (Hulls::Always(its), Some(hull)) if its == hull => {}
            (Hulls::None, None) => {}
            _ => return Err(DecodeError::OutOfRange("hull_kind")),
        }
        record.set(Structure { radius: body.radius, hull: body.hull, hull_max: body.hull_max });
        record.set(SettledAt(body.settled_at));
        // Those formats had a place for each of these in the records of all kinds: `set` keeps what is of the kind.
        record.set(GunReady(body.weapon_ready));
        record.set(LauncherReady(launcher_ready));
        record.set(BeamReady(beam_ready));
        record.set(Fitted(old.fitted));
        record.set(OreLoad(old.ore));
        record.set(ExpiresAt(old.expires));
        if let Some(pilot) = body.pilot {
            record.set(Pilot::from(pilot));
        }
        if let Some(mind) = body.mind {
            record.set(DroneMind::from(mind));
        }
        // These were rejected where they do not belong, and are.
        if let Some(warhead) = warhead {
            record.sections.set(&Warhead::from(warhead));
        }
        if let Some(station) = docked {
            record.sections.set(&DockedAt(station));
        }
        Ok(record)
    }
}
