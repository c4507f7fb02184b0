//! Fingers on the glass: a stick wherever the left thumb comes down, and buttons under the right one.
//!
//! Shown where there is a touch screen, until a key is pressed. Owns [`Fingers`]; whoever reads hands reads them there.

use super::{
    fit::Fit,
    palette,
    settings::{bindings::Action, menu::Menu},
};
use crate::view::{Dock, WorldView};
use bevy::prelude::*;
use sidereal_protocol::flight::{Controls, FlightState, wrap_angle};

/// The stick is pushed all the way when the thumb is this far from where it came down, pixels of the room.
const STICK_PIXELS: f32 = 60.0;
/// A smaller share of that is a thumb that rests.
const DEAD_SHARE: f32 = 0.15;
/// From this share on the engine burns; below it the ship only turns.
const THRUST_SHARE: f32 = 0.45;
/// From this share on the booster does.
const BOOST_SHARE: f32 = 1.5;
/// How hard the ship turns to where the stick points, per radian, and how hard it stops doing so, per radian a second.
const TURN_GAIN: f64 = 150.0;
const TURN_DAMPING: f64 = 20.0;
/// The engine burns only when the ship points about where the stick does: the cosine of the angle between.
const ALIGNED: f64 = 0.6;
/// Radius of the thumb on the stick, pixels of the room.
const THUMB_PIXELS: f32 = 22.0;

/// Rooms lower than this have no place for all buttons above the map, pixels.
const TALL: f32 = 420.0;

/// A place to press.
struct Button {
    action: Action,
    says: &'static str,
    /// Its middle from the corner of the buttons, leftwards and upwards, and its radius; pixels of the room.
    middle: Vec2,
    radius: f32,
}

const fn button(action: Action, says: &'static str, left: f32, up: f32, radius: f32) -> Button {
    Button { action, says, middle: Vec2::new(left, up), radius }
}

const BUTTONS: [Button; 7] = [
    button(Action::Fire, "fire", 46.0, 46.0, 42.0),
    button(Action::Beam, "beam", 124.0, 34.0, 27.0),
    button(Action::Launch, "missile", 110.0, 98.0, 27.0),
    button(Action::Brake, "brake", 44.0, 122.0, 27.0),
    button(Action::Mine, "mine", 106.0, 162.0, 27.0),
    button(Action::Dock, "dock", 44.0, 186.0, 27.0),
    button(Action::Settings, "menu", 0.0, 0.0, 22.0),
];

impl Button {
    /// Whether it is of use now.
    fn is_there(&self, view: &WorldView, menu_open: bool) -> bool {
        let docked = matches!(view.dock, Dock::Docked { .. });
        match self.action {
            Action::Settings => true,
            _ if menu_open || view.own.is_none() => false,
            Action::Dock => docked || matches!(view.dock, Dock::InReach { .. }),
            Action::Mine => view.mining.is_some(),
            _ => !docked,
        }
    }

    /// Its middle from the room's upper left corner.
    fn place(&self, fit: &Fit) -> Vec2 {
        if self.action == Action::Settings {
            return Vec2::new(fit.margin() + self.radius, 0.22 * fit.room.y);
        }
        // Above the map where there is room for all, else beside it.
        let corner = if fit.is_narrow() && fit.room.y >= TALL {
            Vec2::new(fit.margin(), fit.margin() + fit.map_pixels() + 30.0)
        } else {
            Vec2::new(2.0 * fit.margin() + fit.map_pixels(), fit.margin())
        };
        fit.room - corner - self.middle
    }
}

#[derive(Debug, Clone, Copy)]
struct Stick {
    finger: u64,
    /// Where the thumb came down, from the room's upper left corner.
    from: Vec2,
    /// How far it is from there, shares of [`STICK_PIXELS`]; upwards is positive.
    pull: Vec2,
}

/// What fingers do.
#[derive(Resource, Debug, Default)]
pub(super) struct Fingers {
    shown: bool,
    stick: Option<Stick>,
    held: [bool; BUTTONS.len()],
    begun: [bool; BUTTONS.len()],
}

impl Fingers {
    /// Whether a finger does `action`.
    pub(super) fn does(&self, action: Action) -> bool {
        self.any(&self.held, action)
    }

    /// Whether a finger began with `action` in this frame.
    pub(super) fn begins(&self, action: Action) -> bool {
        self.any(&self.begun, action)
    }

    fn any(&self, which: &[bool], action: Action) -> bool {
        BUTTONS.iter().zip(which).any(|(button, is)| button.action == action && *is)
    }

    /// Whether a pilot uses them rather than keys.
    pub(super) fn are_used(&self) -> bool {
        self.shown
    }

    /// Shows the stick and the buttons from the start.
    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only a page is told before the first touch"))]
    pub(super) fn show(&mut self) {
        self.shown = true;
    }

