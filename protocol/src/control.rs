//! The control stream between the server and a shard: reliable, ordered frames of postcard.
//!
//! Leases and their records, the five steps of a handoff, routed inputs, records that changed, and
//! the census by which the server checks that nothing is lost or doubled. Both sides check every
//! frame; what is stale (an old epoch) is refused and counted, never an error.

use crate::{
    DecodeError,
    economy::{Bargain, DealKey, DealRefusal, OreMove},
    ids::{EntityId, NetId, NetIdBlock, ShardId},
    input::Input,
    limits::MAX_CONTROL_BYTES,
    record::EntityRecord,
    sector::SectorId,
    shot::{Shot, ShotId},
    tick::SimTick,
};
use bevy::math::DVec2;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A lease on one sector. The epoch rises at every change of owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The sector.
    pub sector: SectorId,
    /// Changes of owner so far.
    pub epoch: u64,
}

/// Why a target would not take an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefuseReason {
    /// It holds no lease on the sector.
    NoLease,
    /// It already simulates the entity.
    AlreadyOwned,
    /// The record is out of range.
    BadRecord,
}

/// What an impact came from. With the target it names the impact: each is felt once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ImpactCause {
    /// A bullet: it ends with its first hit.
    Bullet(ShotId),
    /// A beam: it hits one at most.
    Beam(ShotId),
    /// A missile: it ends with its hit.
    Missile(EntityId),
    /// Two bodies met. Both sides may have seen it: see `shard`'s contacts.
    Contact {
        /// The other body.
        other: EntityId,
    },
}

/// Damage and impulse on an entity, for its authority, sent once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GhostImpact {
    /// Whom it concerns.
    pub target: EntityId,
    /// Who caused it.
    pub source: Option<EntityId>,
    /// What it came from.
    pub cause: ImpactCause,
    /// Change of velocity times mass, units/s (mass counts as one).
    pub impulse: DVec2,
    /// Hull points.
    pub damage: u16,
    /// When, in the source's simulation.
    pub tick: SimTick,
}

