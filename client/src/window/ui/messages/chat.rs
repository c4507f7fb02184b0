//! The chat line, and the last lines of the chat, at the lower left.
//!
//! Owns the line that is being typed; the received lines are in the [`ChatBook`]. While the line is open, no other part
//! of the window receives keys: it is the first to read input and clears it.

use crate::{
    chat::{ChatBook, ChatLine},
    view::WorldView,
    window::{
        render::colors::{
            palette,
            tint::{Palette, Tint},
        },
        schedule::{InputSteps, WindowSystems},
        ui::{
            settings_menu::Menu,
            station::menu::StationMenu,
            widgets::{Anchor, panel, show, write},
        },
    },
};
use bevy::{
    input::keyboard::{Key, KeyboardFocusLost, KeyboardInput},
    prelude::*,
};
use sidereal_protocol::{
    frames::chat::Scope,
    limits::{MAX_SAY_BYTES, MAX_SAY_CHARS},
};

/// The most lines shown.
const LINES: usize = 8;
/// How long a line is shown while the chat line is closed, and over how much of that it fades, seconds.
const SHOWN_S: f64 = 14.0;
const FADE_S: f64 = 3.0;
/// Width of the lines, pixels; less in a narrow window.
const WIDTH: f32 = 350.0;
const FONT_SIZE: f32 = 14.0;

/// The chat line, and the last lines of the chat.
pub(crate) struct ChatPlugin;

impl Plugin for ChatPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<ChatBook>()
            .init_resource::<Typing>()
            .add_systems(Startup, spawn_chat)
            .add_systems(PreUpdate, read_typing.in_set(InputSteps::Type))
            .add_systems(Update, show_chat.in_set(WindowSystems::Write));
    }
}

/// The line that is being typed.
#[derive(Resource, Debug, Default)]
pub(crate) struct Typing {
    open: bool,
    scope: Scope,
    text: String,
    last_said: String,
    /// The key that closed the line and is still pressed: its repetitions must have no effect.
    closed_by: Option<KeyCode>,
    /// Control is pressed, so that letters are shortcuts...
    control: bool,
    /// ...unless this is pressed, too: AltGr is both on some systems.
    alt: bool,
}

impl Typing {
    /// Whether keys are typed text now.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Handles a pressed or released key. `enter_opens`: no panel uses Enter. Returns the text when it is finished.
    fn press(&mut self, event: &KeyboardInput, enter_opens: bool) -> Option<String> {
        let (code, down) = (event.key_code, event.state.is_pressed());
        match code {
            KeyCode::ControlLeft | KeyCode::ControlRight | KeyCode::SuperLeft | KeyCode::SuperRight => {
                self.control = down;
            }
            KeyCode::AltLeft | KeyCode::AltRight => self.alt = down,
            _ => {}
        }
        if !down {
            self.closed_by = self.closed_by.filter(|closed_by| *closed_by != code);
            return None;
        }
        let is_enter = matches!(code, KeyCode::Enter | KeyCode::NumpadEnter);
        if !self.open {
            let is_slash = matches!(&event.logical_key, Key::Character(letter) if letter == "/");
            if !event.repeat && self.closed_by != Some(code) && (is_enter && enter_opens || is_slash) {
                self.open = true;
                self.text = if is_slash { "/".to_owned() } else { String::new() };
            }
            return None;
        }
        match code {
            // Held since it opened the line.
            KeyCode::Enter | KeyCode::NumpadEnter if event.repeat => {}
            KeyCode::Enter | KeyCode::NumpadEnter => {
                self.close(code);
                let text = std::mem::take(&mut self.text);
                if !text.trim().is_empty() {
                    self.last_said.clone_from(&text);
                    return Some(text);
                }
            }
            KeyCode::Escape => {
                self.close(code);
                self.text.clear();
            }
            KeyCode::Tab if !event.repeat => self.scope = self.scope.other(),
            KeyCode::Tab => {}
            KeyCode::Backspace => {
                self.text.pop();
            }
            KeyCode::ArrowUp => self.text.clone_from(&self.last_said),
            _ if self.control && !self.alt => {}
            _ => self.add(event),
        }
        None
    }

    fn add(&mut self, event: &KeyboardInput) {
        let typed = match (&event.text, &event.logical_key) {
            (Some(text), _) => text.as_str(),
            (None, Key::Character(text)) => text.as_str(),
            (None, Key::Space) => " ",
            _ => return,
        };
        for letter in typed.chars().filter(|letter| !letter.is_control()) {
            let fits = self.text.len() + letter.len_utf8() <= MAX_SAY_BYTES;
            if fits && self.text.chars().count() < MAX_SAY_CHARS {
                self.text.push(letter);
            }
        }
    }

