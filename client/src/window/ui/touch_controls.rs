//! The stick and the buttons on a touch screen: reads touches, and draws the controls.
//!
//! Shown on touch screens, until a key is pressed. The effect of touches is in [`Fingers`].

use crate::{
    view::{Dock, WorldView},
    window::{
        input::fingers::{BUTTONS, Fingers, STICK_PIXELS},
        render::colors::palette,
        schedule::{InputSteps, WindowSystems},
        ui::{layout::UiLayout, settings_menu::Menu},
    },
};
use bevy::prelude::*;

/// Radius of the thumb on the stick, pixels of the room.
const THUMB_PIXELS: f32 = 22.0;

/// Reads touches, and shows the controls.
pub(crate) struct TouchPlugin;

impl Plugin for TouchPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Fingers>()
            .add_systems(Startup, spawn_touch)
            .add_systems(PreUpdate, read_fingers.in_set(InputSteps::Touch))
            .add_systems(Update, show_touch.in_set(WindowSystems::Write));
    }
}

/// Reads the touches.
fn read_fingers(
    touches: Res<Touches>,
    keys: Res<ButtonInput<KeyCode>>,
    layout: Res<UiLayout>,
    view: Res<WorldView>,
    menu: Res<Menu>,
    mut fingers: ResMut<Fingers>,
) {
    if touches.any_just_pressed() {
        fingers.shown = true;
    } else if keys.get_just_pressed().next().is_some() {
        fingers.shown = false;
    }
    let room = |at: Vec2| at / layout.scale;
    let down: Vec<_> = touches
        .iter()
        .map(|touch| {
            let is_new = touches.just_pressed(touch.id());
            (touch.id(), room(touch.start_position()), room(touch.position()), is_new)
        })
        .collect();
    let there = BUTTONS.each_ref().map(|button| button.is_there(&view, menu.is_open));
    let flies = !menu.is_open && view.own.is_some() && !matches!(view.dock, Dock::Docked { .. });
    fingers.take(&down, &layout, there, flies);
}

/// A button on the screen, by its place among [`BUTTONS`].
#[derive(Component)]
struct ButtonShown(usize);

/// The stick's ring, or the thumb in it.
#[derive(Component, Clone, Copy, PartialEq, Eq)]
enum StickShown {
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

/// Spawns the touch controls.
fn spawn_touch(mut commands: Commands) {
    for (index, button) in BUTTONS.iter().enumerate() {
        let word = (Text::new(button.says), TextFont::from_font_size(12.0), TextColor(palette::TEXT.color()));
        commands.spawn((ButtonShown(index), round(button.radius), children![word]));
    }
    commands.spawn((StickShown::Ring, round(STICK_PIXELS)));
    commands.spawn((StickShown::Thumb, round(THUMB_PIXELS)));
}

/// Shows them when they are useful.
fn show_touch(
    fingers: Res<Fingers>,
    layout: Res<UiLayout>,
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
        put(&mut node, button.place(&layout), button.radius);
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
