//! The pilot's hands: what the window or a bot writes and the client samples once per tick.

use bevy::prelude::Resource;
use sidereal_protocol::flight::Controls;

/// What the pilot wants now. Written by the window or a bot at any time, sampled at each tick; a
/// button that was held only between two samples is lost, so a window keeps it until a frame ended.
#[derive(Resource, Debug, Clone, Copy, Default)]
pub struct PilotIntent {
    /// Thrust, turn and buttons.
    pub controls: Controls,
    /// Ask for a new ship while the own one is destroyed. The session clears it when the request
    /// went out, or when there is nothing to ask for.
    pub respawn: bool,
}
