//! Takes a picture of the window after a while, and ends: for tests and for inspection.

use bevy::{
    app::AppExit,
    prelude::*,
    render::view::screenshot::{Screenshot, ScreenshotCaptured, save_to_disk},
};
use std::path::PathBuf;

/// How long the renderer may take for the picture, seconds. Software rendering needs one.
const DEADLINE_S: f64 = 60.0;

/// A requested picture.
#[derive(Resource, Debug)]
struct PictureOrder {
    path: PathBuf,
    after_s: f64,
    taken_s: Option<f64>,
}

/// Saves a picture at `path`, `after_s` seconds after the start, then ends.
pub(crate) struct ScreenshotPlugin {
    /// The file.
    pub(crate) path: PathBuf,
    /// The time, seconds.
    pub(crate) after_s: f64,
}

impl Plugin for ScreenshotPlugin {
    fn build(&self, app: &mut App) {
        app.insert_resource(PictureOrder { path: self.path.clone(), after_s: self.after_s, taken_s: None })
            .add_systems(Last, take_picture);
    }
}

/// Takes the picture at its time.
fn take_picture(
    mut commands: Commands,
    mut order: ResMut<PictureOrder>,
    time: Res<Time<Real>>,
    mut exits: MessageWriter<AppExit>,
) {
    let now_s = time.elapsed_secs_f64();
    match order.taken_s {
        None if now_s >= order.after_s => {
            order.taken_s = Some(now_s);
            commands
                .spawn(Screenshot::primary_window())
                .observe(save_to_disk(order.path.clone()))
                .observe(end_with_picture);
        }
        Some(taken_s) if now_s > taken_s + DEADLINE_S => {
            tracing::error!("no picture of the window within {DEADLINE_S} s");
            exits.write(AppExit::error());
        }
        _ => {}
    }
}

/// Runs when the picture is complete: beside the observer that saves it, in any order.
fn end_with_picture(_: On<ScreenshotCaptured>, mut commands: Commands) {
    commands.queue(|world: &mut World| {
        let path = world.resource::<PictureOrder>().path.clone();
        let saved = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
        if !saved {
            tracing::error!("cannot save the picture {}", path.display());
        }
        world.write_message(if saved { AppExit::Success } else { AppExit::error() });
    });
}
