//! The shard: it simulates the sectors that the server leases to it.
//!
//! A shard has one connection, to the server: no listener, no connections to neighbours, no database. Its whole state
//! comes from that connection; when it is lost, the shard drops everything and starts anew.
//!
//! [`sim::SimPlugin`] is the simulation and needs no network: plain queues ([`link::mailbox`]) lie between it and the
//! link ([`link`]), which uses naia, the lane and the control stream. Each capability is a file with a plugin;
//! [`schedule`] has the sets of their systems, and the order of the sets.

#![allow(elided_lifetimes_in_paths, reason = "a system is its parameters: their lifetimes say nothing")]

mod app;
mod authority;
pub mod bodies;
mod economy;
mod flight;
pub mod handoff;
#[cfg(feature = "journal")]
pub mod journal;
pub mod link;
mod physics;
pub mod schedule;
pub mod sim;
mod weapons;

#[cfg(feature = "planted-faults")]
pub use app::poison;
pub use app::{
    clock,
    config::{self, ShardConfig},
    report,
    session::{self, build_app},
    suspect, ticks,
};
pub use authority::{drain, leases};
pub use bodies::{ghosts, past, registry};
pub use economy::{docking, spawner};
pub use flight::inputs;
pub use link::mailbox;
pub use physics::{damage, impacts};
pub use sim::SimPlugin;
pub use weapons::{beams, bullets};
