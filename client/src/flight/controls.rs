//! The player's controls: written by the window or a bot, sampled by the client once per tick.

use bevy::prelude::Resource;
use sidereal_protocol::rules::flight::Controls;

/// The player's present intent. Written by the window or a bot at any time, sampled at each tick. A button that was
/// pressed only between two samples is lost, so a window keeps it until the end of a frame.
#[derive(Resource, Debug, Clone, Copy, Default)]
pub struct PilotIntent {
    /// Thrust, turn and buttons.
    pub controls: Controls,
    /// Request a new ship while the own one is destroyed. The session clears it when the request was sent, or when
    /// there is nothing to request.
    pub respawn: bool,
}
