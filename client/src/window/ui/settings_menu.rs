//! The settings panel: a list of lines, changed by keyboard, mouse or touch.

use crate::window::{
    input::devices::Devices,
    render::colors::{
        palette,
        tint::{Palette, Tint},
    },
    schedule::{InputSteps, WindowSystems},
    settings::{
        Settings, UI_SCALES,
        bindings::{Action, Bindings, SLOTS, Trigger},
        quality::Quality,
        scheme::Scheme,
    },
    ui::{
        layout::UiLayout,
        station::menu::StationMenu,
        widgets::{in_the_middle, panel},
    },
};
use bevy::{
    input::mouse::{MouseScrollUnit, MouseWheel},
    prelude::*,
};

/// Widths of the columns, and height of a line, pixels.
const LABEL_PIXELS: f32 = 132.0;
const SLOT_PIXELS: f32 = 84.0;
const LINE_PIXELS: f32 = 19.0;
/// Height of the parts above and below the lines, pixels.
const FRAME_PIXELS: f32 = 96.0;

/// The settings panel.
pub(crate) struct SettingsMenuPlugin;

impl Plugin for SettingsMenuPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Menu>()
            .add_systems(Startup, spawn_menu)
            .add_systems(PreUpdate, (read_menu_keys, press_lines).chain().in_set(InputSteps::Menu))
            .add_systems(Update, show_menu.in_set(WindowSystems::Write));
    }
}

/// The content of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Colors,
    Motion,
    Scale,
    Names,
    HullBars,
    Quality,
    Keys(Action),
    UsualKeys,
    Close,
}

const OPTIONS: [Item; 6] = [Item::Colors, Item::Motion, Item::Scale, Item::Names, Item::HullBars, Item::Quality];
const LINES: usize = OPTIONS.len() + Action::COUNT + 2;

fn item(line: usize) -> Item {
    let keys = OPTIONS.len()..OPTIONS.len() + Action::COUNT;
    match line {
        line if line < keys.start => OPTIONS[line],
        line if keys.contains(&line) => Item::Keys(Action::ALL[line - keys.start]),
        line if line == keys.end => Item::UsualKeys,
        _ => Item::Close,
    }
}

/// The state of the panel.
#[derive(Resource, Debug, Default)]
pub(crate) struct Menu {
    /// It is open.
    pub(crate) is_open: bool,
    line: usize,
    slot: usize,
    /// The next pressed key is bound to this line.
    waits: bool,
    /// It was open when this frame's keys were read: the key that closes it does nothing else.
    was_open: bool,
    /// A press of the mouse was bound to a waiting line, so it does not press a line.
    is_pressed: bool,
    said: String,
}

impl Menu {
    fn close(&mut self) {
        *self = Self { was_open: self.was_open, ..Self::default() };
    }

    /// Changes the value of the line at the cursor, in the direction `by`.
    fn turn(&mut self, by: i32, settings: &mut Settings) {
        match item(self.line) {
            Item::Colors => settings.colors = next(&Scheme::ALL, settings.colors, by),
            Item::Motion => settings.reduced_motion = !settings.reduced_motion,
            Item::Scale => settings.ui_scale = next(&UI_SCALES, settings.ui_scale, by),
            Item::Names => settings.names = !settings.names,
            Item::HullBars => settings.hull_bars = !settings.hull_bars,
            Item::Quality => {
                settings.quality =
                    next(&[Quality::Adapter, Quality::Full, Quality::Plain, Quality::Bare], settings.quality, by);
            }
            Item::Keys(_) => self.slot = (self.slot as i32 + by).rem_euclid(SLOTS as i32) as usize,
            Item::UsualKeys | Item::Close => {}
        }
    }

    fn enter(&mut self, settings: &mut Settings) {
        self.said.clear();
        match item(self.line) {
            Item::Keys(_) => self.waits = true,
            Item::UsualKeys => {
                settings.keys = Bindings::default();
                self.said = "all keys are reset".to_owned();
            }
            Item::Close => self.close(),
            _ => self.turn(1, settings),
        }
    }

