//! The colours: by name, by role, and in each scheme.

pub(crate) mod palette;
pub(crate) mod tint;
#[cfg(test)]
mod vision;
