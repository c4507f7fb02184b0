//! The complete state of one entity, as it moves between shards, is mirrored and is stored.

pub use crate::kind::EntityKind;
use crate::{
    DecodeError,
    economy::Fitted,
    flight::{Controls, FlightState, HullKind},
    ids::{AccountId, EntityId, NetId},
    input::FIRST_INPUT_DELAY_TICKS,
    limits::{MAX_NAME_BYTES, MAX_RECORD_BYTES},
    sector::SectorId,
    tick::SimTick,
};
use bevy::math::DVec2;
use serde::{Deserialize, Serialize};

/// First byte of an encoded record, raised when the layout changes. A stored record of an unknown format is refused
/// with its number, not misread.
pub const RECORD_FORMAT: u8 = 3;

/// The format before missiles and beams. Still read: the missing fields have the values of a record of that time, no
/// warhead and no waiting times.
const RECORD_FORMAT_1: u8 = 1;

/// The format before the economy. Still read: no ship was docked, nothing was fitted.
const RECORD_FORMAT_2: u8 = 2;

/// Bytes that the later formats added at a record's end, all zero for older ones: in format 2 two ticks and no warhead,
/// in format 3 no station, nothing fitted, no ore, no end.
const ADDED_BY_2: usize = 3;
const ADDED_BY_3: usize = 4;

/// A player's control of a ship. It moves with the ship from shard to shard.
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

/// The state of a missile's control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warhead {
    /// The ship that launched it, which it never hits.
    pub shooter: EntityId,
    /// Its target; without one it flies straight on.
    pub target: Option<EntityId>,
    /// When it ends by itself.
    pub expires: SimTick,
}

/// The complete state of one entity after `tick`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityRecord {
    /// Its permanent id.
    pub id: EntityId,
    /// Its compact id in this run of the server; [`NetId`] 0 in stored records.
    pub net_id: NetId,
    /// Its kind.
    pub kind: EntityKind,
    /// Its hull, if it flies.
    pub hull_kind: Option<HullKind>,
    /// The player that owns it.
    pub owner: Option<AccountId>,
    /// Its name for players; at most [`MAX_NAME_BYTES`].
    pub name: String,
    /// Changes of authority so far. A message about an older epoch is stale.
    pub epoch: u64,
    /// Changes of this record in this epoch.
    pub version: u64,
    /// The tick after which the record holds.
    pub tick: SimTick,
    /// Logical sector: the one that its authority counts it in.
    pub sector: SectorId,
    /// Its position and motion.
    pub state: FlightState,
    /// Radius of its circle, units.
    pub radius: f64,
    /// Hull points left.
    pub hull: u16,
    /// Hull points when undamaged.
    pub hull_max: u16,
    /// No shot before this tick.
    pub weapon_ready: SimTick,
    /// No handoff before this tick: a ship that oscillates on a border changes shards at most once a second.
    pub settled_at: SimTick,
    /// A player's control, while a session controls the ship.
    pub pilot: Option<Pilot>,
    /// A drone's control.
    pub mind: Option<DroneMind>,
    /// No missile before this tick.
    pub launcher_ready: SimTick,
    /// No beam before this tick.
    pub beam_ready: SimTick,
    /// A missile's warhead.
    pub warhead: Option<Warhead>,
    /// The station at which a ship is docked.
    pub docked: Option<EntityId>,
    /// The weapons that are fitted to a ship.
    pub fitted: Fitted,
    /// Units of ore in a rock, a hold or a crate, by the last value from the server's ledger. Only the ledger's amount
    /// counts: the server overwrites this field in records from shards and from the database.
    pub ore: u32,
    /// When a crate ends; zero for entities that do not end by themselves.
    pub expires: SimTick,
}

impl EntityRecord {
    /// A minimal record of its kind: at rest at `position` (world units), with one hull point of one, no waiting times,
    /// no owner.
    pub fn at_rest(id: EntityId, kind: EntityKind, position: DVec2, tick: SimTick) -> Self {
        Self {
            id,
            net_id: NetId(0),
            kind,
            hull_kind: None,
            owner: None,
            name: String::new(),
            epoch: 0,
            version: 0,
            tick,
            sector: SectorId::containing(position),
            state: FlightState { position, ..FlightState::default() },
            radius: 1.0,
            hull: 1,
            hull_max: 1,
            weapon_ready: SimTick(0),
            settled_at: SimTick(0),
            pilot: None,
            mind: None,
            launcher_ready: SimTick(0),
            beam_ready: SimTick(0),
            warhead: None,
            docked: None,
            fitted: Fitted::default(),
            ore: 0,
            expires: SimTick(0),
        }
    }

    /// The order of two records of one entity: by epoch, then by version. The greater one is newer.
    pub fn fence(&self) -> (u64, u64) {
        (self.epoch, self.version)
    }

    /// Whether all fields are in range. Records from other processes are checked with it.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] names the field.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let out = |field| Err(DecodeError::OutOfRange(field));
        if !self.state.is_finite() {
            return out("state");
        }
        if !(self.radius.is_finite() && self.radius > 0.0 && self.radius <= 500.0) {
            return out("radius");
        }
        if self.name.len() > MAX_NAME_BYTES {
            return out("name");
        }
        if self.hull > self.hull_max {
            return out("hull");
        }
        if self.mind.is_some_and(|mind| !(mind.home.is_finite() && mind.patrol_phase.is_finite())) {
            return out("mind");
        }
        if !self.kind.spec().allows_hull(self.hull_kind) {
            return out("hull_kind");
        }
        if (self.kind == EntityKind::Missile) != self.warhead.is_some() {
            return out("warhead");
        }
        if self.docked.is_some() && self.kind != EntityKind::Ship {
            return out("docked");
        }
        if !self.fitted.is_known() {
            return out("fitted");
        }
        Ok(())
    }

    /// The bytes that are stored: a format byte, then postcard.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] past [`MAX_RECORD_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let bytes = postcard::to_extend(self, vec![RECORD_FORMAT])
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_RECORD_BYTES });
        }
        Ok(bytes)
    }

    /// Reads what [`EntityRecord::encode`] wrote, and validates it.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_RECORD_BYTES });
        }
        let (&format, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        let record: Self = match format {
            RECORD_FORMAT => postcard::from_bytes(rest),
            RECORD_FORMAT_2 => postcard::from_bytes(&[rest, &[0; ADDED_BY_3]].concat()),
            RECORD_FORMAT_1 => postcard::from_bytes(&[rest, &[0; ADDED_BY_2 + ADDED_BY_3]].concat()),
            other => return Err(DecodeError::UnknownKind(other)),
        }
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        record.validate()?;
        Ok(record)
    }
}
