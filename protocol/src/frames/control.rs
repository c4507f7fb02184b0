//! The control stream between the server and a shard: reliable, ordered frames of postcard.
//!
//! Leases and their records, the five steps of a handoff, routed inputs, changed records, and the census by which the
//! server checks that no entity is lost or doubled. Both sides check every frame. A stale frame (an old epoch) is
//! refused and counted; it is never an error.

use crate::{
    DecodeError,
    limits::MAX_CONTROL_BYTES,
    packets::input::Input,
    record::{EntityRecord, read_exactly},
    rules::{
        cause::Credit,
        economy::{Bargain, DealKey, DealRefusal, OreMove},
        shot::Shot,
    },
    world::{
        ids::{EntityId, NetId, NetIdBlock, ShardId},
        sector::SectorId,
        tick::SimTick,
    },
};
use bevy::math::DVec2;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::rules::cause::ImpactCause;

/// A lease on one sector. The epoch rises at every change of owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The sector.
    pub sector: SectorId,
    /// Changes of owner so far.
    pub epoch: u64,
}

/// Why a target refuses an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefuseReason {
    /// It holds no lease on the sector.
    NoLease,
    /// It already simulates the entity.
    AlreadyOwned,
    /// The record is out of range.
    BadRecord,
}

/// Damage and impulse on an entity, for its authority, sent once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GhostImpact {
    /// The entity that was hit.
    pub target: EntityId,
    /// The entity that caused it.
    pub source: Option<EntityId>,
    /// How it was caused.
    pub cause: ImpactCause,
    /// Change of velocity times mass, units/s (with a mass of one).
    pub impulse: DVec2,
    /// Hull points.
    pub damage: u16,
    /// Its tick in the source's simulation.
    pub tick: SimTick,
}

impl GhostImpact {
    /// The entity that destroyed the target, if this ends it.
    pub fn culprit(&self) -> Option<EntityId> {
        match self.cause.spec().credit {
            Credit::Source => self.source,
            Credit::OtherBody => self.cause.other_body(),
            Credit::None => None,
        }
    }

    /// Whether it does nothing that its cause cannot do.
    pub fn fits_cause(&self) -> bool {
        let spec = self.cause.spec();
        (spec.harms || self.damage == 0) && (spec.pushes || self.impulse == DVec2::ZERO)
    }
}

/// One player's inputs, each sent once, oldest first. Inputs of a new boarding begin it, even if the list is empty: pending
/// inputs of the previous boarding are dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShipInputs {
    /// The ship.
    pub id: EntityId,
    /// Their boarding: see [`Pilot::boarding`](crate::record::Pilot::boarding).
    pub boarding: u32,
    /// See [`Pilot::rewind`](crate::record::Pilot::rewind).
    pub rewind: u8,
    /// Strictly rising ticks.
    pub inputs: Vec<Input>,
}

/// From the server to a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToShard {
    /// First frame: the shard's id and the time. `sim_tick` is the world's tick at naia's `naia_tick`.
    Welcome {
        /// The shard's id.
        shard: ShardId,
        /// The world's tick at...
        sim_tick: SimTick,
        /// ...this tick of naia's.
        naia_tick: u16,
        /// Seed for ids and positions of new entities. The world's own seed stays with the server.
        id_seed: u64,
        /// Net ids for entities that the shard creates.
        net_ids: NetIdBlock,
    },
    /// More net ids, before the last block is used up.
    NetIds(NetIdBlock),
    /// The shard now holds these sectors, with these entities. A large grant is sent in several frames: the leases in
    /// the first, records in all.
    Grant {
        /// Sectors.
        leases: Vec<Lease>,
        /// Entities in them. The shard has their authority, under each record's epoch.
        records: Vec<EntityRecord>,
    },
    /// Handoff, step 2: can the shard take this entity, under the record's (new) epoch? Only sent when nothing was
    /// received from the target in the last ticks.
    Offer {
        /// The record as the source prepared it.
        record: Box<EntityRecord>,
    },
    /// Handoff, step 4 at the target: the shard now has the authority, under the record's epoch, and applies these
    /// inputs first. Sent again until [`ToServer::Adopted`] answers it.
    Commit {
        /// The record as the source prepared it.
        record: Box<EntityRecord>,
        /// Inputs after the record's last one, oldest first.
        inputs: Vec<Input>,
    },
    /// Handoff, step 5 at the source: it no longer has the authority and turns the body into a ghost.
    Release {
        /// The entity.
        id: EntityId,
        /// The new authority's epoch.
        epoch: u64,
    },
    /// An attempt to hand `id` over has failed: the source stays the authority.
    Abort {
        /// The entity.
        id: EntityId,
        /// The source's number for the attempt.
        attempt: u32,
    },
    /// Players' inputs that arrived together, in the order of their arrival; a ship may be in it several times.
    Inputs(Vec<ShipInputs>),
    /// The server takes this entity back: answer [`ToServer::Withdrawn`] with its last record.
    Withdraw {
        /// The entity.
        id: EntityId,
    },
    /// A neighbour's shot or body hit an entity of this shard.
    Impact(GhostImpact),
    /// A neighbour's shot enters this shard's sectors.
    Shot(Shot),
    /// A player requests a deal: may the ship do it now? Answer [`ToServer::Deal`].
    Deal {
        /// The deal.
        key: DealKey,
        /// The player's ship, simulated by this shard.
        ship: EntityId,
        /// The request. In a trade each of the two ships receives [`Bargain::Accept`].
        bargain: Bargain,
        /// In a trade, the other party's ship.
        partner: Option<EntityId>,
    },
    /// A deal that the shard accepted is in the database, or has failed. If it is done, the ship takes the record of
    /// the shard's answer.
    Settled {
        /// The deal.
        key: DealKey,
        /// The ship.
        ship: EntityId,
        /// Whether it was done.
        done: bool,
    },
    /// The present amount of ore in a rock, a hold or a crate.
    Holdings {
        /// The entity: one of this shard's, or one that a ship of this shard has just mined.
        id: EntityId,
        /// Units of ore.
        ore: u32,
    },
    /// The server ends: send the last record of everything, then [`ToServer::Drained`].
    Drain,
}

