//! The window, native or in the browser's page: draws the [`WorldView`] and turns keys into [`PilotIntent`] and deals.
//!
//! Runs in the player client (feature `window`). It reads the view and the session's state and writes the player's
//! intent and requested deals. It never writes what the library computes, and holds no state that the game needs.
//! Everything is drawn by code: meshes that are made once, one material, and a canvas that is repainted in each frame.
//!
//! - `program`: [`WindowPlugin`], which lists all plugins; the native program, the page, and the session behind them.
//! - `schedule`: the sets that the plugins put their systems into, and their order.
//! - `settings`: what the player has chosen, and where it is stored. Depends on nothing else of the window.
//! - `render`: colours, meshes, material, canvas, camera. Depends on the settings.
//! - `input`: keys, mouse and touch.
//! - `ui`: panels and texts.
//! - `scene`: what is drawn of space.
//!
//! [`WorldView`]: crate::view::WorldView
//! [`PilotIntent`]: crate::flight::controls::PilotIntent

mod input;
mod program;
mod render;
mod scene;
mod schedule;
mod settings;
mod ui;

#[cfg(not(target_family = "wasm"))]
pub use program::native::{WindowConfig, run};
#[cfg(target_family = "wasm")]
pub use program::web;
pub use program::window_plugin::{WindowPlugin, default_plugins};
pub use settings::{Settings, quality::Quality, scheme::Scheme, store::Place};
