//! Ships that nothing reaches: docked ones, and those of which a deal is not settled.
//!
//! Runs in the shard. When a ship is docked, and when a deal is settled, `crate::economy::docking` decides.

use sidereal_protocol::{economy::DealKey, record::EntityRecord, tick::SimTick};

/// A deal that was let pass and is not settled.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its name.
    pub key: DealKey,
    /// The ship as it will be if the deal is done.
    pub after: Box<EntityRecord>,
    /// The server wants the ship back: at this tick at the latest.
    pub withdraw_by: Option<SimTick>,
}
