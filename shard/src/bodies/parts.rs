//! Parts of records: each capability says what of a record is its own, once.
//!
//! Runs in the shard. A capability's plugin registers its components with [`AppRecordParts::add_record_part`]. When a body
//! is made of a record, each part that the record has becomes a component; when the body's record is made, each component
//! writes its part back; when the body becomes a ghost, all of them go.

use bevy::prelude::*;
use sidereal_protocol::{
    economy::Fitted,
    record::{EntityRecord, Section, Sections, SettledAt, ShipHull, Structure},
};

/// A component of own bodies that a capability has.
pub trait RecordPart: Component + Sized {
    /// The number of the section that it is kept in; `None`: it is not kept.
    const SECTION: Option<u16> = None;

    /// That of a record; `None` if its body has none.
    fn of(record: &EntityRecord) -> Option<Self>;

    /// Writes into `record` what of this is to be kept. As it is, nothing is.
    fn write(&self, _record: &mut EntityRecord) {}
}

#[derive(Clone, Copy)]
struct Part {
    insert: fn(&EntityRecord, &mut EntityWorldMut),
    write: fn(EntityRef, &mut EntityRecord),
    remove: fn(&mut EntityWorldMut),
}

/// All parts that are registered, and the numbers of all sections that this shard knows.
#[derive(Resource, Clone)]
pub(crate) struct RecordParts {
    parts: Vec<Part>,
    known: Vec<u16>,
}

/// Sections of an own body that no capability of this shard knows. They leave with its record as they came.
#[derive(Component, Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownSections(Sections);

impl Default for RecordParts {
    /// Every body has a [`Body`](crate::bodies::body::Body) and an authority: what those keep is known.
    fn default() -> Self {
        Self { parts: Vec::new(), known: vec![Structure::ID, ShipHull::ID, SettledAt::ID, Fitted::ID] }
    }
}

impl RecordParts {
    pub fn insert(&self, record: &EntityRecord, entity: &mut EntityWorldMut) {
        self.parts.iter().for_each(|part| (part.insert)(record, entity));
        let unknown = record.sections.only(|id| !self.known.contains(&id));
        if !unknown.is_empty() {
            entity.insert(UnknownSections(unknown));
        }
    }

    pub fn write(&self, entity: EntityRef, record: &mut EntityRecord) {
        self.parts.iter().for_each(|part| (part.write)(entity, record));
        if let Some(UnknownSections(unknown)) = entity.get() {
            record.sections.put_all(unknown);
        }
    }

    pub fn remove(&self, entity: &mut EntityWorldMut) {
        self.parts.iter().for_each(|part| (part.remove)(entity));
        entity.remove::<UnknownSections>();
    }
}

/// Registers parts.
pub(crate) trait AppRecordParts {
    /// Own bodies have a `C` where their record says so.
    fn add_record_part<C: RecordPart>(&mut self) -> &mut Self;
}

impl AppRecordParts for App {
    fn add_record_part<C: RecordPart>(&mut self) -> &mut Self {
        let mut parts = self.world_mut().get_resource_or_init::<RecordParts>();
        parts.known.extend(C::SECTION);
        parts.parts.push(Part {
            insert: |record, entity| {
                if let Some(part) = C::of(record) {
                    entity.insert(part);
                }
            },
            write: |entity, record| {
                if let Some(part) = entity.get::<C>() {
                    part.write(record);
                }
            },
            remove: |entity| {
                entity.remove::<C>();
            },
        });
        self
    }
}
