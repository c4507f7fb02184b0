//! Load tests that anybody can repeat.
//!
//! * `sidereal-load compare`: the same moving entities to the same clients as naia's replicated components and on the
//!   motion plane; what each costs the server. See [`compare`].
//! * `sidereal-load`: a world, and players that do nothing, roam, fight or gather, as many as asked for or until a limit
//!   breaks; a report in Markdown with charts. See [`ramp`] and [`report`].
//!
//! ```text
//! sidereal-load compare
//! sidereal-load --scene gather --clients 100 --report /tmp/gather
//! sidereal-load --scene fight --ramp --step 25 --clients 300 --shards 2 --report /tmp/fight
//! ```
//!
//! All processes are this program in different [roles]: the real server and real shards as their libraries run them,
//! and clients with real logins, connections and inputs, but no game behind them ([`thin`], [`fleet`]). Everything
//! stays on this machine, in a temporary folder.
//!
//! Only the processes named in a report are measured, by `/proc/<pid>/task`. Clients share the machine with the server:
//! their share of its cores is reported beside it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod children;
pub mod compare;
pub mod fleet;
pub mod ramp;
pub mod report;
pub mod roles;
pub mod thin;
pub mod world;
