//! What every process counts in: ids, sectors, ticks, and the kinds of entities.

pub mod ids;
pub mod kind;
pub mod sector;
pub mod tick;
