//! The complete state of one entity, as it moves between shards, is mirrored and is stored.
//!
//! A record is a header (which entity, its owner, its authority), a motion, and [`Sections`]: the parts that capabilities
//! own.
//!
//! ```
//! use sidereal_protocol::{DVec2, world::{ids::EntityId, tick::SimTick}};
//! use sidereal_protocol::record::{EntityKind, EntityRecord, OreLoad, Structure};
//!
//! let id = EntityId::from_halves(1, 2);
//! let rock = EntityRecord::at_rest(id, EntityKind::Asteroid, DVec2::new(1500.0, 20.0), SimTick(900))
//!     .with(Structure::whole(20.0, 80))
//!     .with(OreLoad(100));
//! let mut again = EntityRecord::decode(&rock.encode()?)?;
//! assert_eq!(again, rock);
//! again.set(Structure { hull: 79, ..again.structure() });
//! assert_eq!((again.hull(), again.radius(), again.ore()), (79, 20.0, 100));
//! # Ok::<(), sidereal_protocol::DecodeError>(())
//! ```

mod economy;
pub mod formats;
mod pilots;
mod sections;
mod structure;
mod weapons;

pub use self::{
    economy::{DockedAt, ExpiresAt, OreLoad},
    pilots::{DroneMind, Pilot},
    sections::{Presence, RawSection, SECTIONS, Section, SectionSpec, Sections, read_exactly},
    structure::{SettledAt, ShipHull, Structure},
    weapons::{BeamReady, GunReady, LauncherReady, Warhead},
};
pub use crate::world::kind::EntityKind;
use crate::{
    DecodeError,
    limits::{MAX_NAME_BYTES, MAX_RECORD_BYTES},
    rules::flight::FlightState,
    world::{
        ids::{AccountId, EntityId, NetId},
        sector::SectorId,
        tick::SimTick,
    },
};
use bevy::math::DVec2;
use formats::{Format1, Format2, Format3};
use serde::{Deserialize, Serialize};

/// First byte of an encoded record, raised when the layout of its header changes. A stored record of an unknown format
/// is rejected with its number. The older ones are read by [`formats`].
pub const RECORD_FORMAT: u8 = 4;

/// The complete state of one entity after `tick`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityRecord {
    /// Its permanent id.
    pub id: EntityId,
    /// Its compact id in this run of the server; [`NetId`] 0 in stored records.
    pub net_id: NetId,
    /// Its kind.
    pub kind: EntityKind,
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
    /// The parts that capabilities own.
    pub sections: Sections,
}

impl EntityRecord {
    /// A minimal record of its kind: at rest at `position` (world units), with no owner and no sections. That is one hull
    /// point of one, a radius of one unit, and no waiting times. A ship still needs its [`ShipHull`], a missile its
    /// [`Warhead`].
    pub fn at_rest(id: EntityId, kind: EntityKind, position: DVec2, tick: SimTick) -> Self {
        Self {
            id,
            net_id: NetId(0),
            kind,
            owner: None,
            name: String::new(),
            epoch: 0,
            version: 0,
            tick,
            sector: SectorId::containing(position),
            state: FlightState { position, ..FlightState::default() },
            sections: Sections::default(),
        }
    }

    /// The order of two records of one entity: by epoch, then by version. The greater one is newer.
    pub fn fence(&self) -> (u64, u64) {
        (self.epoch, self.version)
    }

    /// Its section of type `S`, if it has one.
    pub fn get<S: Section>(&self) -> Option<S> {
        self.sections.get()
    }

    /// Writes a section in place of the one of the same type. A section that records of this kind never have is not
    /// written.
    pub fn set<S: Section>(&mut self, section: S) {
        if S::presence(self.kind) != Presence::Never {
            self.sections.set(&section);
        }
    }

    /// The same for a section that may be missing: with `None` it is removed.
    pub fn set_or_remove<S: Section>(&mut self, section: Option<S>) {
        match section {
            Some(section) => self.set(section),
            None => self.sections.remove(S::ID),
        }
    }

    /// Removes the section of type `S`.
    pub fn remove<S: Section>(&mut self) {
        self.sections.remove(S::ID);
    }

    /// This record with a section.
    #[must_use]
    pub fn with<S: Section>(mut self, section: S) -> Self {
        self.set(section);
        self
    }

    /// Whether all fields are in range, and all sections those of its kind. Records from other processes are checked
    /// with it. Sections with unknown numbers pass.
    ///
    /// # Errors
    /// [`DecodeError`] names the field or the section.
    pub fn validate(&self) -> Result<(), DecodeError> {
        if !self.state.is_finite() {
            return Err(DecodeError::OutOfRange("state"));
        }
        if self.name.len() > MAX_NAME_BYTES {
            return Err(DecodeError::OutOfRange("name"));
        }
        sections::check(&self.sections, self.kind)
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

    /// Reads what [`EntityRecord::encode`] of this or an earlier build wrote, and validates it.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_RECORD_BYTES });
        }
        let (&format, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        let record: Self = match format {
            RECORD_FORMAT => read_exactly(rest)?,
            3 => read_exactly::<Format3>(rest)?.try_into()?,
            2 => Format3::from(read_exactly::<Format2>(rest)?).try_into()?,
            1 => Format3::from(Format2::from(read_exactly::<Format1>(rest)?)).try_into()?,
            other => return Err(DecodeError::UnknownKind(other)),
        };
        record.validate()?;
        Ok(record)
    }
}