    /// Flies `own` where the stick points; leaves `controls` as they are when no thumb is on it.
    pub(super) fn steer(&self, own: Option<&FlightState>, controls: &mut Controls) {
        let (Some(stick), Some(own)) = (self.stick, own) else { return };
        let share = stick.pull.length();
        if share < DEAD_SHARE {
            return;
        }
        let off = wrap_angle(f64::from(stick.pull.to_angle()) - own.angle);
        // The casts saturate.
        controls.turn = (off * TURN_GAIN - own.angular_velocity * TURN_DAMPING).clamp(-127.0, 127.0) as i8;
        if share >= THRUST_SHARE && off.cos() > ALIGNED {
            controls.thrust = (share.min(1.0) * 127.0) as i8;
            controls.buttons |= if share >= BOOST_SHARE { Controls::BOOST } else { 0 };
        }
    }

    /// Takes where fingers are: their number, where they came down and where they are, room pixels, and whether they
    /// came down in this frame. `there`: which buttons there are.
    fn take(&mut self, fingers: &[(u64, Vec2, Vec2, bool)], fit: &Fit, there: [bool; BUTTONS.len()], flies: bool) {
        let hit = |at: Vec2| {
            let on = |index: &usize| there[*index] && at.distance(BUTTONS[*index].place(fit)) <= BUTTONS[*index].radius;
            (0..BUTTONS.len()).find(on)
        };
        (self.held, self.begun) = Default::default();
        let before = self.stick.take().map(|stick| stick.finger);
        for &(finger, from, at, is_new) in fingers {
            if let Some(index) = hit(from) {
                self.held[index] = true;
                self.begun[index] |= is_new;
            } else if flies && from.x < fit.room.x * 0.5 && (before == Some(finger) || before.is_none() && is_new) {
                let way = at - from;
                self.stick = Some(Stick { finger, from, pull: Vec2::new(way.x, -way.y) / STICK_PIXELS });
            }
        }
    }
}

/// Reads the fingers.
pub(super) fn read_fingers(
    touches: Res<Touches>,
    keys: Res<ButtonInput<KeyCode>>,
    fit: Res<Fit>,
    view: Res<WorldView>,
    menu: Res<Menu>,
    mut fingers: ResMut<Fingers>,
) {
    if touches.any_just_pressed() {
        fingers.shown = true;
    } else if keys.get_just_pressed().next().is_some() {
        fingers.shown = false;
    }
    let room = |at: Vec2| at / fit.scale;
    let down: Vec<_> = touches
        .iter()
        .map(|touch| {
            let is_new = touches.just_pressed(touch.id());
            (touch.id(), room(touch.start_position()), room(touch.position()), is_new)
        })
        .collect();
    let there = BUTTONS.each_ref().map(|button| button.is_there(&view, menu.is_open));
    let flies = !menu.is_open && view.own.is_some() && !matches!(view.dock, Dock::Docked { .. });
    fingers.take(&down, &fit, there, flies);
}

/// A button on the screen, by its place among [`BUTTONS`].
#[derive(Component)]
pub(super) struct ButtonShown(usize);

/// The stick's ring, or the thumb in it.
#[derive(Component, Clone, Copy, PartialEq, Eq)]
pub(super) enum StickShown {
    Ring,
    Thumb,
}

fn round(radius: f32) -> impl Bundle {
    let node = Node {
        position_type: PositionType::Absolute,
        width: px(2.0 * radius),
        height: px(2.0 * radius),
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Center,
        border: UiRect::all(px(1.5)),
        border_radius: BorderRadius::MAX,
        ..default()
    };
    (node, BackgroundColor(Color::NONE), BorderColor::all(palette::LINE.at(0.5).color()), Visibility::Hidden)
}

/// Spawns what fingers press.
pub(super) fn spawn_touch(mut commands: Commands) {
    for (index, button) in BUTTONS.iter().enumerate() {
        let word = (Text::new(button.says), TextFont::from_font_size(12.0), TextColor(palette::TEXT.color()));
        commands.spawn((ButtonShown(index), round(button.radius), children![word]));
    }
    commands.spawn((StickShown::Ring, round(STICK_PIXELS)));
    commands.spawn((StickShown::Thumb, round(THUMB_PIXELS)));
}

