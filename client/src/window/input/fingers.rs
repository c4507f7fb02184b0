//! Touch input: a stick wherever the left thumb touches, and buttons under the right one.
//!
//! Owns [`Fingers`]; their display is in `ui/touch_controls`.

use crate::{
    view::{Dock, WorldView},
    weapons::tractor,
    window::{settings::bindings::Action, ui::layout::UiLayout},
};
use bevy::prelude::*;
use sidereal_protocol::rules::flight::{Controls, FlightState, wrap_angle};

/// The stick is at its limit when the thumb is this far from where it touched first, pixels of the room.
pub(crate) const STICK_PIXELS: f32 = 60.0;
/// A smaller share of that is a resting thumb.
const DEAD_SHARE: f32 = 0.15;
/// From this share on the engine is on; below it the ship only turns.
const THRUST_SHARE: f32 = 0.45;
/// From this share on the booster is on.
const BOOST_SHARE: f32 = 1.5;
/// How fast the ship turns to where the stick points, per radian, and the damping, per radian a second.
const TURN_GAIN: f64 = 150.0;
const TURN_DAMPING: f64 = 20.0;
/// The engine is on only when the ship points about where the stick does: the cosine of the angle between.
const ALIGNED: f64 = 0.6;
/// Rooms lower than this are too small for all buttons above the map, pixels.
const TALL: f32 = 420.0;

/// A touch button.
pub(crate) struct Button {
    pub(crate) action: Action,
    pub(crate) says: &'static str,
    /// Its centre from the corner of the buttons, leftwards and upwards, and its radius; pixels of the room.
    middle: Vec2,
    pub(crate) radius: f32,
}

const fn button(action: Action, says: &'static str, left: f32, up: f32, radius: f32) -> Button {
    Button { action, says, middle: Vec2::new(left, up), radius }
}

pub(crate) const BUTTONS: [Button; 8] = [
    button(Action::Fire, "fire", 46.0, 46.0, 42.0),
    button(Action::Beam, "beam", 124.0, 34.0, 27.0),
    button(Action::Launch, "missile", 110.0, 98.0, 27.0),
    button(Action::Brake, "brake", 44.0, 122.0, 27.0),
    button(Action::Mine, "mine", 106.0, 162.0, 27.0),
    button(Action::Tractor, "pull", 44.0, 248.0, 27.0),
    button(Action::Dock, "dock", 44.0, 186.0, 27.0),
    button(Action::Settings, "menu", 0.0, 0.0, 22.0),
];

impl Button {
    /// Whether it is useful now.
    pub(crate) fn is_there(&self, view: &WorldView, menu_open: bool) -> bool {
        let docked = matches!(view.dock, Dock::Docked { .. });
        match self.action {
            Action::Settings => true,
            _ if menu_open || view.own.is_none() => false,
            Action::Dock => docked || matches!(view.dock, Dock::InReach { .. }),
            Action::Mine => view.mining.is_some(),
            Action::Tractor => !docked && view.own.as_ref().is_some_and(|own| tractor::own_target(view, own).is_some()),
            _ => !docked,
        }
    }

