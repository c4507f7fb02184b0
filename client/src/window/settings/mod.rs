//! The player's settings: keys, colours, motion, sizes. Stored from one start to the next.
//!
//! Owns [`Settings`], which the rest of the window reads. `store` stores them, `bindings` contains the keys; the panel
//! that changes them is in `ui/settings_menu`. A file that cannot be parsed is renamed, not overwritten.

pub(crate) mod bindings;
pub(crate) mod quality;
pub(crate) mod scheme;
pub(crate) mod store;

use bevy::{app::AppExit, prelude::*, window::PrimaryWindow};
use bindings::Bindings;
use quality::Quality;
use scheme::Scheme;
use serde::{Deserialize, Serialize};
use store::{Place, Store};

/// The initial size of the window, logical pixels.
pub(crate) const START_SIZE: [u32; 2] = [1280, 720];
/// The version of the stored settings. It rises when an older reader would misread them.
const VERSION: u32 = 1;
/// The choices for the size of text and panels, relative to the automatic size.
pub(crate) const UI_SCALES: [f32; 6] = [0.8, 1.0, 1.2, 1.4, 1.7, 2.0];
/// Settings that did not change for this long are written, seconds: a window that is being resized changes
/// continuously.
const SETTLE_S: f64 = 1.0;
/// How long the note is shown that settings could not be read or stored, seconds.
const NOTE_S: f64 = 20.0;
/// Window sides that are remembered, logical pixels.
const SIDES: std::ops::RangeInclusive<u32> = 320..=16_384;

/// What the player has chosen.
#[derive(Resource, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    version: u32,
    /// The key bindings.
    pub(crate) keys: Bindings,
    /// The colours.
    pub(crate) colors: Scheme,
    /// No shaking, no flashes, no swaying.
    pub reduced_motion: bool,
    /// Size of text and panels, relative to the automatic size: one of [`UI_SCALES`].
    pub(crate) ui_scale: f32,
    /// Names are shown over ships and stations.
    pub(crate) names: bool,
    /// Hull bars are shown over ships.
    pub(crate) hull_bars: bool,
    /// The quality of the picture.
    #[serde(rename = "polish")]
    pub(crate) quality: Quality,
    /// The window's size, logical pixels; `None` before it was changed.
    pub(crate) window: Option<[u32; 2]>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: VERSION,
            keys: Bindings::default(),
            colors: Scheme::Usual,
            reduced_motion: false,
            ui_scale: 1.0,
            names: true,
            hull_bars: true,
            quality: Quality::Adapter,
            window: None,
        }
    }
}

/// Why settings could not be read.
#[derive(Debug, thiserror::Error, PartialEq)]
enum Unreadable {
    #[error("they are not settings of Sidereal: {0}")]
    Foreign(String),
    #[error("they are of version {0}, which is newer than this program")]
    Newer(u64),
}

impl Settings {
    /// Parses what [`Settings::to_text`] wrote, now or in an earlier version.
    fn parse(text: &str) -> Result<Self, Unreadable> {
        let foreign = |error: serde_json::Error| Unreadable::Foreign(error.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(foreign)?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            None => return Err(Unreadable::Foreign("no version".to_owned())),
            Some(version) if version > u64::from(VERSION) => return Err(Unreadable::Newer(version)),
            Some(_) => {}
        }
        let mut settings: Self = serde_json::from_value(value).map_err(foreign)?;
        let (least, most) = (UI_SCALES[0], UI_SCALES[UI_SCALES.len() - 1]);
        if !(least..=most).contains(&settings.ui_scale) {
            return Err(Unreadable::Foreign(format!("ui-scale is not from {least} to {most}")));
        }
        settings.version = VERSION;
        settings.window = settings.window.filter(|sides| sides.iter().all(|side| SIDES.contains(side)));
        Ok(settings)
    }

    fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("settings are made of what JSON has");
        text.push('\n');
        text
    }
}