    /// Binds the pressed key to the waiting line.
    fn take(&mut self, trigger: Option<Trigger>, settings: &mut Settings) {
        let Item::Keys(action) = item(self.line) else { return };
        let Some(trigger) = trigger else {
            self.said = "that key cannot be used: press another one".to_owned();
            return;
        };
        self.waits = false;
        self.is_pressed = matches!(trigger, Trigger::Mouse(_));
        self.said = match settings.keys.bind(action, self.slot, trigger) {
            Some(other) if settings.keys.of(other) == [None; SLOTS] => {
                format!("{} was for \"{}\", which has no key now", trigger.says(), other.says())
            }
            Some(other) => format!("{} was for \"{}\" until now", trigger.says(), other.says()),
            None => String::new(),
        };
    }

    fn move_by(&mut self, by: i32) {
        self.said.clear();
        self.line = (self.line as i32 + by).rem_euclid(LINES as i32) as usize;
    }
}

/// The value `by` places after `present`, in a circle.
fn next<T: Copy + PartialEq>(all: &[T], present: T, by: i32) -> T {
    let index = all.iter().position(|one| *one == present).unwrap_or(0);
    all[(index as i32 + by).rem_euclid(all.len() as i32) as usize]
}

/// The whole panel.
#[derive(Component)]
struct MenuPanel;
/// A line.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
struct MenuLine(usize);
/// A pressable cell: its line and column.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
struct MenuCell(usize, usize);
/// A text: of a cell, or at the bottom.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
enum MenuText {
    /// Of a line's column.
    Cell(usize, usize),
    /// What has happened, or the keys.
    Foot,
}

fn cell(line: usize, column: usize) -> impl Bundle {
    let width = if column == 0 { LABEL_PIXELS } else { SLOT_PIXELS };
    let layout = TextLayout { justify: Justify::Left, linebreak: LineBreak::NoWrap };
    let text =
        (MenuText::Cell(line, column), Text::default(), TextFont::from_font_size(12.0), TextColor::default(), layout);
    let node = Node {
        width: px(width),
        height: percent(100),
        padding: UiRect::horizontal(px(2)),
        align_items: AlignItems::Center,
        // An option's value is longer than a key's name, and has the room of two.
        overflow: if line < OPTIONS.len() { Overflow::visible() } else { Overflow::clip() },
        ..default()
    };
    (MenuCell(line, column), Interaction::default(), node, BackgroundColor(Color::NONE), children![text])
}

fn line(index: usize) -> impl Bundle {
    let node = Node { height: px(LINE_PIXELS), ..default() };
    (MenuLine(index), node, children![cell(index, 0), cell(index, 1), cell(index, 2)])
}

/// Spawns all nodes.
fn spawn_menu(mut commands: Commands) {
    let tinted = |words: &str, size: f32, tint: Tint| {
        (Text::new(words), TextFont::from_font_size(size), TextColor(tint.color()))
    };
    let lines = Node { flex_direction: FlexDirection::Column, ..default() };
    let stack = Node {
        flex_direction: FlexDirection::Column,
        padding: UiRect::axes(px(10), px(8)),
        row_gap: px(5),
        ..default()
    };
    commands.spawn((
        MenuPanel,
        in_the_middle(),
        GlobalZIndex(3),
        Visibility::Hidden,
        children![(
            panel(stack, 0.97),
            children![
                tinted("Settings", 18.0, palette::TEXT),
                (lines, Children::spawn(SpawnIter((0..LINES).map(line)))),
                (
                    Node { width: px(LABEL_PIXELS + 2.0 * SLOT_PIXELS), height: px(32), ..default() },
                    children![(
                        MenuText::Foot,
                        Text::default(),
                        TextFont::from_font_size(12.0),
                        TextColor(palette::FAINT.color())
                    )]
                ),
            ],
        )],
    ));
}

