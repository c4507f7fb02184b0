//! Texts and bars over the picture: hull, speed, sector, link, notices, help, and the session's state.

use crate::{
    session::SessionState,
    view::{Dock, NOTICE_SECONDS, Notice, NoticeKind, Part, WorldView},
    weapons::arms::reloading,
    window::{
        input::{fingers::Fingers, respawn::Downtime, view_keys::Overlays},
        render::colors::{
            palette::{self, Tinted, hull_share},
            tint::{Palette, Tint},
        },
        schedule::WindowSystems,
        settings::{
            Note, Settings,
            bindings::{Action, Bindings},
        },
        ui::{
            connection,
            layout::UiLayout,
            messages::chat::Typing,
            settings_menu::Menu,
            widgets::{Anchor, Line, ShipPanel, in_the_middle, panel},
        },
    },
};
use bevy::prelude::*;
use sidereal_protocol::rules::tool::Tool;

/// The most notices shown.
const NEWS_LINES: usize = 6;
/// Notices fade over their last seconds.
const NEWS_FADE_S: f64 = 2.0;
/// Width of the hull bar, pixels.
const HULL_PIXELS: f32 = 236.0;
/// The keys that open the chat line, which cannot be changed, and their text in the help.
const TALK_KEYS: &str = "Enter, /";
const TALK_WORDS: &str = "talk (Tab: to whom)";
/// How long the hint on the help key is shown, seconds.
const HINT_S: f64 = 25.0;
/// How fast the frame rate's display follows, share per frame.
const FRAME_RATE_SHARE: f32 = 0.05;
/// A round trip above this is shown as a warning, milliseconds.
const SLOW_PING_MS: f64 = 250.0;
/// A share of lost states above this is shown as a warning.
const HIGH_LOSS: f64 = 0.1;
/// The opacity of the panels.
const PANEL_OPACITY: f32 = 0.86;
/// How long the edge of the window stays red after a hit, seconds.
const PAIN_SECONDS: f32 = 0.35;

/// Below this share of the hull its panel shows a warning.
const LOW_HULL: f32 = 0.35;

/// Hull, speed, sector, link, notices and help.
pub(crate) struct HudPlugin;

impl Plugin for HudPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Gauges>().add_systems(Startup, spawn_hud).add_systems(
            Update,
            (write_lines, give_way, show_panels, fill_arms, fill_hold).chain().in_set(WindowSystems::Write),
        );
    }
}

/// The fill of the hull bar.
#[derive(Component)]
struct HullFill;
/// The fill of a weapon's bar.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
struct ArmFill(Tool);
/// The fill of the hold's bar.
#[derive(Component)]
struct HoldFill;
/// The panel behind the banner.
#[derive(Component)]
struct BannerPanel;
/// The overlay with the keys.
#[derive(Component)]
struct HelpPanel;
/// The edge of the window, which turns red after a hit.
#[derive(Component)]
struct DamageVignette;

/// The state of the display between frames.
#[derive(Resource, Debug, Default)]
struct Gauges {
    frame_s: f32,
    hull: u16,
    pain_s: f32,
}

impl Gauges {
    /// Frames per second, smoothed.
    fn frames_per_s(&self) -> f32 {
        if self.frame_s > 0.0 { 1.0 / self.frame_s } else { 0.0 }
    }
}