    fn close(&mut self, by: KeyCode) {
        self.open = false;
        self.closed_by = Some(by);
    }

    /// The keyboard focus is lost: released keys are not reported.
    fn let_go(&mut self) {
        (self.closed_by, self.control, self.alt) = (None, false, false);
    }
}

/// Reads typed text, before all other systems that read keys.
fn read_typing(
    mut inputs: MessageReader<KeyboardInput>,
    mut losses: MessageReader<KeyboardFocusLost>,
    view: Res<WorldView>,
    station_menu: Res<StationMenu>,
    menu: Res<Menu>,
    mut keys: ResMut<ButtonInput<KeyCode>>,
    mut typing: ResMut<Typing>,
    mut book: ResMut<ChatBook>,
) {
    if losses.read().count() > 0 {
        typing.let_go();
    }
    if menu.is_open {
        // While the line is open, all keys belong to it.
        inputs.clear();
        return;
    }
    let was_open = typing.open;
    for input in inputs.read() {
        if let Some(text) = typing.press(input, !station_menu.takes_arrows(&view)) {
            book.write(typing.scope, &text);
        }
    }
    if was_open || typing.open {
        keys.reset_all();
    } else if let Some(code) = typing.closed_by {
        keys.reset(code);
    }
}

/// A line of the chat; the newest is 0. Its text shows the scope.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
struct ChatRow(usize);

/// The following parts of a line.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
enum ChatPart {
    /// The speaker.
    Speaker(usize),
    /// The text.
    Words(usize),
}

/// The box of the line that is being typed.
#[derive(Component)]
struct TypingBox;

/// Its text: the scope...
#[derive(Component)]
struct TypedScope;

/// ...and the typed text.
#[derive(Component)]
struct TypedWords;

/// Spawns all nodes.
fn spawn_chat(mut commands: Commands) {
    let font = || TextFont::from_font_size(FONT_SIZE);
    let layout = || TextLayout { justify: Justify::Left, linebreak: LineBreak::WordOrCharacter };
    let node = || Node { max_width: percent(100), flex_shrink: 0.0, ..default() };
    let shadow = || TextShadow { offset: Vec2::splat(1.0), color: palette::SPACE };
    let hidden = || Node { display: Display::None, ..node() };
    commands
        .spawn((
            Anchor::Chat,
            Node {
                position_type: PositionType::Absolute,
                width: px(WIDTH),
                max_width: percent(90),
                max_height: percent(42),
                // Upwards: the oldest lines are cut off.
                flex_direction: FlexDirection::ColumnReverse,
                row_gap: px(3),
                overflow: Overflow::clip(),
                ..default()
            },
        ))
        .with_children(|parent| {
            parent.spawn((
                TypingBox,
                // Over the list at a station, too.
                GlobalZIndex(2),
                panel(
                    Node {
                        width: percent(100),
                        padding: UiRect::axes(px(8), px(5)),
                        margin: UiRect::top(px(4)),
                        ..hidden()
                    },
                    0.97,
                ),
                children![(
                    (TypedScope, Text::default(), font(), layout(), node(), TextColor(palette::FAINT.color())),
                    children![(TypedWords, TextSpan::default(), font(), TextColor(palette::TEXT.color()))],
                )],
            ));
            for row in 0..LINES {
                parent.spawn((
                    (ChatRow(row), Text::default(), font(), layout(), hidden(), shadow()),
                    children![
                        (ChatPart::Speaker(row), TextSpan::default(), font()),
                        (ChatPart::Words(row), TextSpan::default(), font()),
                    ],
                ));
            }
        });
}

/// The lines to show, newest first, and their opacity.
fn shown(book: &ChatBook, typing: bool) -> impl Iterator<Item = (&ChatLine, f32)> {
    let lines = book.lines().iter().rev().take(LINES);
    lines.filter_map(move |line| {
        let left = ((SHOWN_S - line.age_s) / FADE_S).clamp(0.0, 1.0) as f32;
        let opacity = if typing { 1.0 } else { left };
        (opacity > 0.0).then_some((line, opacity))
    })
}

fn tag(scope: Scope) -> (String, Tint) {
    let tint = match scope {
        Scope::Sector => palette::STATION,
        Scope::World => palette::BOOST,
    };
    (format!("[{}] ", scope.name()), tint)
}

