//! [`Replication`]: what was last sent to the server of an own body.
//!
//! Runs in the shard. `crate::authority::publish` sends and updates it.

use crate::bodies::parts::RecordPart;
use bevy::prelude::*;
use sidereal_protocol::{
    packets::motion::Motion,
    record::EntityRecord,
    world::{sector::SectorId, tick::SimTick},
};

/// What was last sent of an own body.
#[derive(Component, Debug, Default)]
pub struct Replication {
    /// Something besides motion changed and is not sent yet.
    pub changed: bool,
    /// The tick in which its record was last sent.
    pub record_sent: SimTick,
    /// The sector and motion that were last sent to subscribers.
    pub motion_sent: Option<(SectorId, Motion)>,
}

impl RecordPart for Replication {
    fn of(_: &EntityRecord) -> Option<Self> {
        Some(Self::default())
    }
}
