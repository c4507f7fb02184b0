//! The cost of a frame: frames per second, and processor time of the whole process (including software rendering).

use bevy::{app::AppExit, prelude::*, window::PresentMode, window::PrimaryWindow};
use std::time::Instant;

/// Frames that are not counted: in them pools grow and pipelines are created.
const WARM_UP: u32 = 60;

/// Counts frames, then prints and ends.
#[derive(Resource, Debug)]
pub struct Measure {
    wanted: u32,
    seen: u32,
    since: Option<(Instant, f64)>,
}

impl Measure {
    /// Measures over that many frames.
    pub fn over(frames: u32) -> Self {
        Self { wanted: frames, seen: 0, since: None }
    }
}

/// Draws as fast as it can.
pub fn let_run(mut windows: Query<'_, '_, &mut Window, With<PrimaryWindow>>) {
    for mut window in &mut windows {
        window.present_mode = PresentMode::AutoNoVsync;
    }
}

/// Counts a frame.
pub fn count_frame(mut measure: ResMut<'_, Measure>, mut exits: MessageWriter<'_, AppExit>) {
    measure.seen += 1;
    if measure.seen == WARM_UP {
        measure.since = Some((Instant::now(), processor_s()));
    }
    let Some((start, processor)) = measure.since else { return };
    if measure.seen == WARM_UP + measure.wanted {
        let frames = f64::from(measure.wanted);
        println!(
            "{frames} frames: {:.1} frames/s, {:.1} ms of processor time each",
            frames / start.elapsed().as_secs_f64(),
            (processor_s() - processor) * 1_000.0 / frames
        );
        exits.write(AppExit::Success);
    }
}

/// Processor time that the process has used, all threads, seconds; Linux counts it in hundredths.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
}
