//! Parts of records: each capability converts its own part of a record.
//!
//! Runs in the shard. A capability's plugin registers its components with [`AppRecordParts::add_record_part`]. Each
//! part of a record becomes a component when the body is spawned from the record, is written back when the body's
//! record is made, and is removed when the body becomes a ghost.

use bevy::prelude::*;
use sidereal_protocol::record::EntityRecord;

/// A component of own bodies that is made from a record.
pub trait RecordPart: Component + Sized {
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

/// All registered parts.
#[derive(Resource, Default, Clone)]
pub(crate) struct RecordParts(Vec<Part>);

impl RecordParts {
    pub fn insert(&self, record: &EntityRecord, entity: &mut EntityWorldMut) {
        self.0.iter().for_each(|part| (part.insert)(record, entity));
    }

    pub fn write(&self, entity: EntityRef, record: &mut EntityRecord) {
        self.0.iter().for_each(|part| (part.write)(entity, record));
    }

    pub fn remove(&self, entity: &mut EntityWorldMut) {
        self.0.iter().for_each(|part| (part.remove)(entity));
    }
}

/// Registers parts.
pub(crate) trait AppRecordParts {
    /// Registers `C`: own bodies have it if [`RecordPart::of`] makes it from their record.
    fn add_record_part<C: RecordPart>(&mut self) -> &mut Self;
}

impl AppRecordParts for App {
    fn add_record_part<C: RecordPart>(&mut self) -> &mut Self {
        self.world_mut().get_resource_or_init::<RecordParts>().0.push(Part {
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
