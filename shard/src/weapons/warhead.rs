//! [`Missile`]: the mark of own missiles.
//!
//! Runs in the shard.

use crate::bodies::parts::RecordPart;
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    record::{EntityRecord, Section, Warhead},
    world::tick::SimTick,
};

/// An own missile.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Missile {
    /// Shooter, target and end.
    pub warhead: Warhead,
    /// Until when its path was judged, and its position then.
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
