//! The older formats of stored records, each with a type of its own.
//!
//! A database keeps its rows in the format that wrote them; each is written anew in today's format with the entity's
//! next change. These types never change.

use super::{
    BeamReady, DockedAt, DroneMind, EntityRecord, ExpiresAt, GunReady, LauncherReady, OreLoad, Pilot, Presence,
    Section, SettledAt, ShipHull, Structure, Warhead,
};
use crate::{
    DecodeError,
    rules::{
        economy::Fitted,
        flight::{FlightState, HullKind},
    },
    world::{
        ids::{AccountId, EntityId, NetId},
        kind::{EntityKind, Hulls},
        sector::SectorId,
        tick::SimTick,
    },
};
use serde::{Deserialize, Serialize};

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
    pub pilot: Option<Pilot>,
    pub mind: Option<DroneMind>,
}

/// Format 2: with missiles and beams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of today's sections")]
pub struct Format2 {
    pub before: Format1,
    pub launcher_ready: SimTick,
    pub beam_ready: SimTick,
    pub warhead: Option<Warhead>,
}

/// Format 3: with the economy. The last one without sections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of today's sections")]
pub struct Format3 {
    pub before: Format2,
    pub docked: Option<EntityId>,
    pub fitted: Fitted,
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
        Self { before, docked: None, fitted: Fitted::default(), ore: 0, expires: SimTick(0) }
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
        // Those formats had a place for each of these in the records of all kinds.
        keep(&mut record, GunReady(body.weapon_ready));
        keep(&mut record, LauncherReady(launcher_ready));
        keep(&mut record, BeamReady(beam_ready));
        keep(&mut record, old.fitted);
        keep(&mut record, OreLoad(old.ore));
        keep(&mut record, ExpiresAt(old.expires));
        if let Some(pilot) = body.pilot {
            keep(&mut record, pilot);
        }
        if let Some(mind) = body.mind {
            keep(&mut record, mind);
        }
        // These were rejected where they do not belong, and are.
        if let Some(warhead) = warhead {
            record.sections.set(&warhead);
        }
        if let Some(station) = docked {
            record.sections.set(&DockedAt(station));
        }
        Ok(record)
    }
}

/// Writes a section into the record of a kind that may have it.
fn keep<S: Section>(record: &mut EntityRecord, section: S) {
    if S::presence(record.kind) != Presence::Never {
        record.set(section);
    }
}
