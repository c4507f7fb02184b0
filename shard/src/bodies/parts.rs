//! Parts of records: each capability says what of a record is its own, once.
//!
//! Runs in the shard. A capability's plugin registers its components with [`AppRecordParts::add_record_part`]. When a body
//! is made of a record, each part that the record has becomes a component; when the body's record is made, each component
//! writes its part back; when the body becomes a ghost, all of them go.

use bevy::prelude::*;
use sidereal_protocol::record::EntityRecord;

/// A component of own bodies that a capability has.
pub trait RecordPart: Component + Sized {
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

/// All parts that are registered.
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
    /// Own bodies have a `C` where their record says so.
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