/// Shows it where it is of use.
pub(super) fn show_touch(
    fingers: Res<Fingers>,
    fit: Res<Fit>,
    view: Res<WorldView>,
    menu: Res<Menu>,
    mut buttons: Query<(&ButtonShown, &mut Node, &mut BackgroundColor, &mut Visibility), Without<StickShown>>,
    mut sticks: Query<(&StickShown, &mut Node, &mut Visibility)>,
) {
    let put = |node: &mut Mut<Node>, middle: Vec2, radius: f32| {
        let (left, top) = (px(middle.x - radius), px(middle.y - radius));
        if (node.left, node.top) != (left, top) {
            (node.left, node.top) = (left, top);
        }
    };
    let seen = |is: bool| if is { Visibility::Visible } else { Visibility::Hidden };
    for (ButtonShown(index), mut node, mut back, mut visibility) in &mut buttons {
        let button = &BUTTONS[*index];
        put(&mut node, button.place(&fit), button.radius);
        let fill = if fingers.held[*index] { palette::OWN.at(0.45) } else { palette::PANEL.at(0.55) };
        back.set_if_neq(BackgroundColor(fill.color()));
        visibility.set_if_neq(seen(fingers.shown && button.is_there(&view, menu.is_open)));
    }
    for (part, mut node, mut visibility) in &mut sticks {
        visibility.set_if_neq(seen(fingers.shown && fingers.stick.is_some()));
        let Some(stick) = fingers.stick else { continue };
        let pull = stick.pull.clamp_length_max(1.0) * STICK_PIXELS;
        match part {
            StickShown::Ring => put(&mut node, stick.from, STICK_PIXELS),
            StickShown::Thumb => put(&mut node, stick.from + Vec2::new(pull.x, -pull.y), THUMB_PIXELS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::ids::NetId;

    const ALL: [bool; BUTTONS.len()] = [true; BUTTONS.len()];
    const TELEPHONES: [Vec2; 4] =
        [Vec2::new(360.0, 640.0), Vec2::new(640.0, 360.0), Vec2::new(568.0, 320.0), Vec2::new(320.0, 320.0)];

    fn room(size: Vec2) -> Fit {
        Fit { room: size, scale: 1.0 }
    }

    fn index_of(action: Action) -> usize {
        BUTTONS.iter().position(|button| button.action == action).unwrap()
    }

    #[test]
    fn buttons_are_on_the_glass_right_of_the_stick_and_apart() {
        for size in TELEPHONES.into_iter().chain([Vec2::new(1280.0, 720.0)]) {
            let fit = room(size);
            for (index, button) in BUTTONS.iter().enumerate() {
                let (at, radius) = (button.place(&fit), button.radius);
                assert!(
                    at.cmpge(Vec2::splat(radius)).all() && at.cmple(size - radius).all(),
                    "{} in {size}",
                    button.says
                );
                for other in &BUTTONS[..index] {
                    let apart = at.distance(other.place(&fit));
                    assert!(apart >= radius + other.radius, "{} and {} in {size}", button.says, other.says);
                }
            }
        }
    }

    #[test]
    fn a_thumb_flies_while_another_finger_fires() {
        let fit = room(TELEPHONES[0]);
        let fire = BUTTONS[index_of(Action::Fire)].place(&fit);
        let mut fingers = Fingers::default();
        let thumb = Vec2::new(90.0, 500.0);
        fingers.take(&[(7, thumb, thumb - Vec2::Y * 60.0, true), (8, fire, fire, true)], &fit, ALL, true);
        assert!(fingers.does(Action::Fire) && fingers.begins(Action::Fire) && !fingers.does(Action::Brake));
        let mut controls = Controls::default();
        let up = FlightState { angle: std::f64::consts::FRAC_PI_2, ..FlightState::default() };
        fingers.steer(Some(&up), &mut controls);
        assert_eq!((controls.thrust, controls.turn, controls.buttons), (127, 0, 0));
        // The ship points to the right, the stick up: it turns first.
        let mut controls = Controls::default();
        fingers.steer(Some(&FlightState::default()), &mut controls);
        assert_eq!((controls.thrust, controls.turn), (0, 127));
        // Pulled far out it boosts; the finger on the button is still there, but no longer new.
        fingers.take(&[(7, thumb, thumb - Vec2::Y * 100.0, false), (8, fire, fire, false)], &fit, ALL, true);
        assert!(fingers.does(Action::Fire) && !fingers.begins(Action::Fire));
        let mut controls = Controls::default();
        fingers.steer(Some(&up), &mut controls);
        assert!(controls.holds(Controls::BOOST));
        // A second finger on the left does not take the stick away.
        fingers.take(&[(9, thumb, thumb, true), (7, thumb, thumb - Vec2::Y * 60.0, false)], &fit, ALL, true);
        assert_eq!(fingers.stick.unwrap().finger, 7);
        fingers.take(&[], &fit, ALL, true);
        assert!(fingers.stick.is_none() && !fingers.does(Action::Fire));
    }

    #[test]
    fn what_is_of_no_use_is_not_there() {
        let mut view = WorldView::default();
        let there = |view: &WorldView, menu_open: bool| {
            let shown = BUTTONS.iter().filter(|button| button.is_there(view, menu_open));
            shown.map(|button| button.action).collect::<Vec<_>>()
        };
        assert_eq!(there(&view, false), [Action::Settings], "there is no ship");
        view.dock = Dock::Docked { station: NetId(1), name: "".into() };
        assert_eq!(there(&view, true), [Action::Settings]);
        let fit = room(TELEPHONES[0]);
        let fire = BUTTONS[index_of(Action::Fire)].place(&fit);
        let mut fingers = Fingers::default();
        fingers.take(&[(1, fire, fire, true)], &fit, [false; BUTTONS.len()], false);
        assert!(!fingers.does(Action::Fire));
    }
}
