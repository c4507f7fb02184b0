//! The size and place of panels and texts, from a phone's tab to a 4K screen.
//!
//! Owns Bevy's [`UiScale`] and what follows from the window's size: the size of the map, the width of the panels, and
//! which panels are moved or hidden if they do not all fit.

use crate::window::{
    schedule::WindowSystems,
    settings::Settings,
    ui::widgets::{Anchor, Line, ShipPanel},
};
use bevy::{prelude::*, window::PrimaryWindow};

/// The window for which everything was designed, logical pixels.
const DRAWN_FOR: Vec2 = Vec2::new(1280.0, 720.0);
/// The share of a larger window that makes text larger: 2.3 times at three times the size.
const GROWTH: f32 = 0.75;
/// The least height of text in the screen's physical pixels.
const LEAST_TEXT_PIXELS: f32 = 11.0;
/// The smallest text, at a scale of one.
const SMALLEST_TEXT: f32 = 12.0;
/// The least room in which everything fits, pixels at a scale of one.
pub(crate) const LEAST_ROOM: f32 = 320.0;
/// Rooms narrower than this are compact...
const COMPACT_WIDTH: f32 = 860.0;
/// ...and lower ones.
const COMPACT_HEIGHT: f32 = 460.0;
/// In rooms narrower than this the texts at the bottom are above the panels there.
const NARROW_WIDTH: f32 = 620.0;

/// Measures the window and places the panels.
pub(crate) struct LayoutPlugin;

impl Plugin for LayoutPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<UiLayout>().add_systems(
            Update,
            (measure_window.in_set(WindowSystems::Measure), lay_out.in_set(WindowSystems::Layout)),
        );
    }
}

/// The room for text and panels.
#[derive(Resource, Debug, Clone, Copy, PartialEq)]
pub(crate) struct UiLayout {
    /// Its size, pixels of a scale of one.
    pub(crate) room: Vec2,
    /// Logical pixels of the window for each of them.
    pub(crate) scale: f32,
}

impl Default for UiLayout {
    fn default() -> Self {
        Self { room: DRAWN_FOR, scale: 1.0 }
    }
}

impl UiLayout {
    /// For a window of `size` logical pixels, with `density` physical pixels for each, and the player's `factor`.
    fn of(size: Vec2, density: f32, factor: f32) -> Self {
        let size = size.max(Vec2::ONE);
        let by_itself = (size / DRAWN_FOR).min_element().max(1.0).powf(GROWTH);
        let readable = LEAST_TEXT_PIXELS / (SMALLEST_TEXT * density.max(0.1));
        // If both are impossible, text that does not fit is worse than small text.
        let most = (size.min_element() / LEAST_ROOM).max(0.25);
        let scale = (by_itself * factor).max(readable).min(most);
        Self { room: size / scale, scale }
    }

    /// Whether some panels do not fit beside each other.
    pub(crate) fn is_compact(&self) -> bool {
        self.room.x < COMPACT_WIDTH || self.room.y < COMPACT_HEIGHT
    }

    /// Whether the texts at the bottom do not fit between the panels there.
    pub(crate) fn is_narrow(&self) -> bool {
        self.room.x < NARROW_WIDTH
    }

    /// Side of the map.
    pub(crate) fn map_pixels(&self) -> f32 {
        if self.is_compact() { 112.0 } else { 174.0 }
    }

    /// Distance of the map and the panels from the window's edges.
    pub(crate) fn margin(&self) -> f32 {
        if self.is_compact() { 8.0 } else { 18.0 }
    }

    /// Width of the hull bar.
    fn hull_pixels(&self) -> f32 {
        if self.is_compact() { 164.0 } else { 236.0 }
    }

    /// The distance of the prompt line from the bottom.
    pub(crate) fn prompt_bottom(&self) -> f32 {
        if self.is_narrow() { 166.0 } else { 38.0 }
    }

    /// The distance of the chat lines from the bottom.
    fn chat_bottom(&self) -> f32 {
        if self.is_narrow() {
            self.prompt_bottom() + 40.0
        } else if self.is_compact() {
            self.margin() + 112.0
        } else {
            self.margin() + 143.0
        }
    }

    /// Size of the help's text with which `lines` of it fit.
    pub(crate) fn help_size(&self, lines: usize) -> f32 {
        let by_height = (self.room.y - 2.0 * 14.0) / (lines as f32 * 1.22);
        let by_width = (self.room.x - 60.0) / 25.5;
        by_height.min(by_width).clamp(8.0, 16.0)
    }
}

