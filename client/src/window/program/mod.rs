//! The window as a program, native or in a page, and the player's session behind it.

mod host;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
mod screenshot;
#[cfg(target_family = "wasm")]
pub mod web;
pub(crate) mod window_plugin;
