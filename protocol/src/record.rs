//! Everything about one entity: what moves between shards, is mirrored, and is stored.

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

/// First byte of an encoded record: raised when the layout changes; a stored record of another
/// format is refused by name, not misread.
pub const RECORD_FORMAT: u8 = 3;

/// The format before there were missiles and beams. Still read: what it lacks is what a record of that
/// time had, no warhead and nothing to wait for.
const RECORD_FORMAT_1: u8 = 1;

/// The format before there was an economy. Still read: nobody was docked, nothing was fitted.
const RECORD_FORMAT_2: u8 = 2;

/// What the later formats added at a record's end, all of it zero for older ones: in format 2 two ticks and no
/// warhead, in format 3 no station, nothing fitted, no ore, no end.
const ADDED_BY_2: usize = 3;
const ADDED_BY_3: usize = 4;

/// What an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntityKind {
    /// A ship with a player's account as its owner.
    Ship = 1,
    /// A ship flown by the shard.
    Drone = 2,
    /// A rock.
    Asteroid = 3,
    /// A homing missile in flight.
    Missile = 4,
    /// A station: nothing moves or breaks it.
    Station = 5,
    /// What is left of a ship's cargo.
    Crate = 6,
}

impl EntityKind {
    /// The kind for a number from outside.
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Ship),
            2 => Some(Self::Drone),
            3 => Some(Self::Asteroid),
            4 => Some(Self::Missile),
            5 => Some(Self::Station),
            6 => Some(Self::Crate),
            _ => None,
        }
    }
}

/// The state of a player's hands on a ship; it goes with the ship from shard to shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Pilot {
    /// Which boarding this is, as the server counts them in its run: each session that takes a ship's helm begins one,
    /// with stamps and counts of its own. Inputs of an earlier one are void.
    pub boarding: u32,
    /// Stamp of the last input applied; zero before the first.
    pub last_input: SimTick,
    /// Inputs applied since the pilot came aboard.
    pub inputs_applied: u64,
    /// What the hands did last: held while no newer input is there.
    pub controls: Controls,
    /// Ticks between an input's stamp and the tick that applies it.
    pub input_delay_ticks: u8,
    /// How far back its beams may be judged, quarters of a tick: what the server has measured of the pilot's link.
    pub rewind: u8,
}

impl Pilot {
    /// A pilot who has just come aboard and has done nothing yet.
    pub fn aboard(boarding: u32, rewind: u8) -> Self {
        Self { boarding, rewind, input_delay_ticks: FIRST_INPUT_DELAY_TICKS, ..Self::default() }
    }
}

/// What a drone has in mind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DroneMind {
    /// Centre of its patrol, world units.
    pub home: DVec2,
    /// Where it is on its patrol, radians round its home.
    pub patrol_phase: f64,
    /// Whom it chases.
    pub target: Option<EntityId>,
}

/// What a missile is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warhead {
    /// Who launched it; it never hits that one.
    pub shooter: EntityId,
    /// Whom it steers to; without a target it flies on straight.
    pub target: Option<EntityId>,
    /// When it ends by itself.
    pub expires: SimTick,
}

/// Everything about one entity. A record says how it was after `tick`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityRecord {
    /// Its name for ever.
    pub id: EntityId,
    /// Its compact id in this run of the server; [`NetId`] 0 in what is stored.
    pub net_id: NetId,
    /// What it is.
    pub kind: EntityKind,
    /// The hull of what flies.
    pub hull_kind: Option<HullKind>,
    /// The player that it belongs to.
    pub owner: Option<AccountId>,
    /// What players read; at most [`MAX_NAME_BYTES`].
    pub name: String,
    /// Changes of authority so far. A message about an older epoch is stale.
    pub epoch: u64,
    /// Changes of this record in this epoch.
    pub version: u64,
    /// The tick after which the record holds.
    pub tick: SimTick,
    /// Logical sector: the one that its authority holds it in.
    pub sector: SectorId,
    /// Where and how it moves.
    pub state: FlightState,
    /// Radius of its circle, units.
    pub radius: f64,
    /// Hull points left.
    pub hull: u16,
    /// Hull points when whole.
    pub hull_max: u16,
    /// No shot before this tick.
    pub weapon_ready: SimTick,
    /// No handoff before this tick: a ship that dances on a border changes shards at most once a second.
    pub settled_at: SimTick,
    /// A player's hands, while a player is aboard.
    pub pilot: Option<Pilot>,
    /// A drone's mind.
    pub mind: Option<DroneMind>,
    /// No missile before this tick.
    pub launcher_ready: SimTick,
    /// No beam before this tick.
    pub beam_ready: SimTick,
    /// A missile's warhead.
    pub warhead: Option<Warhead>,
    /// The station that a ship is docked at.
    pub docked: Option<EntityId>,
    /// What was bought for a ship.
    pub fitted: Fitted,
    /// Units of ore in a rock, a hold or a crate, as the server's ledger last told. Only the ledger's word
    /// counts: in a record that comes from a shard, or from the database, the server puts its own here.
    pub ore: u32,
    /// When a crate is lost; zero for what does not end by itself.
    pub expires: SimTick,
}

impl EntityRecord {
    /// The least that a record of its kind holds: at rest at `position` (world units), whole with one hull
    /// point, ready for everything, nobody's.
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

    /// Which of two records of one entity is newer: the higher epoch, then the higher version.
    pub fn fence(&self) -> (u64, u64) {
        (self.epoch, self.version)
    }

    /// Whether everything in it is in range: what comes from outside is checked with it.
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
        let fits = match self.kind {
            EntityKind::Ship | EntityKind::Drone => self.hull_kind.is_some_and(|hull| hull != HullKind::Missile),
            EntityKind::Missile => self.hull_kind == Some(HullKind::Missile),
            EntityKind::Asteroid | EntityKind::Station | EntityKind::Crate => self.hull_kind.is_none(),
        };
        if !fits {
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
