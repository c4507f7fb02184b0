//! Parts of records: each capability converts its own part of a record.
//!
//! Runs in the shard. A capability's plugin registers its components with [`AppRecordParts::add_record_part`]. Each
//! part of a record becomes a component when the body is spawned from the record, is written back when the body's
//! record is made, and is removed when the body becomes a ghost.

use bevy::prelude::*;
use sidereal_protocol::{
    record::{EntityRecord, Section, Sections, SettledAt, ShipHull, Structure},
    rules::economy::Fitted,
};

/// A component of own bodies that is made from a record.
pub trait RecordPart: Component + Sized {
    /// The number of the section that `write` writes. Set it if it writes one: otherwise the section counts as unknown.
    const SECTION: Option<u16> = None;

    /// The component from a record; `None` if the body has none.
    fn of(record: &EntityRecord) -> Option<Self>;

    /// Writes into `record` what must be kept. By default nothing is kept.
    fn write(&self, _record: &mut EntityRecord) {}
}

#[derive(Clone, Copy)]
struct Part {
    insert: fn(&EntityRecord, &mut EntityWorldMut),
    write: fn(EntityRef, &mut EntityRecord),
    remove: fn(&mut EntityWorldMut),
}

/// All registered parts, and the numbers of all sections that this shard knows.
#[derive(Resource, Clone)]
pub(crate) struct RecordParts {
    parts: Vec<Part>,
    known: Vec<u16>,
}

/// Sections of an own body that no capability of this shard knows. They are sent on unchanged with its record.
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
        if let Some(UnknownSections(unknown)) = entity.get() {
            record.sections.put_all(unknown);
        }
        self.parts.iter().for_each(|part| (part.write)(entity, record));
    }

    pub fn remove(&self, entity: &mut EntityWorldMut) {
        self.parts.iter().for_each(|part| (part.remove)(entity));
        entity.remove::<UnknownSections>();
    }
}

/// Registers parts.
pub(crate) trait AppRecordParts {
    /// Registers `C`: own bodies have it if [`RecordPart::of`] makes it from their record.
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
