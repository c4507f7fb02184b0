//! What the panels are made of: boxes, lines of text, and the marks that say which node shows what.

use crate::window::render::colors::palette;
use bevy::prelude::*;

/// Which line of text a node shows.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Speed, big.
    Speed,
    /// Hull points.
    Hull,
    /// Ore in the hold.
    Hold,
    /// Credits.
    Credits,
    /// The sector's address.
    Sector,
    /// Ping, players near and frame rate.
    Link,
    /// What the session does, big.
    Banner,
    /// What to do about it.
    Advice,
    /// The hint on the help key.
    Hint,
    /// A line of news, the newest is 0.
    News(usize),
    /// The keys of the help.
    HelpKeys,
    /// What they do.
    HelpWords,
    /// A column of the panel on the connection.
    Connection(usize),
}

/// The panel with hull and speed.
#[derive(Component)]
pub(crate) struct ShipPanel;

/// What is as large as the window and has its children in the middle.
pub(crate) fn in_the_middle() -> Node {
    Node {
        position_type: PositionType::Absolute,
        width: percent(100),
        height: percent(100),
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Center,
        ..default()
    }
}

/// A box behind text, as opaque as that.
pub(crate) fn panel(node: Node, opacity: f32) -> impl Bundle {
    let node = Node { border: UiRect::all(px(1)), border_radius: BorderRadius::all(px(4)), ..node };
    (node, BackgroundColor(palette::PANEL.at(opacity).color()), BorderColor::all(palette::LINE.at(0.32).color()))
}

/// A node that stands elsewhere in a compact room.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The inside of the panel with hull and speed.
    Ship,
    /// The sector's address over the map.
    Sector,
    /// Link and news in the upper corners.
    Link,
    /// See [`Anchor::Link`].
    News,
    /// The lines at the bottom.
    Hint,
    /// See [`Anchor::Hint`].
    Prompt,
    /// What is said, above the panel with hull and speed.
    Chat,
    /// Who destroyed whom, under the line on the link.
    Feed,
}

/// A text that is written is laid out anew, changed or not.
pub(crate) fn write(text: &mut String, words: String) {
    if *text != words {
        *text = words;
    }
}

/// Shows a node or takes it out of the layout.
pub(crate) fn show(node: &mut Mut<Node>, shows: bool) {
    let display = if shows { Display::Flex } else { Display::None };
    if node.display != display {
        node.display = display;
    }
}
