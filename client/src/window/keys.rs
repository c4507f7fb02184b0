//! The pilot's keys: writes [`PilotIntent`], zoom and what is shown. Nothing else of the window
//! writes anything that leaves the window.

use super::{
    desk::Desk,
    settings::{
        Settings,
        bindings::{Action, Devices},
        menu::Menu,
    },
};
use crate::{controls::PilotIntent, session::SessionState, view::WorldView};
use bevy::{
    input::mouse::{MouseScrollUnit, MouseWheel},
    prelude::*,
    window::{WindowFocused, WindowOccluded},
};
use sidereal_protocol::{flight::Controls, tick::TICK_SECONDS};

/// A key counts as held for at least this long after it went down, seconds: so that a tap between
/// two of the client's samples is not lost.
const TAP_SECONDS: f64 = TICK_SECONDS * 1.2;
/// Pixels of a touchpad's scroll that make a notch.
const PIXELS_PER_NOTCH: f32 = 40.0;
/// After this long without a ship a new one is asked for without a key, seconds.
pub(super) const RESPAWN_AFTER_S: f64 = 5.0;

/// What is done for as long as it is held, or tapped.
const FLIGHT: [Action; 10] = [
    Action::Ahead,
    Action::Reverse,
    Action::Left,
    Action::Right,
    Action::Fire,
    Action::Beam,
    Action::Launch,
    Action::Mine,
    Action::Boost,
    Action::Brake,
];

const ARROWS: [KeyCode; 4] = [KeyCode::ArrowUp, KeyCode::ArrowDown, KeyCode::ArrowLeft, KeyCode::ArrowRight];

/// Until when each action counts as held although its key is up, seconds of the view's time.
#[derive(Resource, Debug, Default)]
pub(super) struct Taps([f64; FLIGHT.len()]);

/// What the wheel turned since the lens looked, notches; inwards is positive.
#[derive(Resource, Debug, Default)]
pub(super) struct Wheel {
    pub(super) notches: f32,
}

/// What is shown besides space itself.
#[derive(Resource, Debug, Clone, Copy)]
pub(super) struct Shown {
    /// The overlay with the keys.
    pub(super) help: bool,
    /// The sectors' lines.
    pub(super) grid: bool,
    /// The map in the corner.
    pub(super) map: bool,
    /// How the connection does.
    pub(super) link: bool,
}

impl Default for Shown {
    fn default() -> Self {
        Self { help: false, grid: false, map: true, link: false }
    }
}

/// Since when the pilot has no ship, seconds of the window's time.
#[derive(Resource, Debug, Default)]
pub(super) struct Downtime {
    since_s: Option<f64>,
}

impl Downtime {
    /// Seconds until a new ship is asked for by itself; `None` while there is one.
    pub(super) fn remaining_s(&self, now_s: f64) -> Option<f64> {
        self.since_s.map(|since| (RESPAWN_AFTER_S - (now_s - since)).max(0.0))
    }
}

/// What `held` hands mean.
fn controls_of(held: impl Fn(Action) -> bool) -> Controls {
    let axis = |plus: Action, minus: Action| match (held(plus), held(minus)) {
        (true, false) => 127,
        (false, true) => -127,
        _ => 0,
    };
    let button = |action: Action, bit: u8| if held(action) { bit } else { 0 };
    Controls {
        thrust: axis(Action::Ahead, Action::Reverse),
        turn: axis(Action::Left, Action::Right),
        buttons: button(Action::Fire, Controls::FIRE)
            | button(Action::Beam, Controls::BEAM)
            | button(Action::Launch, Controls::LAUNCH)
            | button(Action::Mine, Controls::MINE)
            | button(Action::Boost, Controls::BOOST)
            | button(Action::Brake, Controls::BRAKE),
    }
}

