//! [`Missile`]: what makes an own body a missile.
//!
//! Runs in the shard.

use crate::bodies::parts::RecordPart;
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    record::{EntityRecord, Section, Warhead},
    tick::SimTick,
};

/// An own missile.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Missile {
    /// Whose, at what, and until when.
    pub warhead: Warhead,
    /// How far its path was held against the bodies in its way: until then, when it was there.
    pub judged: (SimTick, DVec2),
}

impl RecordPart for Missile {
    const SECTION: Option<u16> = Some(Warhead::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        record.warhead().map(|warhead| Self { warhead, judged: (record.tick, record.state.position) })
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(self.warhead);
    }
}
