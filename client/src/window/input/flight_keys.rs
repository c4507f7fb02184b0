//! Turns keys, mouse buttons and touches into [`PilotIntent`].
//!
//! Also releases every key when the window loses the focus. Zoom and overlays are in `view_keys`, the request for a new
//! ship is in `respawn`.

use crate::{
    flight::controls::PilotIntent,
    view::WorldView,
    window::{
        input::devices::Devices,
        schedule::InputSteps,
        settings::{Settings, bindings::Action},
        ui::{settings_menu::Menu, station::menu::StationMenu},
    },
};
use bevy::{
    prelude::*,
    window::{WindowFocused, WindowOccluded},
};
use sidereal_protocol::{
    rules::{flight::Controls, tool::Tool},
    world::tick::TICK_SECONDS,
};

/// A key counts as held for at least this long after it was pressed, seconds, so that a tap between two samples of the
/// client is not lost.
const TAP_SECONDS: f64 = TICK_SECONDS * 1.2;

/// The action that uses each tool.
const TOOL_KEYS: [(Action, Tool); Tool::COUNT] = [
    (Action::Fire, Tool::Gun),
    (Action::Beam, Tool::Beam),
    (Action::Launch, Tool::Launcher),
    (Action::Mine, Tool::MiningLaser),
    (Action::Tractor, Tool::TractorBeam),
];

const STEERING: [Action; 6] =
    [Action::Ahead, Action::Reverse, Action::Left, Action::Right, Action::Boost, Action::Brake];

/// Actions that last as long as their key is held, or tapped.
const FLIGHT: [Action; STEERING.len() + TOOL_KEYS.len()] = {
    let (mut flight, mut place) = ([Action::Ahead; STEERING.len() + TOOL_KEYS.len()], 0);
    while place < flight.len() {
        flight[place] = match place.checked_sub(STEERING.len()) {
            Some(tool) => TOOL_KEYS[tool].0,
            None => STEERING[place],
        };
        place += 1;
    }
    flight
};

const ARROWS: [KeyCode; 4] = [KeyCode::ArrowUp, KeyCode::ArrowDown, KeyCode::ArrowLeft, KeyCode::ArrowRight];

/// Flies the ship with keys, mouse and touch.
pub(crate) struct FlightKeysPlugin;

impl Plugin for FlightKeysPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Taps>()
            .add_systems(PreUpdate, (let_go.in_set(InputSteps::Release), read_flight_keys.in_set(InputSteps::Fly)));
    }
}

/// Until when each action counts as held although its key was released, seconds of the view's time.
#[derive(Resource, Debug, Default)]
pub(crate) struct Taps([f64; FLIGHT.len()]);

/// The controls for the `held` actions.
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
        buttons: TOOL_KEYS
            .into_iter()
            .map(|(action, tool)| button(action, tool.spec().button))
            .chain([button(Action::Boost, Controls::BOOST), button(Action::Brake, Controls::BRAKE)])
            .fold(0, |buttons, button| buttons | button),
    }
}

/// Turns keys, mouse buttons and touches into the player's intent.
pub(crate) fn read_flight_keys(
    devices: Devices,
    time: Res<Time<Real>>,
    station_menu: Res<StationMenu>,
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
    // While a panel is open, the arrow keys belong to it.
    let taken: &[KeyCode] = if station_menu.takes_arrows(&view) { &ARROWS } else { &[] };
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

/// Releases everything when the window loses the focus: otherwise the released keys would not be noticed, and the ship
/// would fly on by them.
pub(crate) fn let_go(
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
    use super::*;
    use crate::window::{input::fingers::Fingers, settings::bindings::Trigger};

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
        assert_eq!(held(&[Action::Tractor]).buttons, Controls::TRACTOR);
    }

    fn hands_app() -> App {
        let mut app = App::new();
        app.init_resource::<ButtonInput<KeyCode>>()
            .init_resource::<ButtonInput<MouseButton>>()
            .init_resource::<Fingers>()
            .init_resource::<Time<Real>>()
            .init_resource::<Taps>()
            .init_resource::<PilotIntent>()
            .init_resource::<StationMenu>()
            .init_resource::<WorldView>()
            .init_resource::<Menu>()
            .init_resource::<Settings>()
            .add_message::<WindowFocused>()
            .add_message::<WindowOccluded>()
            .add_systems(Update, (let_go, read_flight_keys).chain());
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