/// Measures the window.
fn measure_window(
    windows: Query<&Window, With<PrimaryWindow>>,
    settings: Res<Settings>,
    mut layout: ResMut<UiLayout>,
    mut ui_scale: ResMut<UiScale>,
) {
    let Ok(window) = windows.single() else { return };
    let measured = UiLayout::of(Vec2::new(window.width(), window.height()), window.scale_factor(), settings.ui_scale);
    layout.set_if_neq(measured);
    if ui_scale.0 != measured.scale {
        ui_scale.0 = measured.scale;
    }
}

/// Places everything.
fn lay_out(
    layout: Res<UiLayout>,
    mut places: Query<(&Anchor, &mut Node), Without<ShipPanel>>,
    mut ships: Query<&mut Node, With<ShipPanel>>,
    mut fonts: Query<(&Line, &mut TextFont)>,
) {
    if !layout.is_changed() {
        return;
    }
    let margin = px(layout.margin());
    for mut node in &mut ships {
        (node.left, node.bottom) = (margin, margin);
        node.padding = if layout.is_compact() { UiRect::axes(px(8), px(6)) } else { UiRect::axes(px(14), px(10)) };
        node.row_gap = px(if layout.is_compact() { 4.0 } else { 7.0 });
    }
    for (place, mut node) in &mut places {
        match place {
            Anchor::Ship => node.width = px(layout.hull_pixels()),
            Anchor::Sector => {
                node.right = margin;
                node.bottom = px(layout.margin() + layout.map_pixels() + 6.0);
                node.min_width = px(layout.map_pixels());
            }
            Anchor::Link => (node.right, node.top) = (margin, px(if layout.is_compact() { 6.0 } else { 12.0 })),
            Anchor::News => {
                node.left = margin;
                node.top = px(if layout.is_compact() { 26.0 } else { 12.0 });
                node.max_width = px(layout.room.x - 2.0 * layout.margin());
                node.overflow = Overflow::clip();
            }
            Anchor::Hint => node.bottom = px(if layout.is_narrow() { layout.prompt_bottom() + 20.0 } else { 12.0 }),
            Anchor::Prompt => node.bottom = px(layout.prompt_bottom()),
            Anchor::Chat => (node.left, node.bottom) = (margin, px(layout.chat_bottom())),
            Anchor::Feed => (node.right, node.top) = (margin, px(if layout.is_compact() { 44.0 } else { 36.0 })),
        }
    }
    for (line, mut font) in &mut fonts {
        let (usual, compact) = match line {
            Line::Speed => (25.0, 15.0),
            Line::Hull | Line::Credits | Line::Sector => (14.0, 12.0),
            Line::Hold => (13.0, 12.0),
            Line::Banner => (30.0, 22.0),
            Line::Advice => (16.0, 14.0),
            Line::News(_) => (14.0, 12.0),
            Line::Link | Line::Hint => (13.0, 12.0),
            // Set where its text is written.
            Line::HelpKeys | Line::HelpWords | Line::Connection(_) => continue,
        };
        font.font_size = if layout.is_compact() { compact } else { usual };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_readable_and_the_room_large_enough_from_a_telephone_to_a_4k_screen() {
        for (size, density) in [
            ((320.0, 320.0), 1.0),
            ((360.0, 640.0), 1.0),
            ((640.0, 360.0), 3.0),
            ((1280.0, 720.0), 1.0),
            ((1920.0, 1080.0), 2.0),
            ((3840.0, 2160.0), 1.0),
        ] {
            for factor in [0.8, 1.0, 2.0] {
                let layout = UiLayout::of(size.into(), density, factor);
                assert!(layout.room.min_element() >= LEAST_ROOM - 0.01, "{size:?} {factor}: {layout:?}");
                let text = SMALLEST_TEXT * layout.scale * density;
                assert!(text >= LEAST_TEXT_PIXELS - 0.01, "{size:?} {factor}: {text}");
            }
        }
        let scale = |width: f32, height: f32| UiLayout::of(Vec2::new(width, height), 1.0, 1.0).scale;
        assert_eq!((scale(360.0, 640.0), scale(1280.0, 720.0)), (1.0, 1.0));
        assert!(scale(3840.0, 2160.0) > 2.0 && scale(1920.0, 1080.0) < 1.5);
    }

    #[test]
    fn the_panels_at_the_bottom_stand_side_by_side_in_every_room() {
        for size in [(320.0, 640.0), (360.0, 640.0), (640.0, 360.0), (860.0, 460.0), (1280.0, 720.0)] {
            let layout = UiLayout::of(size.into(), 1.0, 1.0);
            let padding = if layout.is_compact() { 8.0 } else { 14.0 };
            let ship = layout.margin() + layout.hull_pixels() + 2.0 * padding + 2.0;
            assert!(ship + layout.margin() <= layout.room.x - layout.margin() - layout.map_pixels(), "{size:?}");
        }
    }
}