/// Spawns all nodes.
fn spawn_hud(mut commands: Commands) {
    commands.spawn((
        DamageVignette,
        Node {
            position_type: PositionType::Absolute,
            width: percent(100),
            height: percent(100),
            border: UiRect::all(px(5)),
            ..default()
        },
        BorderColor::all(Color::NONE),
    ));
    commands.spawn((
        ShipPanel,
        panel(
            Node {
                position_type: PositionType::Absolute,
                left: px(18),
                bottom: px(18),
                padding: UiRect::axes(px(14), px(10)),
                flex_direction: FlexDirection::Column,
                row_gap: px(7),
                ..default()
            },
            PANEL_OPACITY,
        ),
        Visibility::Hidden,
        children![
            (
                Anchor::Ship,
                Node {
                    width: px(HULL_PIXELS),
                    justify_content: JustifyContent::SpaceBetween,
                    align_items: AlignItems::End,
                    ..default()
                },
                children![text(Line::Speed, 25.0, palette::TEXT), text(Line::Hull, 14.0, palette::FAINT),],
            ),
            (
                Anchor::Ship,
                Node { width: px(HULL_PIXELS), height: px(9), ..default() },
                BackgroundColor(palette::LINE.at(0.16).color()),
                children![(
                    HullFill,
                    Node { width: percent(100), height: percent(100), ..default() },
                    BackgroundColor(palette::HULL_GOOD.color()),
                )],
            ),
            (
                Anchor::Ship,
                Node { width: px(HULL_PIXELS), justify_content: JustifyContent::SpaceBetween, ..default() },
                Children::spawn(SpawnIter(reloading().map(arm_bar))),
            ),
            (
                Anchor::Ship,
                Node {
                    width: px(HULL_PIXELS),
                    justify_content: JustifyContent::SpaceBetween,
                    align_items: AlignItems::End,
                    ..default()
                },
                children![text(Line::Hold, 13.0, palette::FAINT), text(Line::Credits, 14.0, palette::ORE)],
            ),
            (
                Anchor::Ship,
                Node { width: px(HULL_PIXELS), height: px(5), ..default() },
                BackgroundColor(palette::LINE.at(0.16).color()),
                children![(
                    HoldFill,
                    Tinted(palette::ORE),
                    Node { width: percent(0), height: percent(100), ..default() },
                    BackgroundColor(palette::ORE.color()),
                )],
            ),
        ],
    ));
    commands.spawn((
        Anchor::Sector,
        Node {
            position_type: PositionType::Absolute,
            right: px(18),
            bottom: px(198),
            // As wide as the map, or as a far sector's address requires.
            min_width: px(174),
            justify_content: JustifyContent::Center,
            ..default()
        },
        children![text(Line::Sector, 14.0, palette::TEXT)],
    ));
    commands.spawn((
        Anchor::Link,
        Node { position_type: PositionType::Absolute, right: px(18), top: px(12), ..default() },
        children![text(Line::Link, 13.0, palette::FAINT)],
    ));
    commands.spawn((
        Anchor::News,
        Node {
            position_type: PositionType::Absolute,
            left: px(18),
            top: px(12),
            flex_direction: FlexDirection::Column,
            row_gap: px(4),
            align_items: AlignItems::Start,
            ..default()
        },
        Children::spawn(SpawnIter((0..NEWS_LINES).map(|line| text(Line::News(line), 14.0, palette::TEXT)))),
    ));
    commands.spawn((
        Anchor::Hint,
        Node {
            position_type: PositionType::Absolute,
            width: percent(100),
            bottom: px(12),
            justify_content: JustifyContent::Center,
            ..default()
        },
        children![text(Line::Hint, 13.0, palette::FAINT)],
    ));
    commands.spawn((
        Node {
            position_type: PositionType::Absolute,
            width: percent(100),
            top: percent(24),
            justify_content: JustifyContent::Center,
            ..default()
        },
        children![(
            BannerPanel,
            panel(
                Node {
                    max_width: percent(80),
                    padding: UiRect::axes(px(34), px(18)),
                    flex_direction: FlexDirection::Column,
                    align_items: AlignItems::Center,
                    row_gap: px(8),
                    ..default()
                },
                PANEL_OPACITY
            ),
            Visibility::Hidden,
            children![text(Line::Banner, 30.0, palette::TEXT), text(Line::Advice, 16.0, palette::FAINT),],
        )],
    ));
    spawn_help(&mut commands);
}

