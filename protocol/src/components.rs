//! The lifecycle plane: naia components of every entity in the mirror.
//!
//! They change rarely. Position and motion are not here but in [`crate::packets::motion::SectorUpdate`], matched by net id.

use crate::{
    record::{EntityKind, EntityRecord},
    rules::flight::HullKind,
    world::ids::{AccountId, EntityId, NetId},
};
use uuid::Uuid;

pub use replicated::{Identity, OreDeposit, Vitals};

/// A module for these alone, because the lint cannot be allowed in a smaller scope.
#[allow(missing_docs, reason = "`derive(Replicate)` makes a public `new_complete` without documentation")]
mod replicated {
    use bevy::prelude::Component;
    use naia_bevy_shared::{Property, Replicate};

    /// The identity of an entity. While the entity lives, only the kind of its hull and the radius change: a ship may
    /// get another hull at a station.
    #[derive(Component, Replicate)]
    pub struct Identity {
        /// Entity id, upper half.
        pub id_high: Property<u64>,
        /// Entity id, lower half.
        pub id_low: Property<u64>,
        /// Compact id in motion packets.
        pub net_id: Property<u32>,
        /// [`EntityKind`](crate::record::EntityKind) as a number.
        pub kind: Property<u8>,
        /// [`HullKind`](crate::rules::flight::HullKind) as a number; 255 for entities that do not fly.
        pub hull_kind: Property<u8>,
        /// Owner's account id, upper half; both halves zero for none.
        pub owner_high: Property<u64>,
        /// Owner's account id, lower half.
        pub owner_low: Property<u64>,
        /// Radius, units.
        pub radius: Property<f32>,
        /// The name for players.
        pub name: Property<String>,
    }

    /// The ore in a rock or a crate, visible to all.
    #[derive(Component, Replicate)]
    pub struct OreDeposit {
        /// Units of ore.
        pub ore: Property<u32>,
    }

    /// The condition of an entity.
    #[derive(Component, Replicate)]
    pub struct Vitals {
        /// Hull points left.
        pub hull: Property<u16>,
        /// Hull points when undamaged.
        pub hull_max: Property<u16>,
    }
}

impl Identity {
    /// The identity in a record.
    pub fn of(record: &EntityRecord) -> Self {
        let (id_high, id_low) = record.id.to_halves();
        let (owner_high, owner_low) = record.owner.map_or((0, 0), |owner| owner.0.as_u64_pair());
        Self::new_complete(
            id_high,
            id_low,
            record.net_id.0,
            record.kind as u8,
            record.hull_number(),
            owner_high,
            owner_low,
            record.radius() as f32,
            record.name.clone(),
        )
    }

    /// The entity's id.
    pub fn entity_id(&self) -> EntityId {
        EntityId::from_halves(*self.id_high, *self.id_low)
    }

    /// The compact id.
    pub fn net_id(&self) -> NetId {
        NetId(*self.net_id)
    }

    /// The kind; `None` for a kind of a newer build.
    pub fn entity_kind(&self) -> Option<EntityKind> {
        EntityKind::from_u8(*self.kind)
    }

    /// Its hull, if it flies.
    pub fn hull_kind(&self) -> Option<HullKind> {
        HullKind::from_u8(*self.hull_kind)
    }

    /// The player that owns it.
    pub fn owner(&self) -> Option<AccountId> {
        let owner = Uuid::from_u64_pair(*self.owner_high, *self.owner_low);
        (!owner.is_nil()).then_some(AccountId(owner))
    }
}

impl OreDeposit {
    /// The ore in a record; `None` for kinds whose ore is not shown.
    pub fn of(record: &EntityRecord) -> Option<Self> {
        record.kind.spec().shows_ore().then(|| Self::new_complete(record.ore()))
    }
}

impl Vitals {
    /// The vitals in a record.
    pub fn of(record: &EntityRecord) -> Self {
        Self::new_complete(record.hull(), record.structure().hull_max)
    }
}