/// Keys of the panel, and the key that opens it.
fn read_menu_keys(
    devices: Devices,
    station_menu: Res<StationMenu>,
    mut scrolls: MessageReader<MouseWheel>,
    mut menu: ResMut<Menu>,
    mut settings: ResMut<Settings>,
) {
    let (keys, mouse) = (&devices.keys, &devices.mouse);
    let toggles = devices.hands(&settings.keys, &[]).begins(Action::Settings);
    let escapes = keys.just_pressed(KeyCode::Escape);
    menu.was_open = menu.is_open;
    if !menu.is_open {
        scrolls.clear();
        menu.is_open = toggles || escapes && station_menu.draft.is_none();
        return;
    }
    if menu.waits {
        scrolls.clear();
        if escapes {
            menu.waits = false;
        } else if let Some(code) = keys.get_just_pressed().next() {
            menu.take(Trigger::of_key(*code), &mut settings);
        } else if let Some(button) = mouse.get_just_pressed().next() {
            menu.take(Some(Trigger::Mouse(*button)), &mut settings);
        }
        return;
    }
    if toggles || escapes {
        menu.close();
        return;
    }
    let notches: f32 = scrolls
        .read()
        .map(|scroll| if scroll.unit == MouseScrollUnit::Line { scroll.y } else { scroll.y / 40.0 })
        .sum();
    if notches != 0.0 {
        let line = menu.line as i32 - notches.clamp(-6.0, 6.0).round() as i32;
        menu.line = line.clamp(0, LINES as i32 - 1) as usize;
    }
    if keys.just_pressed(KeyCode::ArrowUp) {
        menu.move_by(-1);
    }
    if keys.just_pressed(KeyCode::ArrowDown) {
        menu.move_by(1);
    }
    if keys.just_pressed(KeyCode::ArrowLeft) {
        menu.turn(-1, &mut settings);
    }
    if keys.just_pressed(KeyCode::ArrowRight) {
        menu.turn(1, &mut settings);
    }
    if keys.any_just_pressed([KeyCode::Enter, KeyCode::NumpadEnter]) {
        menu.enter(&mut settings);
    }
    if keys.any_just_pressed([KeyCode::Delete, KeyCode::Backspace])
        && let Item::Keys(action) = item(menu.line)
    {
        settings.keys.clear(action, menu.slot);
    }
}

/// Presses of the mouse or a finger on lines.
fn press_lines(
    cells: Query<(&MenuCell, &Interaction), Changed<Interaction>>,
    mut menu: ResMut<Menu>,
    mut settings: ResMut<Settings>,
) {
    let is_taken = std::mem::take(&mut menu.is_pressed);
    if !menu.is_open || menu.waits || is_taken {
        return;
    }
    let Some((MenuCell(line, column), _)) = cells.iter().find(|(_, what)| **what == Interaction::Pressed) else {
        return;
    };
    (menu.line, menu.slot) = (*line, column.saturating_sub(1));
    menu.enter(&mut settings);
}

/// Whether the panel is closed and was so when the frame began: then keys fly the ship.
pub(crate) fn is_closed(menu: Res<Menu>) -> bool {
    !menu.is_open && !menu.was_open
}

/// Updates the panel.
fn show_menu(
    menu: Res<Menu>,
    settings: Res<Settings>,
    layout: Res<UiLayout>,
    palette: Res<Palette>,
    mut panels: Query<&mut Visibility, With<MenuPanel>>,
    mut lines: Query<(&MenuLine, &mut Node)>,
    mut cells: Query<(&MenuCell, &mut BackgroundColor)>,
    mut texts: Query<(&MenuText, &mut Text, &mut TextColor)>,
) {
    for mut visibility in &mut panels {
        visibility.set_if_neq(if menu.is_open { Visibility::Inherited } else { Visibility::Hidden });
    }
    if !menu.is_open {
        return;
    }
    let shown = visible_lines(menu.line, layout.room.y);
    for (MenuLine(line), mut node) in &mut lines {
        let display = if shown.contains(line) { Display::Flex } else { Display::None };
        if node.display != display {
            node.display = display;
        }
    }
    for (MenuCell(line, column), mut back) in &mut cells {
        let has_slots = matches!(item(*line), Item::Keys(_));
        let is_here = menu.line == *line && (!has_slots || *column == menu.slot + 1);
        let tint = palette::LINE.at(if is_here { 0.32 } else { 0.0 });
        back.set_if_neq(BackgroundColor(palette.color(tint)));
    }
    for (which, mut text, mut color) in &mut texts {
        let (words, tint) = match *which {
            MenuText::Cell(line, column) => cell_words(&menu, &settings, line, column),
            MenuText::Foot => foot_words(&menu),
        };
        if text.0 != words {
            text.0 = words;
        }
        color.set_if_neq(TextColor(palette.color(tint)));
    }
}

