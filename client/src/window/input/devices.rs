//! Keyboard, mouse and touch, read through the player's bindings.

use crate::window::{
    input::fingers::Fingers,
    settings::bindings::{Action, Bindings, Trigger},
};
use bevy::{ecs::system::SystemParam, prelude::*};

/// The input devices.
#[derive(SystemParam)]
pub(crate) struct Devices<'w> {
    pub(crate) keys: Res<'w, ButtonInput<KeyCode>>,
    pub(crate) mouse: Res<'w, ButtonInput<MouseButton>>,
    pub(crate) fingers: Res<'w, Fingers>,
}

impl Devices<'_> {
    /// The devices through `bindings`; keys in `taken` are used elsewhere now.
    pub(crate) fn hands<'a>(&'a self, bindings: &'a Bindings, taken: &'a [KeyCode]) -> Hands<'a> {
        Hands { devices: self, bindings, taken }
    }
}

/// The devices, read through the bindings.
pub(crate) struct Hands<'a> {
    devices: &'a Devices<'a>,
    bindings: &'a Bindings,
    taken: &'a [KeyCode],
}

impl Hands<'_> {
    /// Whether `action` is active.
    pub(crate) fn does(&self, action: Action) -> bool {
        let Devices { keys, mouse, fingers } = self.devices;
        fingers.does(action) || self.any(action, |code| keys.pressed(code), |button| mouse.pressed(button))
    }

    /// Whether `action` began in this frame.
    pub(crate) fn begins(&self, action: Action) -> bool {
        let Devices { keys, mouse, fingers } = self.devices;
        fingers.begins(action) || self.any(action, |code| keys.just_pressed(code), |button| mouse.just_pressed(button))
    }

    fn any(&self, action: Action, key: impl Fn(KeyCode) -> bool, mouse: impl Fn(MouseButton) -> bool) -> bool {
        self.bindings.of(action).into_iter().flatten().any(|trigger| match trigger {
            Trigger::Key(code) => !self.taken.contains(&code) && key(code),
            Trigger::Mouse(button) => mouse(button),
        })
    }
}