/// Updates the last lines, and the line that is being typed.
fn show_chat(
    book: Res<ChatBook>,
    typing: Res<Typing>,
    colors: Res<Palette>,
    mut rows: Query<(&ChatRow, &mut Node, &mut Text, &mut TextColor), (Without<TypingBox>, Without<TypedScope>)>,
    mut parts: Query<(&ChatPart, &mut TextSpan, &mut TextColor), (Without<ChatRow>, Without<TypedWords>)>,
    mut boxes: Query<&mut Node, With<TypingBox>>,
    mut scopes: Query<(&mut Text, &mut TextColor), (With<TypedScope>, Without<ChatRow>, Without<ChatPart>)>,
    mut typed: Query<&mut TextSpan, (With<TypedWords>, Without<ChatPart>)>,
) {
    let lines: Vec<(&ChatLine, f32)> = shown(&book, typing.open).collect();
    for (ChatRow(row), mut node, mut text, mut color) in &mut rows {
        let line = lines.get(*row);
        show(&mut node, line.is_some());
        let Some((line, opacity)) = line else { continue };
        let (words, tint) = line.scope.map_or((String::new(), palette::FAINT), tag);
        write(&mut text.0, words);
        color.set_if_neq(TextColor(colors.color(tint.at(0.8 * opacity))));
    }
    for (part, mut span, mut color) in &mut parts {
        let (ChatPart::Speaker(row) | ChatPart::Words(row)) = *part;
        let Some((line, opacity)) = lines.get(row) else { continue };
        let (words, tint) = match part {
            ChatPart::Speaker(_) if line.scope.is_none() => (String::new(), palette::TEXT),
            ChatPart::Speaker(_) if line.own => (format!("{}: ", line.speaker), palette::OWN),
            ChatPart::Speaker(_) => (format!("{}: ", line.speaker), palette::PLAYER),
            ChatPart::Words(_) if line.scope.is_none() => (line.text.clone(), palette::HULL_WORN),
            ChatPart::Words(_) => (line.text.clone(), palette::TEXT),
        };
        write(&mut span.0, words);
        color.set_if_neq(TextColor(colors.color(tint.at(*opacity))));
    }
    for mut node in &mut boxes {
        show(&mut node, typing.open);
    }
    let (words, tint) = tag(typing.scope);
    for (mut text, mut color) in &mut scopes {
        write(&mut text.0, words.clone());
        color.set_if_neq(TextColor(colors.color(tint)));
    }
    for mut span in &mut typed {
        let hint = if typing.text.is_empty() { "   (Tab: sector, world)" } else { "" };
        write(&mut span.0, format!("{}_{hint}", typing.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flight::controls::PilotIntent,
        view::Dock,
        window::{
            input::{fingers::Fingers, flight_keys},
            settings::Settings,
        },
    };
    use bevy::input::{ButtonState, InputPlugin};
    use sidereal_protocol::{rules::flight::Controls, world::ids::NetId};

    fn hands() -> App {
        let mut app = App::new();
        app.add_plugins((bevy::time::TimePlugin, InputPlugin))
            .init_resource::<Typing>()
            .init_resource::<ChatBook>()
            .init_resource::<StationMenu>()
            .init_resource::<Menu>()
            .init_resource::<Settings>()
            .init_resource::<WorldView>()
            .init_resource::<flight_keys::Taps>()
            .init_resource::<Fingers>()
            .init_resource::<PilotIntent>()
            .add_systems(
                PreUpdate,
                (read_typing, flight_keys::read_flight_keys).chain().after(bevy::input::InputSystems),
            );
        app
    }

    fn input(app: &mut App, key_code: KeyCode, state: ButtonState, text: Option<&str>, repeat: bool) {
        let logical_key = text.map_or(Key::Enter, |text| Key::Character(text.into()));
        let text = text.filter(|_| state.is_pressed()).map(Into::into);
        let window = Entity::PLACEHOLDER;
        app.world_mut().write_message(KeyboardInput { key_code, logical_key, state, text, repeat, window });
    }

    fn tap(app: &mut App, key_code: KeyCode, text: Option<&str>) {
        input(app, key_code, ButtonState::Pressed, text, false);
        input(app, key_code, ButtonState::Released, text, false);
        app.update();
    }

    fn types(app: &mut App, text: &str) {
        for letter in text.chars() {
            tap(app, KeyCode::KeyW, Some(&letter.to_string()));
        }
    }

    fn said(app: &mut App) -> Vec<String> {
        // Without a session texts wait, and one beyond the limit causes a notice.
        let book = app.world().resource::<ChatBook>();
        book.lines().iter().map(|line| line.text.clone()).collect()
    }

    #[test]
    fn while_a_line_is_open_no_key_flies_and_then_they_do_again() {
        let mut app = hands();
        let thrust = |app: &App| app.world().resource::<PilotIntent>().controls;
        input(&mut app, KeyCode::KeyW, ButtonState::Pressed, Some("w"), false);
        tap(&mut app, KeyCode::Enter, None);
        assert!(app.world().resource::<Typing>().is_open());
        assert_eq!(thrust(&app), Controls::default(), "what is held is let go of");
        input(&mut app, KeyCode::Space, ButtonState::Pressed, Some(" "), false);
        input(&mut app, KeyCode::KeyW, ButtonState::Pressed, Some("w"), true);
        app.update();
        assert_eq!(thrust(&app), Controls::default());
        tap(&mut app, KeyCode::Escape, None);
        assert_eq!(thrust(&app), Controls::default());
        input(&mut app, KeyCode::KeyW, ButtonState::Pressed, Some("w"), false);
        app.update();
        assert_eq!(thrust(&app).thrust, 127);
        assert!(said(&mut app).is_empty(), "escape says nothing");
    }

    #[test]
    fn a_line_is_typed_in_any_script_corrected_and_said_again() {
        let mut app = hands();
        tap(&mut app, KeyCode::Enter, None);
        types(&mut app, "/dönce字");
        tap(&mut app, KeyCode::Backspace, None);
        tap(&mut app, KeyCode::Tab, None);
        assert_eq!(app.world().resource::<Typing>().text, "/dönce");
        assert_eq!(app.world().resource::<Typing>().scope, Scope::World);
        tap(&mut app, KeyCode::Enter, None);
        assert_eq!(said(&mut app).len(), 1, "there is no such command");
        tap(&mut app, KeyCode::Enter, None);
        tap(&mut app, KeyCode::ArrowUp, None);
        assert_eq!(app.world().resource::<Typing>().text, "/dönce");
        tap(&mut app, KeyCode::NumpadEnter, None);
        assert_eq!(said(&mut app).len(), 2);
        tap(&mut app, KeyCode::Enter, None);
        tap(&mut app, KeyCode::Enter, None);
        assert_eq!(said(&mut app).len(), 2, "an empty line is not said");
        assert!(!app.world().resource::<Typing>().is_open());
    }

    #[test]
    fn a_line_is_as_long_as_may_be_said_and_takes_no_control_characters() {
        let mut app = hands();
        tap(&mut app, KeyCode::Enter, None);
        types(&mut app, "\u{7}\u{8}");
        assert_eq!(app.world().resource::<Typing>().text, "");
        let mut typing = app.world_mut().resource_mut::<Typing>();
        typing.text = "x".repeat(MAX_SAY_CHARS);
        types(&mut app, "y");
        assert_eq!(app.world().resource::<Typing>().text.len(), MAX_SAY_CHARS);
        input(&mut app, KeyCode::ControlLeft, ButtonState::Pressed, None, false);
        tap(&mut app, KeyCode::Backspace, None);
        tap(&mut app, KeyCode::KeyV, Some("v"));
        assert_eq!(app.world().resource::<Typing>().text.len(), MAX_SAY_CHARS - 1, "a shortcut is no letter");
    }

    #[test]
    fn enter_is_the_lists_at_a_station_and_a_slash_opens_even_there() {
        let mut app = hands();
        let docked = Dock::Docked { station: NetId(9), name: "Meridian".into() };
        app.world_mut().resource_mut::<WorldView>().dock = docked;
        input(&mut app, KeyCode::Enter, ButtonState::Pressed, None, false);
        app.update();
        assert!(!app.world().resource::<Typing>().is_open());
        assert!(app.world().resource::<ButtonInput<KeyCode>>().just_pressed(KeyCode::Enter));
        input(&mut app, KeyCode::Enter, ButtonState::Released, None, false);
        tap(&mut app, KeyCode::Slash, Some("/"));
        assert_eq!(app.world().resource::<Typing>().text, "/");
        // Held after it has closed the line, it has no effect at the station.
        input(&mut app, KeyCode::Enter, ButtonState::Pressed, None, false);
        app.update();
        input(&mut app, KeyCode::Enter, ButtonState::Pressed, None, true);
        app.update();
        assert!(!app.world().resource::<ButtonInput<KeyCode>>().pressed(KeyCode::Enter));
        input(&mut app, KeyCode::Enter, ButtonState::Released, None, false);
        app.update();
        tap(&mut app, KeyCode::Enter, None);
        assert!(app.world().resource::<ButtonInput<KeyCode>>().just_pressed(KeyCode::Enter));
    }

    #[test]
    fn lines_fade_and_stay_while_something_is_typed() {
        let mut book = ChatBook::default();
        for index in 0..LINES + 2 {
            book.note(index.to_string());
        }
        assert_eq!(shown(&book, false).count(), LINES);
        assert_eq!(shown(&book, false).next().map(|(line, _)| line.text.as_str()), Some("9"));
        book.pass(SHOWN_S - FADE_S / 2.0);
        assert!(shown(&book, false).all(|(_, opacity)| (opacity - 0.5).abs() < 1e-3));
        book.pass(FADE_S);
        assert_eq!((shown(&book, false).count(), shown(&book, true).count()), (0, LINES));
    }
}