/// The visible lines, including the one at the cursor.
fn visible_lines(cursor: usize, height: f32) -> std::ops::Range<usize> {
    let count = (((height - FRAME_PIXELS) / LINE_PIXELS) as usize).clamp(3, LINES);
    let first = cursor.saturating_sub(count / 2).min(LINES - count);
    first..first + count
}

fn cell_words(menu: &Menu, settings: &Settings, line: usize, column: usize) -> (String, Tint) {
    let item = item(line);
    let on = |on: bool| if on { "shown" } else { "hidden" }.to_owned();
    let words = match (column, item) {
        (0, Item::Colors) => "colours".to_owned(),
        (0, Item::Motion) => "motion".to_owned(),
        (0, Item::Scale) => "size of text".to_owned(),
        (0, Item::Names) => "names".to_owned(),
        (0, Item::HullBars) => "hull bars".to_owned(),
        (0, Item::Quality) => "picture".to_owned(),
        (0, Item::Keys(action)) => action.says().to_owned(),
        (0, Item::UsualKeys) => "reset all keys".to_owned(),
        (0, Item::Close) => "close".to_owned(),
        (1, Item::Colors) => settings.colors.name().to_owned(),
        (1, Item::Motion) => if settings.reduced_motion { "reduced" } else { "full" }.to_owned(),
        (1, Item::Scale) => format!("{:.0} %", settings.ui_scale * 100.0),
        (1, Item::Names) => on(settings.names),
        (1, Item::HullBars) => on(settings.hull_bars),
        (1, Item::Quality) => match settings.quality {
            Quality::Adapter => "by itself".to_owned(),
            Quality::Full => "smooth".to_owned(),
            Quality::Plain => "fast".to_owned(),
            Quality::Bare => "fastest".to_owned(),
        },
        (_, Item::Keys(_)) if menu.waits && menu.line == line && column == menu.slot + 1 => "press...".to_owned(),
        (_, Item::Keys(action)) => settings.keys.of(action)[column - 1].map_or("-".to_owned(), Trigger::says),
        _ => String::new(),
    };
    let is_unbound = matches!(item, Item::Keys(action) if settings.keys.of(action) == [None; SLOTS]);
    let tint = match column {
        _ if is_unbound => palette::HULL_WORN,
        0 => palette::TEXT,
        _ => palette::OWN,
    };
    (words, tint)
}

