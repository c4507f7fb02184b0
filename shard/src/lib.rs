//! The shard: it simulates the sectors that the server leases to it.
//!
//! A shard has a connection to the server and nothing else: no listener, no neighbours that it knows
//! of, no database. All that it knows it was told since it connected; when the connection is lost it
//! drops everything and starts anew.
//!
//! [`sim::SimPlugin`] is the simulation and knows no network: plain queues ([`mailbox`]) lie between it
//! and the link ([`link`]), which speaks naia, the lane and the control stream. [`schedule`] has the
//! order of everything.

#![allow(elided_lifetimes_in_paths, reason = "a system is its parameters: their lifetimes say nothing")]

pub mod beams;
pub mod bodies;
mod borders;
mod census;
pub mod clock;
pub mod config;
mod contacts;
mod control;
mod crates;
pub mod damage;
pub mod docking;
pub mod drain;
mod drones;
mod field;
mod flight;
pub mod ghosts;
pub mod handoff;
pub mod impacts;
pub mod inputs;
#[cfg(feature = "journal")]
pub mod journal;
pub mod leases;
pub mod link;
pub mod mailbox;
mod mining;
mod missiles;
pub mod past;
mod physics;
mod publish;
pub mod registry;
pub mod report;
pub mod schedule;
pub mod session;
mod shot_path;
pub mod sim;
pub mod spawner;
pub mod suspect;
mod transfer;
pub mod weapons;

pub use config::ShardConfig;
pub use session::build_app;
pub use sim::SimPlugin;
