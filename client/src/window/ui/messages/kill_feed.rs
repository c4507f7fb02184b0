//! The kill feed, at the upper right.

use crate::{
    view::{KILL_SECONDS, Kill, Part, WorldView},
    window::{
        render::colors::{
            palette::{self, tint_of_kind},
            tint::{Palette, Tint},
        },
        schedule::WindowSystems,
        ui::widgets::{Anchor, show, write},
    },
};
use bevy::prelude::*;
use sidereal_protocol::record::EntityKind;

/// The most lines shown.
const LINES: usize = 6;
/// They fade over their last seconds.
const FADE_S: f64 = 2.0;
const FONT_SIZE: f32 = 14.0;
/// Longer names are cut, letters: as over the ships.
const NAME_LETTERS: usize = 24;

/// The kill feed.
pub(crate) struct KillFeedPlugin;

impl Plugin for KillFeedPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, spawn_feed).add_systems(Update, show_feed.in_set(WindowSystems::Write));
    }
}

/// A line; the newest is 0. Its text is the name of the killer.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
struct FeedRow(usize);

/// The following parts of a line: the row, and the index of the part.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
struct FeedPart(usize, usize);

/// Spawns all nodes.
fn spawn_feed(mut commands: Commands) {
    let font = || TextFont::from_font_size(FONT_SIZE);
    let row = move |index: usize| {
        (
            FeedRow(index),
            Text::default(),
            font(),
            TextLayout { justify: Justify::Right, linebreak: LineBreak::WordOrCharacter },
            TextShadow { offset: Vec2::splat(1.0), color: palette::SPACE },
            BackgroundColor(Color::NONE),
            Node {
                display: Display::None,
                padding: UiRect::axes(px(6), px(2)),
                border_radius: BorderRadius::all(px(3)),
                ..default()
            },
            children![
                (FeedPart(index, 1), TextSpan::default(), font()),
                (FeedPart(index, 2), TextSpan::default(), font()),
                (FeedPart(index, 3), TextSpan::default(), font()),
            ],
        )
    };
    commands.spawn((
        Anchor::Feed,
        Node {
            position_type: PositionType::Absolute,
            max_width: percent(62),
            flex_direction: FlexDirection::Column,
            row_gap: px(2),
            align_items: AlignItems::End,
            ..default()
        },
        Children::spawn(SpawnIter((0..LINES).map(row))),
    ));
}

fn cut(name: &str) -> String {
    name.chars().take(NAME_LETTERS).collect()
}

/// The parts of a line: the killer, the verb, the victim, and the victim's hull.
fn pieces(kill: &Kill) -> [(String, Tint); 4] {
    let of = |kind: Option<EntityKind>| kind.map_or(palette::TEXT, tint_of_kind);
    let victim = match kill.part {
        Part::Victim if kill.by.is_some() => ("you".to_owned(), palette::OWN),
        Part::Victim => ("Your ship".to_owned(), palette::OWN),
        _ => (cut(&kill.victim_name), of(kill.victim_kind)),
    };
    // A drone's name already says so.
    let hull = kill.victim_hull.map(|hull| hull.name()).filter(|name| !name.eq_ignore_ascii_case(&kill.victim_name));
    let what = hull.map_or(String::new(), |hull| format!(" ({hull})"));
    let Some(by) = &kill.by else {
        let nothing = || (String::new(), palette::FAINT);
        return [nothing(), nothing(), victim, (format!("{what} was destroyed"), palette::FAINT)];
    };
    let killer = match kill.part {
        Part::Killer => ("You".to_owned(), palette::OWN),
        _ => (cut(by), of(kill.by_kind)),
    };
    [killer, (" destroyed ".to_owned(), palette::FAINT), victim, (what, palette::FAINT)]
}

/// The background of a line that the player takes part in.
fn back(part: Part) -> Tint {
    match part {
        Part::None => palette::PANEL.at(0.0),
        Part::Killer => palette::PANEL.toward(palette::OWN, 0.2).at(0.85),
        Part::Victim => palette::PANEL.toward(palette::HULL_LOW, 0.28).at(0.85),
    }
}

/// Updates all lines that have changed.
fn show_feed(
    view: Res<WorldView>,
    colors: Res<Palette>,
    mut rows: Query<(&FeedRow, &mut Node, &mut Text, &mut TextColor, &mut BackgroundColor)>,
    mut parts: Query<(&FeedPart, &mut TextSpan, &mut TextColor), Without<FeedRow>>,
) {
    let lines: Vec<_> = view.kills.iter().rev().take(LINES).map(|kill| (kill, pieces(kill))).collect();
    let opacity = |kill: &Kill| ((KILL_SECONDS - kill.age_s) / FADE_S).clamp(0.0, 1.0) as f32;
    for (FeedRow(row), mut node, mut text, mut color, mut behind) in &mut rows {
        let line = lines.get(*row);
        show(&mut node, line.is_some());
        let Some((kill, [(words, tint), ..])) = line else { continue };
        let back = back(kill.part);
        write(&mut text.0, words.clone());
        color.set_if_neq(TextColor(colors.color(tint.at(opacity(kill)))));
        behind.set_if_neq(BackgroundColor(colors.color(back.faded(opacity(kill)))));
    }
    for (FeedPart(row, piece), mut span, mut color) in &mut parts {
        let Some((kill, pieces)) = lines.get(*row) else { continue };
        let (words, tint) = &pieces[*piece];
        write(&mut span.0, words.clone());
        color.set_if_neq(TextColor(colors.color(tint.at(opacity(kill)))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::{rules::flight::HullKind, world::ids::NetId};

    fn kill(by: Option<&str>, part: Part) -> Kill {
        Kill {
            number: 1,
            victim: NetId(7),
            victim_name: "Ada".to_owned(),
            victim_kind: Some(EntityKind::Ship),
            victim_hull: Some(HullKind::Hauler),
            by: by.map(str::to_owned),
            by_kind: by.map(|_| EntityKind::Drone),
            part,
            age_s: 0.0,
        }
    }

    fn told(kill: &Kill) -> String {
        pieces(kill).map(|(words, _)| words).concat()
    }

    #[test]
    fn a_line_tells_who_whom_and_what_it_was() {
        let hauler = HullKind::Hauler.name();
        assert_eq!(told(&kill(Some("Drone"), Part::None)), format!("Drone destroyed Ada ({hauler})"));
        assert_eq!(told(&kill(Some("Bob"), Part::Killer)), format!("You destroyed Ada ({hauler})"));
        assert_eq!(told(&kill(Some("Bob"), Part::Victim)), format!("Bob destroyed you ({hauler})"));
        assert_eq!(told(&kill(None, Part::None)), format!("Ada ({hauler}) was destroyed"));
        let nameless = Kill { victim_hull: None, ..kill(None, Part::Victim) };
        assert_eq!(told(&nameless), "Your ship was destroyed");
    }

    #[test]
    fn names_have_the_colours_of_their_factions_and_own_lines_stand_out() {
        let tints = |kill: &Kill| pieces(kill).map(|(_, tint)| tint);
        let [killer, _, victim, _] = tints(&kill(Some("Drone"), Part::None));
        assert_eq!((killer, victim), (palette::DRONE, palette::PLAYER));
        assert_eq!(tints(&kill(Some("me"), Part::Killer))[0], palette::OWN);
        assert_eq!(tints(&kill(Some("Drone"), Part::Victim))[2], palette::OWN);
        assert!(back(Part::Killer) != back(Part::None) && back(Part::Victim) != back(Part::Killer));
    }
}