/// From the server to a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToShard {
    /// First frame: who you are, and when it is. `sim_tick` is the world's tick at naia's `naia_tick`.
    Welcome {
        /// Your id.
        shard: ShardId,
        /// The world's tick at...
        sim_tick: SimTick,
        /// ...this tick of naia's.
        naia_tick: u16,
        /// What ids and places of new things are made from: the world's own seed stays with the server.
        id_seed: u64,
        /// Net ids for what you create.
        net_ids: NetIdBlock,
    },
    /// More net ids, before the last block is used up.
    NetIds(NetIdBlock),
    /// These sectors are yours from now on, with these entities. A large grant comes in several
    /// frames: the leases in the first, records in all.
    Grant {
        /// Sectors.
        leases: Vec<Lease>,
        /// Entities in them, authority already yours under each record's epoch.
        records: Vec<EntityRecord>,
    },
    /// Handoff, step 2: would you take this entity, under the record's (new) epoch? Asked only when the
    /// target was not heard of just now.
    Offer {
        /// The record as the source prepared it.
        record: Box<EntityRecord>,
    },
    /// Handoff, step 4 at the target: it is yours under the record's epoch; first apply these inputs.
    /// Sent again until it is answered by [`ToServer::Adopted`].
    Commit {
        /// The record as the source prepared it.
        record: Box<EntityRecord>,
        /// Inputs after the record's last one, oldest first.
        inputs: Vec<Input>,
    },
    /// Handoff, step 5 at the source: no longer yours; turn it into a ghost.
    Release {
        /// Whom.
        id: EntityId,
        /// The new owner's epoch.
        epoch: u64,
    },
    /// An attempt to hand `id` over has failed: the source goes on as the owner.
    Abort {
        /// Whom.
        id: EntityId,
        /// The source's number for the attempt.
        attempt: u32,
    },
    /// A player's inputs, each sent once, oldest first. Those of a boarding that the shard has not heard of begin it,
    /// even if there are none yet: what waits of the one before is void.
    Inputs {
        /// The ship.
        id: EntityId,
        /// Whose they are: see [`Pilot::boarding`](crate::record::Pilot::boarding).
        boarding: u32,
        /// See [`Pilot::rewind`](crate::record::Pilot::rewind).
        rewind: u8,
        /// Strictly rising ticks.
        inputs: Vec<Input>,
    },
    /// Give this entity back: answer [`ToServer::Withdrawn`] with its last record.
    Withdraw {
        /// Whom.
        id: EntityId,
    },
    /// Something of a neighbour's hit one of yours.
    Impact(GhostImpact),
    /// A shot from a neighbour flies on into your sectors.
    Shot(Shot),
    /// A pilot asks for this: may the ship do it now? Answer [`ToServer::Deal`].
    Deal {
        /// The deal.
        key: DealKey,
        /// The pilot's ship, yours.
        ship: EntityId,
        /// What is asked for. Of a trade each of the two ships is asked for [`Bargain::Accept`].
        bargain: Bargain,
        /// In a trade, the ship on the other side.
        partner: Option<EntityId>,
    },
    /// A deal that you let pass is in the database, or has failed. If it is done, the record that you answered
    /// with is the ship's.
    Settled {
        /// The deal.
        key: DealKey,
        /// The ship.
        ship: EntityId,
        /// Whether it was done.
        done: bool,
    },
    /// How much ore is in a rock, a hold or a crate now.
    Holdings {
        /// Whom it concerns; yours, or what one of yours has just mined.
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
    /// The shard simulates these leases now.
    Granted {
        /// Sectors.
        leases: Vec<Lease>,
    },
    /// Handoff, step 1: this entity has crossed into `to`, which is not mine.
    Prepare {
        /// All of it, with the last applied input, under a version of its own.
        record: Box<EntityRecord>,
        /// The sector that it is in now.
        to: SectorId,
        /// Which of the shard's attempts this is.
        attempt: u32,
    },
    /// Handoff, step 3: I can take it.
    Accept {
        /// Whom.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
    },
    /// Handoff: I cannot.
    Refuse {
        /// Whom.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
        /// Why.
        reason: RefuseReason,
    },
    /// The committed entity has had its first tick here.
    Adopted {
        /// Whom.
        id: EntityId,
        /// The epoch.
        epoch: u64,
        /// That tick.
        tick: SimTick,
        /// From the commit's arrival to the end of that tick, microseconds; at most `u32::MAX`.
        waited_us: u32,
    },
    /// Something besides motion changed (or a new entity came to be: a drone that was launched).
    Record(Box<EntityRecord>),
    /// An entity is no more.
    Destroyed {
        /// Whom.
        id: EntityId,
        /// Its epoch.
        epoch: u64,
        /// Its last version plus one.
        version: u64,
        /// When.
        tick: SimTick,
        /// By whose shot.
        by: Option<EntityId>,
        /// The crate with its cargo, a new entity of this shard's. The server moves the cargo.
        wreck: Option<Box<EntityRecord>>,
    },
    /// One of mine has mined a rock, or taken in a crate.
    OreMove(OreMove),
    /// The answer to [`ToShard::Deal`].
    Deal {
        /// The deal.
        key: DealKey,
        /// The ship.
        ship: EntityId,
        /// The ship's record as it will be if the deal is done, under a new version; the ship does not change
        /// until [`ToShard::Settled`]. `None` where the deal changes nothing but who has what (a trade). Or why
        /// not.
        verdict: Result<Option<Box<EntityRecord>>, DealRefusal>,
    },
    /// The answer to [`ToShard::Withdraw`].
    Withdrawn {
        /// Its last record.
        record: Box<EntityRecord>,
    },
    /// One of mine hit one that is not mine.
    Impact(GhostImpact),
    /// A shot has left my sectors for this one.
    Shot {
        /// The shot.
        shot: Shot,
        /// The sector that it enters.
        to: SectorId,
    },
    /// Once a second: everything that I am the authority of, with epochs, for the server to check.
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
    /// Last words: my simulation has failed, and I close.
    Crashed {
        /// The entity that I was at, if I know.
        at: Option<EntityId>,
    },
}

/// The frame for a message.
///
/// # Errors
/// [`DecodeError::TooLong`] past [`MAX_CONTROL_BYTES`]: the sender splits what can be that long.
pub fn encode_frame<T: Serialize>(message: &T) -> Result<Vec<u8>, DecodeError> {
    let bytes = postcard::to_extend(message, Vec::new()).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if bytes.len() > MAX_CONTROL_BYTES {
        return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_CONTROL_BYTES });
    }
    Ok(bytes)
}

/// Reads a frame. Records inside are not validated yet: see [`EntityRecord::validate`].
///
/// # Errors
/// Any [`DecodeError`].
pub fn decode_frame<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > MAX_CONTROL_BYTES {
        return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_CONTROL_BYTES });
    }
    match postcard::take_from_bytes(bytes) {
        Ok((frame, [])) => Ok(frame),
        Ok((_, rest)) => Err(DecodeError::Malformed(format!("{} bytes follow the frame", rest.len()))),
        Err(error) => Err(DecodeError::Malformed(error.to_string())),
    }
}
