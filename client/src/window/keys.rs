//! The pilot's keys: writes [`PilotIntent`], zoom and what is shown. Nothing else of the window
//! writes anything that leaves the window.

use super::desk::Desk;
use crate::{controls::PilotIntent, session::SessionState, view::WorldView};
use bevy::{
    input::mouse::{MouseScrollUnit, MouseWheel},
    prelude::*,
};
use sidereal_protocol::{flight::Controls, tick::TICK_SECONDS};

/// A key counts as held for at least this long after it went down, seconds: so that a tap between
/// two of the client's samples is not lost.
const TAP_SECONDS: f64 = TICK_SECONDS * 1.2;
/// Pixels of a touchpad's scroll that make a notch.
const PIXELS_PER_NOTCH: f32 = 40.0;
/// After this long without a ship a new one is asked for without a key, seconds.
pub(super) const RESPAWN_AFTER_S: f64 = 5.0;

/// The keys, as the help overlay tells them.
pub(super) const HELP: &[(&str, &str)] = &[
    ("W / Up", "thrust"),
    ("S / Down", "reverse"),
    ("A D / Left Right", "turn"),
    ("Space", "fire"),
    ("E / right mouse", "beam"),
    ("F / Q", "missile"),
    ("C", "mine (hold)"),
    ("V", "dock, undock"),
    ("T", "offer a trade to the ship ahead"),
    ("Y / N", "accept, decline an offer"),
    ("Shift", "boost (with thrust)"),
    ("X", "brake"),
    ("R", "fly again when destroyed"),
    ("Wheel / + -", "zoom"),
    ("G", "sector grid"),
    ("M", "map"),
    ("Enter, /", "talk (Tab: sector, world; /mute name)"),
    ("F1", "this help"),
];

/// A thing that hands do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Ahead,
    Reverse,
    Left,
    Right,
    Fire,
    Beam,
    Launch,
    Mine,
    Boost,
    Brake,
}

const ACTIONS: [(Action, &[KeyCode], &[MouseButton]); 10] = [
    (Action::Ahead, &[KeyCode::KeyW, KeyCode::ArrowUp], &[]),
    (Action::Reverse, &[KeyCode::KeyS, KeyCode::ArrowDown], &[]),
    (Action::Left, &[KeyCode::KeyA, KeyCode::ArrowLeft], &[]),
    (Action::Right, &[KeyCode::KeyD, KeyCode::ArrowRight], &[]),
    (Action::Fire, &[KeyCode::Space], &[]),
    (Action::Beam, &[KeyCode::KeyE], &[MouseButton::Right]),
    (Action::Launch, &[KeyCode::KeyF, KeyCode::KeyQ], &[]),
    (Action::Mine, &[KeyCode::KeyC], &[]),
    (Action::Boost, &[KeyCode::ShiftLeft, KeyCode::ShiftRight], &[]),
    (Action::Brake, &[KeyCode::KeyX], &[]),
];

const ARROWS: [KeyCode; 4] = [KeyCode::ArrowUp, KeyCode::ArrowDown, KeyCode::ArrowLeft, KeyCode::ArrowRight];

/// Until when each action counts as held although its key is up, seconds of the view's time.
#[derive(Resource, Debug, Default)]
pub(super) struct Taps([f64; ACTIONS.len()]);

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
}

impl Default for Shown {
    fn default() -> Self {
        Self { help: false, grid: false, map: true }
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

/// Turns keys, and the mouse's buttons, into the pilot's intent.
pub(super) fn read_hands(
    keys: Res<ButtonInput<KeyCode>>,
    mouse: Res<ButtonInput<MouseButton>>,
    time: Res<Time<Real>>,
    desk: Res<Desk>,
    view: Res<WorldView>,
    mut taps: ResMut<Taps>,
    mut intent: ResMut<PilotIntent>,
) {
    let now_s = time.elapsed_secs_f64();
    // While a panel is open the arrow keys are its own.
    let taken: &[KeyCode] = if desk.takes_arrows(&view) { &ARROWS } else { &[] };
    let free = |codes: &'static [KeyCode]| codes.iter().copied().filter(move |code| !taken.contains(code));
    for (until, (_, codes, buttons)) in taps.0.iter_mut().zip(ACTIONS) {
        let on_mouse = mouse.any_just_pressed(buttons.iter().copied());
        if on_mouse || keys.any_just_pressed(free(codes)) {
            *until = now_s + TAP_SECONDS;
        }
    }
    let held = |action: Action| {
        ACTIONS.iter().zip(&taps.0).any(|((candidate, codes, buttons), &until)| {
            let pressed = || keys.any_pressed(free(codes)) || mouse.any_pressed(buttons.iter().copied());
            *candidate == action && (now_s < until || pressed())
        })
    };
    intent.controls = controls_of(held);
}

/// Asks for a new ship: on R, and by itself after a while.
pub(super) fn ask_for_ship(
    keys: Res<ButtonInput<KeyCode>>,
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
    if keys.just_pressed(KeyCode::KeyR) || overdue {
        intent.respawn = true;
    }
}

/// Zoom and what is shown.
pub(super) fn read_view_keys(
    keys: Res<ButtonInput<KeyCode>>,
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
    if keys.any_just_pressed([KeyCode::Equal, KeyCode::NumpadAdd]) {
        wheel.notches += 1.0;
    }
    if keys.any_just_pressed([KeyCode::Minus, KeyCode::NumpadSubtract]) {
        wheel.notches -= 1.0;
    }
    if keys.just_pressed(KeyCode::F1) {
        shown.help = !shown.help;
    }
    if keys.just_pressed(KeyCode::KeyG) {
        shown.grid = !shown.grid;
    }
    if keys.just_pressed(KeyCode::KeyM) {
        shown.map = !shown.map;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_tap_shorter_than_a_tick_is_still_sampled() {
        let mut app = App::new();
        app.init_resource::<ButtonInput<KeyCode>>()
            .init_resource::<ButtonInput<MouseButton>>()
            .init_resource::<Time<Real>>()
            .init_resource::<Taps>()
            .init_resource::<PilotIntent>()
            .init_resource::<Desk>()
            .init_resource::<WorldView>()
            .add_systems(Update, read_hands);
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
