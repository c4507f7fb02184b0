//! Accepts connections: how many at a time, for how long, and from which address.

pub(in crate::http) mod listener;
pub(in crate::http) mod peer;
pub(in crate::http) mod places;