    /// Its centre from the room's upper left corner.
    pub(crate) fn place(&self, layout: &UiLayout) -> Vec2 {
        if self.action == Action::Settings {
            return Vec2::new(layout.margin() + self.radius, 0.22 * layout.room.y);
        }
        // Above the map if all fit there, else beside it.
        let corner = if layout.is_narrow() && layout.room.y >= TALL {
            Vec2::new(layout.margin(), layout.margin() + layout.map_pixels() + 30.0)
        } else {
            Vec2::new(2.0 * layout.margin() + layout.map_pixels(), layout.margin())
        };
        layout.room - corner - self.middle
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Stick {
    finger: u64,
    /// Where the thumb touched first, from the room's upper left corner.
    pub(crate) from: Vec2,
    /// Its distance from there, in shares of [`STICK_PIXELS`]; upwards is positive.
    pub(crate) pull: Vec2,
}

/// The present touches.
#[derive(Resource, Debug, Default)]
pub(crate) struct Fingers {
    pub(crate) shown: bool,
    pub(crate) stick: Option<Stick>,
    pub(crate) held: [bool; BUTTONS.len()],
    begun: [bool; BUTTONS.len()],
}

impl Fingers {
    /// Whether a finger holds `action`.
    pub(crate) fn does(&self, action: Action) -> bool {
        self.any(&self.held, action)
    }

    /// Whether a finger started `action` in this frame.
    pub(crate) fn begins(&self, action: Action) -> bool {
        self.any(&self.begun, action)
    }

    fn any(&self, which: &[bool], action: Action) -> bool {
        BUTTONS.iter().zip(which).any(|(button, is)| button.action == action && *is)
    }

    /// Whether the player uses touch rather than keys.
    pub(crate) fn are_used(&self) -> bool {
        self.shown
    }

    /// Shows the stick and the buttons from the start.
    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only a page is told before the first touch"))]
    pub(crate) fn show(&mut self) {
        self.shown = true;
    }

    /// Steers `own` to where the stick points; leaves `controls` unchanged when no thumb is on it.
    pub(crate) fn steer(&self, own: Option<&FlightState>, controls: &mut Controls) {
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

    /// Receives the touches: their number, where they started and where they are, room pixels, and whether they started
    /// in this frame. `there`: the present buttons.
    pub(crate) fn take(
        &mut self,
        fingers: &[(u64, Vec2, Vec2, bool)],
        layout: &UiLayout,
        there: [bool; BUTTONS.len()],
        flies: bool,
    ) {
        let hit = |at: Vec2| {
            let on =
                |index: &usize| there[*index] && at.distance(BUTTONS[*index].place(layout)) <= BUTTONS[*index].radius;
            (0..BUTTONS.len()).find(on)
        };
        (self.held, self.begun) = Default::default();
        let before = self.stick.take().map(|stick| stick.finger);
        for &(finger, from, at, is_new) in fingers {
            if let Some(index) = hit(from) {
                self.held[index] = true;
                self.begun[index] |= is_new;
            } else if flies && from.x < layout.room.x * 0.5 && (before == Some(finger) || before.is_none() && is_new) {
                let way = at - from;
                self.stick = Some(Stick { finger, from, pull: Vec2::new(way.x, -way.y) / STICK_PIXELS });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::world::ids::NetId;

    const ALL: [bool; BUTTONS.len()] = [true; BUTTONS.len()];
    const TELEPHONES: [Vec2; 4] =
        [Vec2::new(360.0, 640.0), Vec2::new(640.0, 360.0), Vec2::new(568.0, 320.0), Vec2::new(320.0, 320.0)];

    fn room(size: Vec2) -> UiLayout {
        UiLayout { room: size, scale: 1.0 }
    }

    fn index_of(action: Action) -> usize {
        BUTTONS.iter().position(|button| button.action == action).unwrap()
    }

    #[test]
    fn buttons_are_on_the_glass_right_of_the_stick_and_apart() {
        for size in TELEPHONES.into_iter().chain([Vec2::new(1280.0, 720.0)]) {
            let layout = room(size);
            for (index, button) in BUTTONS.iter().enumerate() {
                let (at, radius) = (button.place(&layout), button.radius);
                assert!(
                    at.cmpge(Vec2::splat(radius)).all() && at.cmple(size - radius).all(),
                    "{} in {size}",
                    button.says
                );
                for other in &BUTTONS[..index] {
                    let apart = at.distance(other.place(&layout));
                    assert!(apart >= radius + other.radius, "{} and {} in {size}", button.says, other.says);
                }
            }
        }
    }

    #[test]
    fn a_thumb_flies_while_another_finger_fires() {
        let layout = room(TELEPHONES[0]);
        let fire = BUTTONS[index_of(Action::Fire)].place(&layout);
        let mut fingers = Fingers::default();
        let thumb = Vec2::new(90.0, 500.0);
        fingers.take(&[(7, thumb, thumb - Vec2::Y * 60.0, true), (8, fire, fire, true)], &layout, ALL, true);
        assert!(fingers.does(Action::Fire) && fingers.begins(Action::Fire) && !fingers.does(Action::Brake));
        let mut controls = Controls::default();
        let up = FlightState { angle: std::f64::consts::FRAC_PI_2, ..FlightState::default() };
        fingers.steer(Some(&up), &mut controls);
        assert_eq!((controls.thrust, controls.turn, controls.buttons), (127, 0, 0));
        // The ship points to the right, the stick up: it turns first.
        let mut controls = Controls::default();
        fingers.steer(Some(&FlightState::default()), &mut controls);
        assert_eq!((controls.thrust, controls.turn), (0, 127));
        // Pulled far out the booster is on; the finger on the button is still there, but no longer new.
        fingers.take(&[(7, thumb, thumb - Vec2::Y * 100.0, false), (8, fire, fire, false)], &layout, ALL, true);
        assert!(fingers.does(Action::Fire) && !fingers.begins(Action::Fire));
        let mut controls = Controls::default();
        fingers.steer(Some(&up), &mut controls);
        assert!(controls.holds(Controls::BOOST));
        // A second finger on the left does not take the stick away.
        fingers.take(&[(9, thumb, thumb, true), (7, thumb, thumb - Vec2::Y * 60.0, false)], &layout, ALL, true);
        assert_eq!(fingers.stick.unwrap().finger, 7);
        fingers.take(&[], &layout, ALL, true);
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
        let layout = room(TELEPHONES[0]);
        let fire = BUTTONS[index_of(Action::Fire)].place(&layout);
        let mut fingers = Fingers::default();
        fingers.take(&[(1, fire, fire, true)], &layout, [false; BUTTONS.len()], false);
        assert!(!fingers.does(Action::Fire));
    }
}
