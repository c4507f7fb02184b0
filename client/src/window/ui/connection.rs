//! The panel with the state of the connection.

use crate::{
    view::WorldView,
    window::{
        input::view_keys::Overlays,
        render::colors::{palette, tint::Tint},
        schedule::WindowSystems,
        ui::{
            layout::UiLayout,
            widgets::{Line, panel},
        },
    },
};
use bevy::prelude::*;
use sidereal_protocol::world::tick::TICK_DURATION;

/// The connection panel.
pub(crate) struct ConnectionPlugin;

impl Plugin for ConnectionPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, spawn_connection).add_systems(Update, show_connection.in_set(WindowSystems::Write));
    }
}

/// The panel.
#[derive(Component)]
struct ConnectionPanel;

/// The labels of its lines.
const LABELS: [&str; 12] = [
    "ping",
    "ping's jitter",
    "arrivals' jitter",
    "loss",
    "others are behind",
    "extrapolated",
    "corrections",
    "their size",
    "inputs on their way",
    "received",
    "sent",
    "frames, tick",
];

/// Spawns the panel.
fn spawn_connection(mut commands: Commands) {
    let node = Node {
        position_type: PositionType::Absolute,
        right: px(18),
        top: px(36),
        padding: UiRect::axes(px(10), px(8)),
        column_gap: px(14),
        ..default()
    };
    let text = |line: Line, tint: Tint| {
        let layout = TextLayout { justify: Justify::Left, linebreak: LineBreak::NoWrap };
        (line, Text::default(), TextFont::from_font_size(12.0), TextColor(tint.color()), layout)
    };
    commands.spawn((
        ConnectionPanel,
        panel(node, 0.9),
        GlobalZIndex(2),
        Visibility::Hidden,
        children![text(Line::Connection(0), palette::FAINT), text(Line::Connection(1), palette::TEXT)],
    ));
}

/// Shows and hides the panel.
fn show_connection(
    shown: Res<Overlays>,
    layout: Res<UiLayout>,
    mut panels: Query<(&mut Visibility, &mut Node), With<ConnectionPanel>>,
) {
    for (mut visibility, mut node) in &mut panels {
        visibility.set_if_neq(if shown.link { Visibility::Inherited } else { Visibility::Hidden });
        let right = px(layout.margin());
        if node.right != right {
            node.right = right;
        }
    }
}

/// The text of a column: 0 the labels, 1 the values.
pub(crate) fn words(column: usize, view: &WorldView, frames_per_s: f32) -> String {
    if column == 0 { LABELS.join("\n") } else { numbers(view, frames_per_s).join("\n") }
}

fn numbers(view: &WorldView, frames_per_s: f32) -> [String; LABELS.len()] {
    let link = &view.link;
    let tick_ms = TICK_DURATION.as_secs_f64() * 1000.0;
    let behind = link.interpolation_delay_ticks;
    [
        format!("{:.0} ms", link.ping_ms),
        format!("{:.1} ms", link.jitter_ms),
        format!("{:.1} ms", link.arrival_jitter_ticks * tick_ms),
        format!("{:.1} %", link.loss * 100.0),
        format!("{:.0} ms, {behind:.1} ticks", behind * tick_ms),
        format!("{:.1} %", link.extrapolated * 100.0),
        format!("{:.0} a minute", link.corrections_per_min),
        format!("p50 {:.2}, p99 {:.2} units", link.correction_units.p50, link.correction_units.p99),
        format!("{}, applied {} ticks later", link.unacknowledged_inputs, link.input_delay_ticks),
        told_bytes(link.bytes_per_s),
        told_bytes(link.bytes_sent_per_s),
        format!("{frames_per_s:.0} a second, {:.0}", view.own_tick.floor()),
    ]
}

fn told_bytes(bytes_per_s: f64) -> String {
    if bytes_per_s < 10_000.0 { format!("{bytes_per_s:.0} B/s") } else { format!("{:.1} kB/s", bytes_per_s / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{session::stats::CorrectionUnits, view::LinkQuality};

    #[test]
    fn every_number_of_the_link_is_told_with_its_unit() {
        let link = LinkQuality {
            ping_ms: 38.4,
            jitter_ms: 4.25,
            arrival_jitter_ticks: 0.5,
            loss: 0.021,
            bytes_per_s: 23_456.0,
            bytes_sent_per_s: 1234.0,
            interpolation_delay_ticks: 3.0,
            extrapolated: 0.004,
            input_delay_ticks: 2,
            unacknowledged_inputs: 5,
            corrections_per_min: 7.0,
            correction_units: CorrectionUnits { p50: 0.2, p99: 3.1 },
        };
        let view = WorldView { link, own_tick: 1000.7, ..Default::default() };
        assert_eq!(
            numbers(&view, 59.9),
            [
                "38 ms",
                "4.2 ms",
                "16.5 ms",
                "2.1 %",
                "99 ms, 3.0 ticks",
                "0.4 %",
                "7 a minute",
                "p50 0.20, p99 3.10 units",
                "5, applied 2 ticks later",
                "23.5 kB/s",
                "1234 B/s",
                "60 a second, 1000"
            ]
        );
    }
}