fn foot_words(menu: &Menu) -> (String, Tint) {
    match item(menu.line) {
        _ if !menu.said.is_empty() => (menu.said.clone(), palette::HULL_WORN),
        Item::Keys(action) if menu.waits => {
            (format!("press a key or mouse button for \"{}\"; Escape leaves it", action.says()), palette::TEXT)
        }
        Item::Keys(_) => {
            ("Enter  another key    Delete  none\narrows  choose    Escape  close".to_owned(), palette::FAINT)
        }
        _ => ("arrows  choose, change\nEnter  change    Escape  close".to_owned(), palette::FAINT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::input::fingers::Fingers;

    fn app() -> App {
        let mut app = App::new();
        app.init_resource::<ButtonInput<KeyCode>>()
            .init_resource::<ButtonInput<MouseButton>>()
            .init_resource::<Fingers>()
            .init_resource::<StationMenu>()
            .init_resource::<Menu>()
            .init_resource::<Settings>()
            .add_message::<MouseWheel>()
            .add_systems(Update, (read_menu_keys, press_lines).chain());
        app
    }

    fn tap(app: &mut App, codes: &[KeyCode]) {
        for code in codes {
            app.world_mut().resource_mut::<ButtonInput<KeyCode>>().press(*code);
            app.update();
            let mut keys = app.world_mut().resource_mut::<ButtonInput<KeyCode>>();
            keys.release(*code);
            keys.clear();
        }
    }

    fn line_of(wanted: Item) -> usize {
        (0..LINES).find(|line| item(*line) == wanted).unwrap()
    }

    #[test]
    fn every_option_and_every_action_has_its_line() {
        for action in Action::ALL {
            line_of(Item::Keys(*action));
        }
        assert_eq!((item(0), item(LINES - 1)), (Item::Colors, Item::Close));
    }

    #[test]
    fn an_action_gets_another_key_by_keyboard_and_the_one_that_had_it_is_named() {
        let mut app = app();
        tap(&mut app, &[KeyCode::F2]);
        app.world_mut().resource_mut::<Menu>().line = line_of(Item::Keys(Action::Brake));
        tap(&mut app, &[KeyCode::ArrowRight, KeyCode::Enter, KeyCode::F24]);
        assert!(app.world().resource::<Menu>().waits, "a key without a name is not taken");
        tap(&mut app, &[KeyCode::Space]);
        let menu = app.world().resource::<Menu>();
        assert!(menu.said.contains("Space was for \"fire\", which has no key now"), "{}", menu.said);
        let keys = &app.world().resource::<Settings>().keys;
        assert_eq!(keys.of(Action::Brake)[1], Some(Trigger::Key(KeyCode::Space)));
        tap(&mut app, &[KeyCode::Enter, KeyCode::Escape, KeyCode::Delete]);
        assert_eq!(app.world().resource::<Settings>().keys.of(Action::Brake)[1], None);
        app.world_mut().resource_mut::<Menu>().line = line_of(Item::UsualKeys);
        tap(&mut app, &[KeyCode::Enter]);
        assert_eq!(app.world().resource::<Settings>().keys, Bindings::default());
    }

    #[test]
    fn the_key_that_opens_the_panel_can_be_bound_elsewhere_and_escape_still_leads_in_and_out() {
        let mut app = app();
        tap(&mut app, &[KeyCode::Escape]);
        app.world_mut().resource_mut::<Menu>().line = line_of(Item::Keys(Action::Grid));
        tap(&mut app, &[KeyCode::Enter, KeyCode::F2]);
        assert_eq!(app.world().resource::<Settings>().keys.of(Action::Settings), [None, None]);
        tap(&mut app, &[KeyCode::Escape]);
        assert!(!app.world().resource::<Menu>().is_open);
        tap(&mut app, &[KeyCode::F2]);
        assert!(!app.world().resource::<Menu>().is_open);
        tap(&mut app, &[KeyCode::Escape]);
        assert!(app.world().resource::<Menu>().is_open);
    }

    #[test]
    fn lines_can_be_pressed() {
        let mut app = app();
        tap(&mut app, &[KeyCode::F2]);
        app.world_mut().spawn((MenuCell(line_of(Item::Motion), 1), Interaction::Pressed));
        app.update();
        assert!(app.world().resource::<Settings>().reduced_motion);
        app.update();
        assert!(app.world().resource::<Settings>().reduced_motion, "once for a press");
    }

    #[test]
    fn a_press_that_was_bound_presses_nothing_else_and_what_closes_the_panel_neither() {
        let mut app = app();
        tap(&mut app, &[KeyCode::F2]);
        app.world_mut().resource_mut::<Menu>().line = line_of(Item::Keys(Action::Fire));
        tap(&mut app, &[KeyCode::Enter]);
        app.world_mut().resource_mut::<ButtonInput<MouseButton>>().press(MouseButton::Left);
        app.world_mut().spawn((MenuCell(line_of(Item::Motion), 1), Interaction::Pressed));
        app.update();
        app.world_mut().resource_mut::<ButtonInput<MouseButton>>().clear();
        let settings = app.world().resource::<Settings>();
        assert_eq!(settings.keys.of(Action::Fire)[0], Some(Trigger::Mouse(MouseButton::Left)));
        assert!(!settings.reduced_motion);
        let closed = |app: &mut App| app.world_mut().run_system_cached(is_closed).unwrap();
        app.world_mut().resource_mut::<Menu>().line = line_of(Item::Close);
        tap(&mut app, &[KeyCode::Enter]);
        assert!(!app.world().resource::<Menu>().is_open && !closed(&mut app));
        app.update();
        assert!(closed(&mut app));
    }

    #[test]
    fn the_cursor_is_always_in_sight() {
        for height in [100.0, 320.0, 360.0, 720.0, 5000.0] {
            for cursor in 0..LINES {
                let shown = visible_lines(cursor, height);
                assert!(shown.contains(&cursor) && shown.end <= LINES, "{height} {cursor}");
            }
        }
    }
}