/// A note about the settings, shown until that time, seconds of the window's time.
#[derive(Resource, Debug, Default)]
pub(crate) struct Note {
    text: String,
    until_s: f64,
}

impl Note {
    fn tell(&mut self, text: String, now_s: f64) {
        *self = Self { text, until_s: now_s + NOTE_S };
    }

    /// The note to show, if any.
    pub(crate) fn text(&self, now_s: f64) -> Option<&str> {
        (now_s < self.until_s && !self.text.is_empty()).then_some(self.text.as_str())
    }
}

/// Stores the settings.
#[derive(Resource)]
struct Keeper {
    store: Store,
    /// The stored settings.
    kept: Settings,
    /// The settings of the last frame, and since when.
    last: Settings,
    since_s: f64,
}

/// Reads the settings of `place`, with a note if there is a problem.
fn fetch(store: &mut Store) -> (Settings, Option<String>) {
    let text = match store.read() {
        Ok(Some(text)) => text,
        Ok(None) => return (Settings::default(), None),
        Err(error) => {
            store.freeze();
            return (Settings::default(), Some(format!("settings cannot be read, and are left alone: {error}")));
        }
    };
    let unreadable = match Settings::parse(&text) {
        Ok(settings) => return (settings, None),
        Err(unreadable) => unreadable,
    };
    let told = match store.put_aside(&text) {
        Ok(aside) => format!("settings put aside as {aside}: {unreadable}"),
        Err(error) => {
            store.freeze();
            format!("settings left alone, nothing will be kept: {unreadable}; {error}")
        }
    };
    (Settings::default(), Some(told))
}

/// Reads the settings from `place`, and stores them there.
pub(crate) struct SettingsPlugin {
    /// Where they are stored.
    pub(crate) place: Place,
}

impl Plugin for SettingsPlugin {
    fn build(&self, app: &mut App) {
        let mut store = Store::new(self.place.clone());
        let (settings, told) = fetch(&mut store);
        let mut note = Note::default();
        if let Some(told) = told {
            tracing::warn!("{told}");
            note.tell(told, 0.0);
        }
        let (kept, last) = (settings.clone(), settings.clone());
        app.insert_resource(Keeper { store, kept, last, since_s: 0.0 })
            .insert_resource(settings)
            .insert_resource(note)
            .add_systems(Startup, restore_window)
            .add_systems(Last, (note_window, keep_settings).chain());
    }
}

/// Restores the size of the window.
fn restore_window(settings: Res<Settings>, mut windows: Query<&mut Window, With<PrimaryWindow>>) {
    // In a browser the page sets the size of the canvas.
    if cfg!(target_arch = "wasm32") {
        return;
    }
    if let (Some([width, height]), Ok(mut window)) = (settings.window, windows.single_mut()) {
        window.resolution.set(width as f32, height as f32);
    }
}

/// Records the size of the window.
fn note_window(windows: Query<&Window, (With<PrimaryWindow>, Changed<Window>)>, mut settings: ResMut<Settings>) {
    if cfg!(target_arch = "wasm32") {
        return;
    }
    if let Ok(window) = windows.single() {
        let sides = [window.width().round() as u32, window.height().round() as u32];
        let before = settings.window.unwrap_or(START_SIZE);
        if sides.iter().all(|side| SIDES.contains(side)) && before != sides {
            settings.window = Some(sides);
        }
    }
}

