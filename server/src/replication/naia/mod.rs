//! naia's side of the mirror: an entity of naia's for each active entity, the rooms that it is in, and its renewal
//! before naia loses count of it.

pub mod announced;
pub mod renew;
pub mod renewal;
pub mod replicas;
pub mod rooms;