/// A weapon's name over the bar that fills until it is ready.
fn arm_bar(tool: Tool) -> impl Bundle {
    (
        Node {
            width: percent(94.0 / reloading().count() as f32),
            flex_direction: FlexDirection::Column,
            row_gap: px(3),
            ..default()
        },
        children![
            (Text::new(tool.spec().name), TextFont::from_font_size(12.0), TextColor(palette::FAINT.color())),
            (
                Node { width: percent(100), height: px(4), ..default() },
                BackgroundColor(palette::LINE.at(0.16).color()),
                children![(
                    ArmFill(tool),
                    Node { width: percent(100), height: percent(100), ..default() },
                    BackgroundColor(palette::OWN.color()),
                )],
            ),
        ],
    )
}

fn spawn_help(commands: &mut Commands) {
    commands.spawn((
        HelpPanel,
        in_the_middle(),
        GlobalZIndex(2),
        Visibility::Hidden,
        children![(
            panel(Node { padding: UiRect::axes(px(14), px(10)), column_gap: px(18), ..default() }, 0.95),
            children![text(Line::HelpKeys, 16.0, palette::OWN), text(Line::HelpWords, 16.0, palette::TEXT)],
        )],
    ));
}

fn text(line: Line, size: f32, tint: Tint) -> impl Bundle {
    let (justify, linebreak) = match line {
        Line::Banner | Line::Advice => (Justify::Center, LineBreak::WordBoundary),
        _ => (Justify::Left, LineBreak::NoWrap),
    };
    (line, Text::default(), TextFont::from_font_size(size), TextColor(tint.color()), TextLayout { justify, linebreak })
}

/// The text in the middle of the window for the session's state, the advice below it, and its colour.
///
/// `killer` is the name of the entity that destroyed the ship, if known.
fn banner(
    state: &SessionState,
    downtime_s: Option<f64>,
    stalled: bool,
    killer: Option<&str>,
    keys: &Bindings,
) -> (String, String, Tint) {
    let calm = palette::TEXT;
    match state {
        SessionState::Connecting => ("Connecting...".to_owned(), "reaching the server".to_owned(), calm),
        SessionState::Joining => ("Connected".to_owned(), "your ship is on its way".to_owned(), calm),
        SessionState::InSpace if stalled => {
            let advice = "the shard of this sector is silent; your ship is held".to_owned();
            ("Waiting for the sector".to_owned(), advice, palette::HULL_WORN)
        }
        SessionState::InSpace => (String::new(), String::new(), calm),
        SessionState::Destroyed => {
            let advice = match downtime_s {
                Some(left) if left > 0.0 => {
                    format!("press {} to fly again, or wait {} s", keys.first(Action::Respawn), left.ceil())
                }
                _ => "a new ship is on its way".to_owned(),
            };
            let title = killer.map_or("Ship destroyed".to_owned(), |killer| format!("Destroyed by {killer}"));
            (title, advice, palette::ALERT)
        }
        SessionState::Rejected(reason) => ("Rejected by the server".to_owned(), reason.clone(), palette::ALERT),
        SessionState::Lost(reason) => ("Connection lost".to_owned(), reason.clone(), palette::ALERT),
        SessionState::Returning(reason) => ("Coming back...".to_owned(), reason.clone(), palette::HULL_WORN),
        SessionState::Closed => ("Leaving".to_owned(), "closing the session".to_owned(), calm),
    }
}

/// The name of the entity that destroyed the own ship, by the last kill.
fn killer(view: &WorldView) -> Option<&str> {
    view.kills.iter().rev().find(|kill| kill.part == Part::Victim)?.by.as_deref()
}

fn news_tint(notice: &Notice) -> Tint {
    let left = ((NOTICE_SECONDS - notice.age_s) / NEWS_FADE_S).clamp(0.0, 1.0) as f32;
    let tint = match notice.kind {
        NoticeKind::Info => palette::TEXT,
        NoticeKind::Warning => palette::HULL_WORN,
    };
    tint.at(0.95 * left)
}

