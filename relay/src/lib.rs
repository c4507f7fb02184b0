//! A bad network between two UDP ends on one machine: the library behind `sidereal-relay`.
//!
//! The relay listens on one address and passes every datagram on to another, with delay, jitter, loss and duplication
//! in each direction. It owns what happens to datagrams on the way and knows nothing of what is in them: encrypted
//! connections pass through it as they are. Nothing else in the project needs it; the launcher puts it between real
//! processes on request.
//!
//! [`line`] decides what happens to which datagram and when, without a socket or a clock; [`relay`] is the sockets and
//! threads round it.

pub mod conditions;
pub mod line;
pub mod options;
mod peers;
pub mod relay;
pub mod report;
