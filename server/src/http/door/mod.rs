//! Which connections there are room for, and where each comes from.

pub(in crate::http) mod listener;
pub(in crate::http) mod peer;
pub(in crate::http) mod places;
