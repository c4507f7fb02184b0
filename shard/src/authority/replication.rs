//! [`Replication`]: what the server was last sent of an own body.
//!
//! Runs in the shard. It is sent in `crate::authority::publish`.

use crate::bodies::parts::RecordPart;
use bevy::prelude::*;
use sidereal_protocol::{motion::Motion, record::EntityRecord, sector::SectorId, tick::SimTick};

/// What was sent of an own body.
#[derive(Component, Debug, Default)]
pub struct Replication {
    /// Something besides motion changed and was not sent yet.
    pub changed: bool,
    /// When its record was last sent.
    pub record_sent: SimTick,
    /// What subscribers were last sent of its motion, and in which sector.
    pub motion_sent: Option<(SectorId, Motion)>,
}

impl RecordPart for Replication {
    fn of(_: &EntityRecord) -> Option<Self> {
        Some(Self::default())
    }
}
