//! A bad network between two UDP ends on one machine: the library behind `sidereal-relay`.
//!
//! The relay listens on one address and forwards every datagram to another, with delay, jitter, loss and duplication in
//! each direction. It does not interpret the datagrams: encrypted connections pass through it unchanged. Nothing else
//! in the project needs it; the launcher puts it between real processes on request.
//!
//! [`mod@line`] decides the fate of each datagram, without a socket or a clock; [`relay`] has the sockets and threads.

pub mod conditions;
pub mod line;
pub mod options;
mod peers;
pub mod relay;
pub mod report;
