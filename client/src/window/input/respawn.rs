//! Requests a new ship after the old one was destroyed: on a key, and automatically after a while.

use crate::{
    flight::controls::PilotIntent,
    session::SessionState,
    view::WorldView,
    window::{
        input::devices::Devices,
        schedule::InputSteps,
        settings::{Settings, bindings::Action},
        ui::settings_menu::Menu,
    },
};
use bevy::prelude::*;

/// After this long without a ship a new one is requested automatically, seconds.
pub(crate) const RESPAWN_AFTER_S: f64 = 5.0;

/// Requests a new ship when the player has none.
pub(crate) struct RespawnPlugin;

impl Plugin for RespawnPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Downtime>().add_systems(PreUpdate, ask_for_ship.in_set(InputSteps::Fly));
    }
}

/// Since when the player has no ship, seconds of the window's time.
#[derive(Resource, Debug, Default)]
pub(crate) struct Downtime {
    since_s: Option<f64>,
}

impl Downtime {
    /// Seconds until a new ship is requested automatically; `None` while there is one.
    pub(crate) fn remaining_s(&self, now_s: f64) -> Option<f64> {
        self.since_s.map(|since| (RESPAWN_AFTER_S - (now_s - since)).max(0.0))
    }
}

/// Requests a new ship: on R, and automatically after a while.
pub(crate) fn ask_for_ship(
    devices: Devices,
    settings: Res<Settings>,
    menu: Res<Menu>,
    time: Res<Time<Real>>,
    state: Res<SessionState>,
    view: Res<WorldView>,
    mut downtime: ResMut<Downtime>,
    mut intent: ResMut<PilotIntent>,
) {
    if *state != SessionState::Destroyed || view.own.is_some() {
        downtime.since_s = None;
        return;
    }
    let now_s = time.elapsed_secs_f64();
    downtime.since_s.get_or_insert(now_s);
    let overdue = downtime.remaining_s(now_s).is_some_and(|remaining| remaining <= 0.0);
    let hands = devices.hands(&settings.keys, &[]);
    if !menu.is_open && hands.begins(Action::Respawn) || overdue {
        intent.respawn = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_ship_is_asked_for_after_its_time_and_not_before() {
        let downtime = Downtime { since_s: Some(10.0) };
        assert_eq!(downtime.remaining_s(12.0), Some(3.0));
        assert_eq!(downtime.remaining_s(99.0), Some(0.0));
        assert_eq!(Downtime::default().remaining_s(99.0), None);
    }
}
