//! Datagrams of the lane, bit by bit: motion of sectors, own states, inputs.

pub mod bits;
pub mod bundle;
pub mod input;
pub mod lane;
pub mod motion;
pub mod own_state;
pub mod precision;