/// Turns keys, the mouse's buttons and fingers into the pilot's intent.
pub(super) fn read_hands(
    devices: Devices,
    time: Res<Time<Real>>,
    desk: Res<Desk>,
    view: Res<WorldView>,
    menu: Res<Menu>,
    settings: Res<Settings>,
    mut taps: ResMut<Taps>,
    mut intent: ResMut<PilotIntent>,
) {
    let now_s = time.elapsed_secs_f64();
    if menu.is_open {
        (intent.controls, *taps) = (Controls::default(), Taps::default());
        return;
    }
    // While a panel is open the arrow keys are its own.
    let taken: &[KeyCode] = if desk.takes_arrows(&view) { &ARROWS } else { &[] };
    let hands = devices.hands(&settings.keys, taken);
    for (until, action) in taps.0.iter_mut().zip(FLIGHT) {
        if hands.begins(action) {
            *until = now_s + TAP_SECONDS;
        }
    }
    let held = |action: Action| {
        hands.does(action) || FLIGHT.iter().zip(&taps.0).any(|(tapped, until)| *tapped == action && now_s < *until)
    };
    intent.controls = controls_of(held);
    devices.fingers.steer(view.own.as_ref().map(|own| &own.state), &mut intent.controls);
}

/// Asks for a new ship: on R, and by itself after a while.
pub(super) fn ask_for_ship(
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

/// Zoom and what is shown.
pub(super) fn read_view_keys(
    devices: Devices,
    settings: Res<Settings>,
    mut scrolls: MessageReader<MouseWheel>,
    mut wheel: ResMut<Wheel>,
    mut shown: ResMut<Shown>,
) {
    for scroll in scrolls.read() {
        wheel.notches += match scroll.unit {
            MouseScrollUnit::Line => scroll.y,
            MouseScrollUnit::Pixel => scroll.y / PIXELS_PER_NOTCH,
        };
    }
    let hands = devices.hands(&settings.keys, &[]);
    if hands.begins(Action::ZoomIn) {
        wheel.notches += 1.0;
    }
    if hands.begins(Action::ZoomOut) {
        wheel.notches -= 1.0;
    }
    if hands.begins(Action::Help) {
        shown.help = !shown.help;
    }
    if hands.begins(Action::Link) {
        shown.link = !shown.link;
    }
    if hands.begins(Action::Grid) {
        shown.grid = !shown.grid;
    }
    if hands.begins(Action::Map) {
        shown.map = !shown.map;
    }
}

/// Lets go of everything when the window is left: nobody sees the keys go up, and the ship would be flown by them on.
pub(super) fn let_go(
    mut focus: MessageReader<WindowFocused>,
    mut hidden: MessageReader<WindowOccluded>,
    mut keys: ResMut<ButtonInput<KeyCode>>,
    mut mouse: ResMut<ButtonInput<MouseButton>>,
    mut taps: ResMut<Taps>,
) {
    let is_left = focus.read().any(|focus| !focus.focused);
    let is_hidden = hidden.read().any(|hidden| hidden.occluded);
    if is_left || is_hidden {
        keys.release_all();
        mouse.release_all();
        *taps = Taps::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{settings::bindings::Trigger, touch::Fingers},
        *,
    };

    #[test]
    fn keys_become_controls_and_opposite_ones_cancel() {
        let held = |actions: &'static [Action]| controls_of(|action| actions.contains(&action));
        assert_eq!(held(&[]), Controls::default());
        assert_eq!(held(&[Action::Ahead, Action::Left]).thrust, 127);
        assert_eq!(held(&[Action::Ahead, Action::Left]).turn, 127);
        assert_eq!(held(&[Action::Left, Action::Right, Action::Reverse]).turn, 0);
        assert_eq!(held(&[Action::Reverse]).thrust, -127);
        let buttons = held(&[Action::Fire, Action::Boost, Action::Brake]).buttons;
        assert_eq!(buttons, Controls::FIRE | Controls::BOOST | Controls::BRAKE);
        assert_eq!(held(&[Action::Beam, Action::Launch]).buttons, Controls::BEAM | Controls::LAUNCH);
        assert_eq!(held(&[Action::Mine]).buttons, Controls::MINE);
    }

    #[test]
    fn a_new_ship_is_asked_for_after_its_time_and_not_before() {
        let downtime = Downtime { since_s: Some(10.0) };
        assert_eq!(downtime.remaining_s(12.0), Some(3.0));
        assert_eq!(downtime.remaining_s(99.0), Some(0.0));
        assert_eq!(Downtime::default().remaining_s(99.0), None);
    }

    fn hands_app() -> App {
        let mut app = App::new();
        app.init_resource::<ButtonInput<KeyCode>>()
            .init_resource::<ButtonInput<MouseButton>>()
            .init_resource::<Fingers>()
            .init_resource::<Time<Real>>()
            .init_resource::<Taps>()
            .init_resource::<PilotIntent>()
            .init_resource::<Desk>()
            .init_resource::<WorldView>()
            .init_resource::<Menu>()
            .init_resource::<Settings>()
            .add_message::<WindowFocused>()
            .add_message::<WindowOccluded>()
            .add_systems(Update, (let_go, read_hands).chain());
        app
    }

    #[test]
    fn keys_that_were_held_when_the_window_was_left_fly_nothing() {
        let mut app = hands_app();
        app.world_mut().resource_mut::<ButtonInput<KeyCode>>().press(KeyCode::KeyW);
        app.world_mut().resource_mut::<ButtonInput<MouseButton>>().press(MouseButton::Right);
        app.update();
        let controls = |app: &App| app.world().resource::<PilotIntent>().controls;
        assert_eq!((controls(&app).thrust, controls(&app).buttons), (127, Controls::BEAM));
        // As Bevy does at the start of each frame.
        app.world_mut().resource_mut::<ButtonInput<KeyCode>>().clear();
        app.world_mut().resource_mut::<ButtonInput<MouseButton>>().clear();
        let window = Entity::PLACEHOLDER;
        app.world_mut().write_message(WindowFocused { window, focused: false });
        app.update();
        assert_eq!(controls(&app), Controls::default());
        app.update();
        assert_eq!(controls(&app), Controls::default());
    }

    #[test]
    fn the_ship_is_left_alone_while_the_settings_are_open_and_flies_by_the_keys_that_are_bound() {
        let mut app = hands_app();
        let mut settings = app.world_mut().resource_mut::<Settings>();
        settings.keys.bind(Action::Brake, 0, Trigger::Key(KeyCode::KeyW));
        app.world_mut().resource_mut::<ButtonInput<KeyCode>>().press(KeyCode::KeyW);
        app.update();
        let controls = |app: &App| app.world().resource::<PilotIntent>().controls;
        assert_eq!((controls(&app).thrust, controls(&app).buttons), (0, Controls::BRAKE));
        app.world_mut().resource_mut::<Menu>().is_open = true;
        app.update();
        assert_eq!(controls(&app), Controls::default());
    }

    #[test]
    fn a_tap_shorter_than_a_tick_is_still_sampled() {
        let mut app = hands_app();
        app.world_mut().resource_mut::<ButtonInput<KeyCode>>().press(KeyCode::Space);
        app.update();
        let mut keys = app.world_mut().resource_mut::<ButtonInput<KeyCode>>();
        keys.clear();
        keys.release(KeyCode::Space);
        app.world_mut().resource_mut::<ButtonInput<MouseButton>>().press(MouseButton::Right);
        app.update();
        let fires = |app: &App| app.world().resource::<PilotIntent>().controls.holds(Controls::FIRE);
        assert!(fires(&app), "still within the tap");
        assert!(app.world().resource::<PilotIntent>().controls.holds(Controls::BEAM), "the mouse is a hand, too");
        let later = std::time::Duration::from_secs(1);
        app.world_mut().resource_mut::<Time<Real>>().update_with_duration(later);
        app.world_mut().resource_mut::<Time<Real>>().update_with_duration(later);
        app.update();
        assert!(!fires(&app), "the tap is over");
    }
}