/// Updates all lines that have changed.
fn write_lines(
    view: Res<WorldView>,
    state: Res<SessionState>,
    downtime: Res<Downtime>,
    shown: Res<Overlays>,
    time: Res<Time<Real>>,
    palette: Res<Palette>,
    settings: Res<Settings>,
    note: Res<Note>,
    layout: Res<UiLayout>,
    menu: Res<Menu>,
    fingers: Res<Fingers>,
    mut gauges: ResMut<Gauges>,
    mut lines: Query<(&Line, &mut Text, &mut TextColor, &mut TextFont)>,
) {
    let delta = time.delta_secs();
    gauges.frame_s += (delta - gauges.frame_s) * FRAME_RATE_SHARE;
    let is_covered = is_covered(&layout, &menu, &shown, &view);
    let now_s = time.elapsed_secs_f64();
    let stalled = view.own.as_ref().is_some_and(|own| own.stalled);
    let (title, advice, alarm) = banner(&state, downtime.remaining_s(now_s), stalled, killer(&view), &settings.keys);
    for (line, mut text, mut color, mut font) in &mut lines {
        let (words, tint) = match line {
            Line::Sector | Line::Link | Line::News(_) | Line::Hint if is_covered => (String::new(), palette::TEXT),
            Line::Speed => {
                let speed = view.own.as_ref().map_or(0.0, |own| own.state.velocity.length());
                (format!("{speed:.0} u/s"), palette::TEXT)
            }
            Line::Hull => match &view.own {
                Some(own) => (format!("hull {}/{}", own.hull, own.hull_max), palette::FAINT),
                None => (String::new(), palette::FAINT),
            },
            Line::Hold => {
                let hold = view.purse.map(|purse| format!("ore {}/{}", purse.ore, purse.hold));
                (hold.unwrap_or_default(), palette::FAINT)
            }
            Line::Credits => {
                let credits = view.purse.map(|purse| format!("{} credits", purse.credits));
                (credits.unwrap_or_default(), palette::ORE)
            }
            Line::Sector if !shown.map || view.account.is_none() && view.own.is_none() => {
                (String::new(), palette::TEXT)
            }
            Line::Sector => (format!("sector {}, {}", view.sector.x, view.sector.y), palette::TEXT),
            Line::Link => link_line(&view, gauges.frames_per_s(), layout.is_narrow()),
            Line::Banner => (title.clone(), alarm),
            Line::Advice => (advice.clone(), palette::TEXT.at(0.85)),
            Line::Hint if let Some(told) = note.text(now_s) => (told.to_owned(), palette::HULL_WORN),
            Line::Hint if now_s < HINT_S && !shown.help && !fingers.are_used() => {
                let keys = &settings.keys;
                let [help, menu] = [Action::Help, Action::Settings].map(|action| keys.first(action));
                (format!("{help}  keys    {menu}  settings"), palette::FAINT)
            }
            Line::Hint => (String::new(), palette::FAINT),
            Line::News(back) => match view.notices.iter().rev().nth(*back) {
                Some(notice) => (notice.text.clone(), news_tint(notice)),
                None => (String::new(), palette::TEXT),
            },
            Line::HelpKeys | Line::HelpWords => {
                let size = layout.help_size(Action::COUNT + 1);
                if font.font_size != size {
                    font.font_size = size;
                }
                let keys = *line == Line::HelpKeys;
                let said = |action: &Action| if keys { settings.keys.says(*action) } else { action.says().to_owned() };
                let talk = if keys { TALK_KEYS } else { TALK_WORDS }.to_owned();
                let words = Action::ALL.iter().map(said).chain([talk]).collect::<Vec<_>>().join("\n");
                (words, if keys { palette::OWN } else { palette::TEXT })
            }
            Line::Connection(_) if !shown.link => continue,
            Line::Connection(column) => {
                let tint = if *column == 0 { palette::FAINT } else { palette::TEXT };
                (connection::words(*column, &view, gauges.frames_per_s()), tint)
            }
        };
        // Every assignment of a text causes a new layout, changed or not.
        if text.0 != words {
            text.0 = words;
        }
        color.set_if_neq(TextColor(palette.color(tint)));
    }
}