/// From a shard to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToServer {
    /// Handoff, step 1: this entity has crossed into `to`, which this shard does not hold.
    Prepare {
        /// The complete record, with the last applied input, under a version of its own.
        record: Box<EntityRecord>,
        /// The sector that it is in now.
        to: SectorId,
        /// Which of the shard's attempts this is.
        attempt: u32,
    },
    /// Handoff, step 3: this shard can take it.
    Accept {
        /// The entity.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
    },
    /// Handoff: this shard cannot take it.
    Refuse {
        /// The entity.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
        /// Why.
        reason: RefuseReason,
    },
    /// The committed entity is this shard's own, advanced to its clock. Its first state is sent on the lane with this.
    Adopted {
        /// The entity.
        id: EntityId,
        /// The epoch.
        epoch: u64,
        /// The tick of that state.
        tick: SimTick,
        /// From the handling of the commit until this answer, microseconds; at most `u32::MAX`.
        waited_us: u32,
    },
    /// Something besides motion changed, or a new entity was created (such as a launched missile or drone).
    Record(Box<EntityRecord>),
    /// An entity was destroyed.
    Destroyed {
        /// The entity.
        id: EntityId,
        /// Its epoch.
        epoch: u64,
        /// Its last version plus one.
        version: u64,
        /// The tick of its destruction.
        tick: SimTick,
        /// The entity that shot it.
        by: Option<EntityId>,
        /// The crate with its cargo, a new entity of this shard. The server moves the cargo.
        wreck: Option<Box<EntityRecord>>,
    },
    /// A ship of this shard has mined a rock, or collected a crate.
    OreMove(OreMove),
    /// The answer to [`ToShard::Deal`].
    Deal {
        /// The deal.
        key: DealKey,
        /// The ship.
        ship: EntityId,
        /// The ship's record as it will be if the deal is done, under a new version. The ship does not change until
        /// [`ToShard::Settled`]. `None` where the deal only moves balances (a trade). Or the reason for the refusal.
        verdict: Result<Option<Box<EntityRecord>>, DealRefusal>,
    },
    /// The answer to [`ToShard::Withdraw`].
    Withdrawn {
        /// Its last record.
        record: Box<EntityRecord>,
    },
    /// An entity of this shard hit one of another shard.
    Impact(GhostImpact),
    /// A shot has left this shard's sectors for this one.
    Shot {
        /// The shot.
        shot: Shot,
        /// The sector that it enters.
        to: SectorId,
    },
    /// Once a second: every entity that this shard is the authority of, with epochs, for the server to check.
    Census {
        /// After this tick.
        tick: SimTick,
        /// Net id and epoch of each entity.
        entities: Vec<(NetId, u64)>,
        /// Inputs applied by this shard so far.
        inputs_applied: u64,
    },
    /// The answer to [`ToShard::Drain`], after the last record.
    Drained,
    /// Last frame: the shard's simulation has panicked, and its session closes.
    Crashed {
        /// The entity that the simulation was working on, if known.
        at: Option<EntityId>,
    },
}

/// Encodes a message as a frame.
///
/// # Errors
/// [`DecodeError::TooLong`] past [`MAX_CONTROL_BYTES`]: the sender splits messages that can be that long.
pub fn encode_frame<T: Serialize>(message: &T) -> Result<Vec<u8>, DecodeError> {
    let bytes = postcard::to_extend(message, Vec::new()).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if bytes.len() > MAX_CONTROL_BYTES {
        return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_CONTROL_BYTES });
    }
    Ok(bytes)
}

/// Decodes a frame. Records inside are not validated yet: see [`EntityRecord::validate`].
///
/// # Errors
/// Any [`DecodeError`].
pub fn decode_frame<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > MAX_CONTROL_BYTES {
        return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_CONTROL_BYTES });
    }
    read_exactly(bytes)
}
