//! The order of the window's systems in a frame.
//!
//! Contains the sets and their order, nothing else: each capability's plugin puts its systems into them.

use bevy::{input::InputSystems, prelude::*, ui::UiSystems};

/// The steps of the window's part of a frame, in their order.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WindowSystems {
    /// Keys, mouse and touch become intent, before the session samples it. In `PreUpdate`, see [`InputSteps`].
    Input,
    /// The window and the quality are measured, for the layout and the drawing of this frame. In `Update`.
    Measure,
    /// The camera and the colours follow the view, which the session has just composed. In `Update`.
    Look,
    /// Systems paint on the canvas, relative to the camera. In `Update`, see [`PaintSteps`].
    Paint,
    /// Panels and texts are laid out. In `Update`.
    Layout,
    /// Panels and texts are filled, shown and hidden. In `Update`.
    Write,
    /// The canvas is shown, before transforms are propagated. In `Update`.
    Show,
}

/// The order in which input is read: earlier steps can take it from later ones.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum InputSteps {
    /// All keys are released when the window loses the focus.
    Release,
    /// The chat line takes the keyboard while it is open.
    Type,
    /// Touches are assigned to the stick and the buttons.
    Touch,
    /// The settings panel.
    Menu,
    /// Panels of deals, zoom and overlays; not while the settings panel is open.
    Panels,
    /// The remaining input flies the ship.
    Fly,
}

/// The order of painting: within a layer a later stroke covers an earlier one.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PaintSteps {
    /// Stars, dust and the sector grid.
    Background,
    /// Ships, rocks, stations and crates; updates the looks that later steps use.
    Bodies,
    /// Shots, beams, hits and explosions.
    Effects,
    /// Tractor beams.
    Tractors,
    /// Marks of hits on the own hull.
    Damage,
    /// The crosshair; selects the target that the marks emphasise.
    Crosshair,
    /// Bars and names over ships and stations.
    Marks,
    /// The map in the corner.
    Map,
}

/// Configures the sets.
pub(crate) struct SchedulePlugin;

impl Plugin for SchedulePlugin {
    fn build(&self, app: &mut App) {
        app.configure_sets(PreUpdate, WindowSystems::Input.after(InputSystems).after(UiSystems::Focus))
            .configure_sets(
                PreUpdate,
                (
                    InputSteps::Release,
                    InputSteps::Type,
                    InputSteps::Touch,
                    InputSteps::Menu,
                    InputSteps::Panels,
                    InputSteps::Fly,
                )
                    .chain()
                    .in_set(WindowSystems::Input),
            )
            .configure_sets(
                Update,
                (
                    WindowSystems::Measure,
                    WindowSystems::Look,
                    WindowSystems::Paint,
                    WindowSystems::Layout,
                    WindowSystems::Write,
                    WindowSystems::Show,
                )
                    .chain(),
            )
            .configure_sets(
                Update,
                (
                    PaintSteps::Background,
                    PaintSteps::Bodies,
                    PaintSteps::Effects,
                    PaintSteps::Tractors,
                    PaintSteps::Damage,
                    PaintSteps::Crosshair,
                    PaintSteps::Marks,
                    PaintSteps::Map,
                )
                    .chain()
                    .in_set(WindowSystems::Paint),
            );
    }
}
