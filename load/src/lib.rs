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
//! stays on this machine, in a temporary folder, on free ports. With `--attach`, `--ops` and `--server-pid` the players
//! join a world that runs already; it must accept as many sessions, logins and registrations from one address.
//!
//! # Reading the figures
//!
//! * Only what is named is measured: CPU time by thread from `/proc/<pid>/task/<tid>/schedstat`, in nanoseconds. It does
//!   not grow while a thread waits for a core, but caches are shared: compare runs on an idle machine, in the release
//!   profile (`cargo run --release -p sidereal-load -- compare`).
//! * Clients share the machine with the server. Their cores stand beside the server's; where the sum reaches what the
//!   machine has, ticks and arrivals tell of the machine, CPU times per motion still of the server.
//! * The work in a tick ends when the tick's output is passed to the network threads. What those need is in their CPU
//!   time, and in the *spread*: the time from the first player's receipt of a tick's motion to the last one's. The client
//!   processes look every few milliseconds, so smaller spreads are theirs.
//! * Bytes are payloads of the transport (naia's packets, the lane, the stream), without QUIC, UDP and IP.
//! * A worst second is one player's, of all players and seconds of the interval.
//!
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod children;
pub mod compare;
pub mod fleet;
pub mod ramp;
pub mod report;
pub mod roles;
pub mod thin;
pub mod world;