/// In a small room the open panel covers the rest.
fn is_covered(layout: &UiLayout, menu: &Menu, shown: &Overlays, view: &WorldView) -> bool {
    layout.is_compact() && (menu.is_open || shown.help || matches!(view.dock, Dock::Docked { .. }))
}

fn link_line(view: &WorldView, rate: f32, is_narrow: bool) -> (String, Tint) {
    let players = match view.players_near {
        0 => "nobody near".to_owned(),
        1 => "1 player near".to_owned(),
        count => format!("{count} players near"),
    };
    let loss = match view.link.loss {
        loss if loss >= 0.01 => format!("   loss {:.0} %", loss * 100.0),
        _ => String::new(),
    };
    let slow = view.link.ping_ms > SLOW_PING_MS || view.link.loss > HIGH_LOSS;
    let tint = if slow { palette::HULL_WORN } else { palette::FAINT };
    let players = if is_narrow { String::new() } else { format!("{players}   ") };
    (format!("{players}ping {:.0} ms{loss}   {rate:.0} fps", view.link.ping_ms), tint)
}

/// Updates the hull bar, shows and hides panels.
fn show_panels(
    view: Res<WorldView>,
    state: Res<SessionState>,
    shown: Res<Overlays>,
    time: Res<Time<Real>>,
    palette: Res<Palette>,
    settings: Res<Settings>,
    menu: Res<Menu>,
    layout: Res<UiLayout>,
    mut gauges: ResMut<Gauges>,
    mut fills: Query<(&mut Node, &mut BackgroundColor), With<HullFill>>,
    mut rims: Query<&mut BorderColor, With<DamageVignette>>,
    mut ship_panels: Query<&mut BackgroundColor, (With<ShipPanel>, Without<HullFill>)>,
    mut panels: ParamSet<(
        Query<&mut Visibility, With<BannerPanel>>,
        Query<&mut Visibility, With<ShipPanel>>,
        Query<&mut Visibility, With<HelpPanel>>,
    )>,
) {
    let (hull, share) = view.own.as_ref().map_or((0, 0.0), |own| (own.hull, hull_share(own.hull, own.hull_max)));
    gauges.pain_s = (gauges.pain_s - time.delta_secs()).max(0.0);
    if hull < gauges.hull {
        gauges.pain_s = PAIN_SECONDS;
    }
    gauges.hull = hull;
    for (mut node, mut color) in &mut fills {
        let width = percent(share * 100.0);
        if node.width != width {
            node.width = width;
        }
        color.set_if_neq(BackgroundColor(palette.color(palette::hull(share))));
    }
    let pain = gauges.pain_s / PAIN_SECONDS * if settings.reduced_motion { 0.4 } else { 1.0 };
    for mut rim in &mut rims {
        rim.set_if_neq(BorderColor::all(palette.color(palette::HULL_LOW.at(0.8 * pain))));
    }
    let stalled = view.own.as_ref().is_some_and(|own| own.stalled);
    // The panel of an almost destroyed hull is tinted, too.
    let alert = if view.own.is_some() && share < LOW_HULL { 0.22 } else { 0.0 };
    for mut back in &mut ship_panels {
        let tint = palette::PANEL.toward(palette::HULL_LOW, alert).at(PANEL_OPACITY);
        back.set_if_neq(BackgroundColor(palette.color(tint)));
    }
    let visible = |shows: bool| if shows { Visibility::Inherited } else { Visibility::Hidden };
    let is_covered = is_covered(&layout, &menu, &shown, &view);
    let shows_ship = view.own.is_some() && !is_covered;
    let wanted = [
        visible(!banner(&state, None, stalled, None, &settings.keys).0.is_empty()),
        visible(shows_ship),
        visible(shown.help),
    ];
    for mut visibility in &mut panels.p0() {
        visibility.set_if_neq(wanted[0]);
    }
    for mut visibility in &mut panels.p1() {
        visibility.set_if_neq(wanted[1]);
    }
    for mut visibility in &mut panels.p2() {
        visibility.set_if_neq(wanted[2]);
    }
}

