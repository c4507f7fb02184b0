//! The shard: it simulates the sectors that the server leases to it.
//!
//! A shard has a connection to the server and nothing else: no listener, no neighbours that it knows
//! of, no database. All that it knows it was told since it connected; when the connection is lost it
//! drops everything and starts anew.
//!
//! [`sim::SimPlugin`] is the simulation and knows no network: plain queues ([`mailbox`]) lie between it
//! and the link ([`link`]), which speaks naia, the lane and the control stream. Each capability is a file with a plugin;
//! [`schedule`] has the sets into which they put their systems, and the order of these.

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