/// Writes the settings when they have not changed for a while, and at the end.
fn keep_settings(
    settings: Res<Settings>,
    time: Res<Time<Real>>,
    exits: MessageReader<AppExit>,
    mut keeper: ResMut<Keeper>,
    mut note: ResMut<Note>,
) {
    let now_s = time.elapsed_secs_f64();
    if keeper.last != *settings {
        keeper.last = settings.clone();
        keeper.since_s = now_s;
    }
    let is_due = now_s - keeper.since_s >= SETTLE_S || !exits.is_empty();
    if !is_due || keeper.kept == *settings {
        return;
    }
    // Attempted once for each change: a failed write would fail in the next frame as well.
    keeper.kept = settings.clone();
    if let Err(error) = keeper.store.write(&settings.to_text()) {
        let told = format!("settings cannot be kept: {error}");
        tracing::warn!("{told}");
        note.tell(told, now_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn fetch_from(path: &Path) -> (Settings, Option<String>) {
        fetch(&mut Store::new(Place::File(path.to_owned())))
    }

    #[test]
    fn settings_come_back_as_they_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/settings.json");
        let mut settings = Settings { reduced_motion: true, ui_scale: 1.4, window: Some([800, 600]), ..default() };
        settings.colors = Scheme::BlueYellow;
        settings.keys.bind(bindings::Action::Fire, 1, bindings::Trigger::Mouse(MouseButton::Middle));
        Store::new(Place::File(path.clone())).write(&settings.to_text()).unwrap();
        assert_eq!(fetch_from(&path), (settings, None));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half written is left");
    }

    #[test]
    fn where_nothing_is_kept_all_is_as_usual_and_a_missing_field_is_too() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(fetch_from(&folder.path().join("none.json")), (Settings::default(), None));
        assert_eq!(Settings::parse(r#"{"version": 1}"#), Ok(Settings::default()));
    }

    #[test]
    fn what_cannot_be_read_is_put_aside_whole_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        for (index, text) in [
            "{\"version\": 1, \"colors\": ",
            "[1, 2]",
            "{\"version\": 99, \"holograms\": true}",
            "{\"version\": 1, \"ui-scale\": 90.0}",
            "{\"version\": 1, \"keys\": {\"fire\": [\"KeyNone\"]}}",
        ]
        .into_iter()
        .enumerate()
        {
            std::fs::write(&path, text).unwrap();
            let (settings, told) = fetch_from(&path);
            assert_eq!(settings, Settings::default());
            assert!(told.unwrap().contains("put aside as"));
            assert!(!path.exists());
            let kept = std::fs::read_dir(folder.path()).unwrap();
            let texts: Vec<_> = kept.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
            assert_eq!(texts.len(), index + 1, "none is written over");
            assert!(texts.iter().any(|kept| kept == text));
        }
    }

    #[test]
    fn what_can_neither_be_read_nor_moved_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        // A folder in its place cannot be read.
        std::fs::create_dir(&path).unwrap();
        let mut store = Store::new(Place::File(path.clone()));
        assert!(fetch(&mut store).1.unwrap().contains("left alone"));
        assert!(store.write("{}").is_ok(), "it is not tried");
        assert!(path.is_dir());
    }

    #[test]
    fn settings_are_written_once_they_have_settled_and_only_when_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        let mut app = App::new();
        app.init_resource::<Time<Real>>().init_resource::<Note>().add_message::<AppExit>();
        app.insert_resource(Keeper {
            store: Store::new(Place::File(path.clone())),
            kept: Settings::default(),
            last: Settings::default(),
            since_s: 0.0,
        })
        .init_resource::<Settings>()
        .add_systems(Last, keep_settings);
        let pass = |app: &mut App, seconds: f64| {
            let delta = std::time::Duration::from_secs_f64(seconds);
            app.world_mut().resource_mut::<Time<Real>>().update_with_duration(delta);
            app.update();
        };
        (0..5).for_each(|_| pass(&mut app, 1.0));
        assert!(!path.exists(), "nothing has changed");
        app.world_mut().resource_mut::<Settings>().names = false;
        pass(&mut app, 0.1);
        assert!(!path.exists(), "it may change on");
        pass(&mut app, SETTLE_S);
        assert!(!fetch_from(&path).0.names);
        app.world_mut().resource_mut::<Settings>().hull_bars = false;
        app.world_mut().write_message(AppExit::Success);
        pass(&mut app, 0.0);
        assert!(!fetch_from(&path).0.hull_bars, "the end does not wait");
    }
}