/// Hides chat and kill feed behind an open panel in a small room.
fn give_way(
    view: Res<WorldView>,
    shown: Res<Overlays>,
    menu: Res<Menu>,
    layout: Res<UiLayout>,
    typing: Res<Typing>,
    mut places: Query<(&Anchor, &mut Visibility)>,
) {
    let is_covered = is_covered(&layout, &menu, &shown, &view);
    for (place, mut visibility) in &mut places {
        let gives_way = match place {
            Anchor::Chat => !typing.is_open() && (is_covered || shown.link && layout.is_compact()),
            Anchor::Feed => is_covered || shown.link,
            _ => continue,
        };
        visibility.set_if_neq(if gives_way { Visibility::Hidden } else { Visibility::Inherited });
    }
}

/// Updates the hold's bar.
fn fill_hold(view: Res<WorldView>, mut fills: Query<&mut Node, With<HoldFill>>) {
    let share = view.purse.map_or(0.0, |purse| purse.ore as f32 / purse.hold.max(1) as f32).clamp(0.0, 1.0);
    for mut node in &mut fills {
        let width = percent(share * 100.0);
        if node.width != width {
            node.width = width;
        }
    }
}

/// Updates the weapons' bars.
fn fill_arms(
    view: Res<WorldView>,
    palette: Res<Palette>,
    mut fills: Query<(&ArmFill, &mut Node, &mut BackgroundColor)>,
) {
    for (fill, mut node, mut color) in &mut fills {
        let share = view.arms.of(fill.0) as f32;
        let width = percent(share * 100.0);
        if node.width != width {
            node.width = width;
        }
        let tint = if share < 1.0 { palette::FAINT } else { palette::OWN };
        color.set_if_neq(BackgroundColor(palette.color(tint)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Kill;
    use sidereal_protocol::world::ids::NetId;

    #[test]
    fn every_end_of_a_session_says_why_and_what_to_do() {
        let keys = Bindings::default();
        let (title, advice, _) = banner(&SessionState::Lost("the server stopped".into()), None, false, None, &keys);
        assert_eq!((title.as_str(), advice.as_str()), ("Connection lost", "the server stopped"));
        let (_, advice, _) = banner(&SessionState::Destroyed, Some(3.2), false, None, &keys);
        assert_eq!(advice, "press R to fly again, or wait 4 s");
        assert_eq!(banner(&SessionState::InSpace, None, false, None, &keys).0, "");
        assert!(!banner(&SessionState::InSpace, None, true, None, &keys).0.is_empty());
        assert_eq!(banner(&SessionState::Destroyed, None, false, Some("Ada"), &keys).0, "Destroyed by Ada");
    }

    #[test]
    fn the_last_death_tells_who_it_was() {
        let mut view = WorldView::default();
        let mut dies = |number, by: Option<&str>, part| {
            view.kills.push_back(Kill {
                number,
                victim: NetId(7),
                victim_name: "Eve".to_owned(),
                victim_kind: None,
                victim_hull: None,
                by: by.map(str::to_owned),
                by_kind: None,
                part,
                age_s: 0.0,
            });
            killer(&view).map(str::to_owned)
        };
        assert_eq!(dies(1, Some("Ada"), Part::Victim).as_deref(), Some("Ada"));
        assert_eq!(dies(2, Some("Bob"), Part::None).as_deref(), Some("Ada"));
        assert_eq!(dies(3, None, Part::Victim), None);
    }
}
