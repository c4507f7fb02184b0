//! The parts of the panels: boxes, lines of text, and markers of the nodes' contents.

use crate::window::render::colors::palette;
use bevy::prelude::*;

/// The line of text that a node shows.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Speed, large.
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
    /// The session's state, large.
    Banner,
    /// The advice for it.
    Advice,
    /// The hint on the help key.
    Hint,
    /// A notice, the newest is 0.
    News(usize),
    /// The keys of the help.
    HelpKeys,
    /// Their actions.
    HelpWords,
    /// A column of the connection panel.
    Connection(usize),
}

/// The panel with hull and speed.
#[derive(Component)]
pub(crate) struct ShipPanel;

/// A node as large as the window, with its children in the middle.
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

/// A box behind text with this opacity.
pub(crate) fn panel(node: Node, opacity: f32) -> impl Bundle {
    let node = Node { border: UiRect::all(px(1)), border_radius: BorderRadius::all(px(4)), ..node };
    (node, BackgroundColor(palette::PANEL.at(opacity).color()), BorderColor::all(palette::LINE.at(0.32).color()))
}

/// A node with another place in a compact room.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The inside of the panel with hull and speed.
    Ship,
    /// The sector's address over the map.
    Sector,
    /// Link and notices in the upper corners.
    Link,
    /// See [`Anchor::Link`].
    News,
    /// The lines at the bottom.
    Hint,
    /// See [`Anchor::Hint`].
    Prompt,
    /// The chat, above the panel with hull and speed.
    Chat,
    /// The kill feed, below the line on the link.
    Feed,
}

/// Every assignment of a text causes a new layout, changed or not.
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
