//! The camera: its position and its scale.
//!
//! It is at the origin of what is drawn; everything else is placed relative to [`CameraView::center`], an `f64`
//! position of the world. So a ship 10^9 units out is drawn as steadily as one at the origin.

use crate::{
    view::WorldView,
    window::{
        render::quality::settle_quality,
        schedule::WindowSystems,
        settings::{Settings, quality::Quality},
    },
};
use bevy::{
    camera::ScalingMode,
    core_pipeline::tonemapping::{DebandDither, Tonemapping},
    math::{DVec2, Rect},
    prelude::*,
    window::PrimaryWindow,
};

/// The smaller side of the window for which scales are given, logical pixels: other windows show as much of space.
const BASE_SIDE: f32 = 720.0;
/// Units per pixel at the start: a view of some 770 × 430 units.
const START_SCALE: f32 = 0.6;
/// The closest zoom, units per pixel: a ship fills a tenth of the window's height.
const MIN_SCALE: f32 = 0.2;
/// The widest zoom, units per pixel: all that is in interest (3 × 3 sectors) fits a 1280 × 720 window.
const MAX_SCALE: f32 = 3.6;
/// The factor of one notch of the wheel, or one press of + or -.
const ZOOM_STEP: f32 = 1.18;
/// How fast zoom and lead follow, per second: the share `1 - e^-rate` is made up in a second.
const ZOOM_RATE: f32 = 9.0;
const LEAD_RATE: f64 = 2.2;
/// How far ahead of the ship the camera is, seconds of its flight.
const LEAD_SECONDS: f64 = 0.28;
/// The most that the camera is ahead, as a share of the view's height.
const LEAD_SHARE: f64 = 0.2;
/// At full speed the view is wider by this share.
const SPEED_WIDENING: f32 = 0.22;
/// Speed that counts as full for the widening, units/s.
const FULL_SPEED: f32 = 380.0;
/// The camera glides over a jump of the focus up to this length, units, and cuts over a longer one.
const CUT_DISTANCE: f64 = 1500.0;
/// How fast the camera follows a jump of the focus, per second.
const GLIDE_RATE: f64 = 6.0;
/// A larger movement of the focus in one frame, beyond the flight, is a jump, units.
const JUMP: f64 = 60.0;
/// How fast a shake fades, per second.
const SHAKE_DECAY: f32 = 5.0;
/// The strongest shake, pixels.
const SHAKE_PIXELS: f32 = 7.0;

/// The camera, which follows the own ship.
pub(crate) struct CameraPlugin;

impl Plugin for CameraPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<CameraView>()
            .init_resource::<Wheel>()
            .add_systems(Startup, spawn_camera.after(settle_quality))
            .add_systems(Update, (follow_ship, smooth_edges).in_set(WindowSystems::Look));
    }
}

/// Marks the window's camera.
#[derive(Component)]
struct MainCamera;

/// The wheel's turns since the camera last used them, notches; inwards is positive.
#[derive(Resource, Debug, Default)]
pub(crate) struct Wheel {
    pub(crate) notches: f32,
}

/// The window's view of the world.
#[derive(Resource, Debug, Clone)]
pub(crate) struct CameraView {
    /// World position in the middle of the window, units.
    pub(crate) center: DVec2,
    /// Units per logical pixel.
    pub(crate) scale: f32,
    /// Half the window's size, logical pixels.
    pub(crate) half_pixels: Vec2,
    /// Logical pixels per pixel of what is drawn over space: names, bars, the map.
    pub(crate) mark_scale: f32,
    /// Without swaying, shaking and flickering.
    pub(crate) calm: bool,
    /// How much of space a pixel shows because of the window's size: one in a window that is [`BASE_SIDE`] pixels high.
    reach: f32,
    wanted_scale: f32,
    widening: f32,
    lead: DVec2,
    last_focus: Option<DVec2>,
    /// The part of a jump of the focus that is still to be made up.
    lag: DVec2,
    shake: f32,
}

impl Default for CameraView {
    fn default() -> Self {
        Self {
            center: DVec2::ZERO,
            scale: START_SCALE,
            half_pixels: Vec2::new(640.0, 360.0),
            mark_scale: 1.0,
            calm: false,
            reach: 1.0,
            wanted_scale: START_SCALE,
            widening: 0.0,
            lead: DVec2::ZERO,
            last_focus: None,
            lag: DVec2::ZERO,
            shake: 0.0,
        }
    }
}

impl CameraView {
    /// A world position relative to the middle of the window, units. The difference is computed in f64.
    pub(crate) fn local(&self, position: DVec2) -> Vec2 {
        (position - self.center).as_vec2()
    }

    /// Adapts to a window of `size` logical pixels: every window shows as much along its smaller side.
    pub(crate) fn set_window(&mut self, size: Vec2) {
        let size = size.max(Vec2::ONE);
        self.half_pixels = size * 0.5;
        let reach = BASE_SIDE / size.min_element();
        self.scale *= reach / self.reach;
        self.reach = reach;
    }

    /// Half the window's size, in pixels of what is drawn over space.
    pub(crate) fn half_marks(&self) -> Vec2 {
        self.half_pixels / self.mark_scale
    }

    /// A size or a position of what is drawn over space: `marks` of its pixels, in units.
    pub(crate) fn marks(&self, marks: Vec2) -> Vec2 {
        self.pixels(marks * self.mark_scale)
    }

    /// A point `pixels` right of and above the middle of the window, units from it.
    pub(crate) fn pixels(&self, pixels: Vec2) -> Vec2 {
        pixels * self.scale
    }

    /// Whether a circle at `local`, units from the middle, may be visible.
    pub(crate) fn sees(&self, local: Vec2, radius: f32) -> bool {
        let reach = self.half_pixels * self.scale + Vec2::splat(radius);
        local.abs().cmple(reach).all()
    }

    /// The visible rectangle, units from the middle.
    pub(crate) fn extent(&self) -> Rect {
        Rect::from_center_half_size(Vec2::ZERO, self.half_pixels * self.scale)
    }

    /// The power of two next to the wanted scale: for details that become sparser with a wider view.
    pub(crate) fn octave(&self) -> f32 {
        (self.wanted_scale * self.reach).log2().ceil().exp2()
    }

    /// Zooms by `notches` of the wheel, inwards when positive.
    pub(crate) fn zoom(&mut self, notches: f32) {
        let factor = ZOOM_STEP.powf(-notches.clamp(-20.0, 20.0));
        self.wanted_scale = (self.wanted_scale * factor).clamp(MIN_SCALE, MAX_SCALE);
    }

    /// Sets `scale` units per pixel at once.
    pub(crate) fn set_scale(&mut self, scale: f32) {
        self.wanted_scale = scale.clamp(MIN_SCALE, MAX_SCALE);
        self.scale = self.wanted_scale * self.reach;
    }

    /// Shakes the view; `strength` 1 is the strongest.
    pub(crate) fn shake(&mut self, strength: f32) {
        if self.calm {
            return;
        }
        self.shake = self.shake.max(strength.clamp(0.0, 1.0));
    }

    /// The brightness of flashes, as a share of the full one.
    pub(crate) fn flash(&self) -> f32 {
        if self.calm { 0.3 } else { 1.0 }
    }

    /// A light that swells and fades `rate` radians in a second, 0 to 1; a steady half when calm.
    pub(crate) fn pulse(&self, rate: f64, phase: f64, time_s: f64) -> f32 {
        if self.calm { 0.5 } else { 0.5 + 0.5 * (time_s * rate + phase).sin() as f32 }
    }

    /// Follows a focus that moves with `velocity` for `seconds`.
    pub(crate) fn follow(&mut self, focus: DVec2, velocity: DVec2, seconds: f64, time_s: f64) {
        let passed = seconds.clamp(0.0, 0.25);
        if let Some(last) = self.last_focus {
            let jump = focus - last;
            if jump.length() > CUT_DISTANCE {
                self.lag = DVec2::ZERO;
                self.lead = DVec2::ZERO;
            } else if (jump - velocity * seconds).length() > JUMP {
                self.lag -= jump;
            }
        }
        self.last_focus = Some(focus);
        self.lag *= (-GLIDE_RATE * passed).exp();

        let most = f64::from(self.half_pixels.y * 2.0 * self.scale) * LEAD_SHARE;
        let wanted = if self.calm { DVec2::ZERO } else { (velocity * LEAD_SECONDS).clamp_length_max(most) };
        self.lead += (wanted - self.lead) * (1.0 - (-LEAD_RATE * passed).exp());

        let near = 1.0 - (-ZOOM_RATE * passed as f32).exp();
        let speed = if self.calm { 0.0 } else { (velocity.length() as f32 / FULL_SPEED).min(1.0) };
        self.widening += (speed * SPEED_WIDENING - self.widening) * near * 0.15;
        let scale = (self.wanted_scale * (1.0 + self.widening)).min(MAX_SCALE) * self.reach;
        self.scale += (scale - self.scale) * near;

        self.shake *= (-SHAKE_DECAY * passed as f32).exp();
        let swing = f64::from(self.shake * SHAKE_PIXELS * self.scale);
        let wobble = DVec2::new((time_s * 71.0).sin(), (time_s * 57.0).cos()) * swing;
        self.center = focus + self.lead + self.lag + wobble;
    }
}

/// Spawns the camera.
fn spawn_camera(mut commands: Commands, camera: Res<CameraView>, quality: Res<Quality>) {
    commands.spawn((
        Camera2d,
        MainCamera,
        Projection::Orthographic(OrthographicProjection {
            scaling_mode: ScalingMode::WindowSize,
            scale: camera.scale,
            ..OrthographicProjection::default_2d()
        }),
        // Colours are painted as they are; no light could be too bright.
        Tonemapping::None,
        quality.msaa(),
        DebandDither::Disabled,
    ));
}

/// Smooths edges by the quality.
fn smooth_edges(quality: Res<Quality>, mut cameras: Query<&mut Msaa, With<MainCamera>>) {
    if !quality.is_changed() {
        return;
    }
    for mut msaa in &mut cameras {
        msaa.set_if_neq(quality.msaa());
    }
}

/// Moves the camera with the own ship.
fn follow_ship(
    mut camera: ResMut<CameraView>,
    mut wheel: ResMut<Wheel>,
    view: Res<WorldView>,
    time: Res<Time<Real>>,
    ui_scale: Res<UiScale>,
    settings: Res<Settings>,
    windows: Query<&Window, With<PrimaryWindow>>,
    mut cameras: Query<&mut Projection, With<MainCamera>>,
) {
    if let Ok(window) = windows.single() {
        camera.set_window(Vec2::new(window.width(), window.height()));
    }
    (camera.mark_scale, camera.calm) = (ui_scale.0, settings.reduced_motion);
    let notches = std::mem::take(&mut wheel.notches);
    if notches != 0.0 {
        camera.zoom(notches);
    }
    let (focus, velocity) = match &view.own {
        Some(own) => (own.state.position, own.state.velocity),
        None => (view.focus, DVec2::ZERO),
    };
    if focus.is_finite() && velocity.is_finite() {
        camera.follow(focus, velocity, time.delta_secs_f64(), view.time_s);
    }
    for mut projection in &mut cameras {
        if let Projection::Orthographic(projection) = &mut *projection {
            projection.scale = camera.scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_out_a_tenth_of_a_unit_is_still_a_tenth() {
        let far = DVec2::new(2.0e9, -1.0e9);
        let camera = CameraView { center: far, ..Default::default() };
        let local = camera.local(far + DVec2::new(0.1, -0.1));
        assert!((local - Vec2::new(0.1, -0.1)).length() < 1e-3, "{local}");
    }

    #[test]
    fn zoom_stays_within_its_bounds() {
        let mut camera = CameraView::default();
        (0..100).for_each(|_| camera.zoom(1.0));
        assert_eq!(camera.wanted_scale, MIN_SCALE);
        (0..100).for_each(|_| camera.zoom(-1.0));
        assert_eq!(camera.wanted_scale, MAX_SCALE);
    }

    #[test]
    fn a_short_jump_is_glided_over_and_a_long_one_cut() {
        let mut camera = CameraView::default();
        camera.follow(DVec2::ZERO, DVec2::ZERO, 0.016, 0.0);
        camera.follow(DVec2::new(300.0, 0.0), DVec2::ZERO, 0.016, 0.0);
        assert!(camera.center.x < 100.0, "{}", camera.center);
        for _ in 0..200 {
            camera.follow(DVec2::new(300.0, 0.0), DVec2::ZERO, 0.016, 0.0);
        }
        assert!((camera.center.x - 300.0).abs() < 0.5, "{}", camera.center);
        camera.follow(DVec2::new(90_000.0, 0.0), DVec2::ZERO, 0.016, 0.0);
        assert!((camera.center.x - 90_000.0).abs() < 0.5, "{}", camera.center);
    }

    #[test]
    fn as_much_is_seen_along_the_smaller_side_in_every_window() {
        let seen = |width: f32, height: f32| {
            let mut camera = CameraView::default();
            camera.set_window(Vec2::new(width, height));
            camera.follow(DVec2::ZERO, DVec2::ZERO, 0.016, 0.0);
            camera.half_pixels.min_element() * 2.0 * camera.scale
        };
        let usual = seen(1280.0, 720.0);
        for (width, height) in [(360.0, 640.0), (640.0, 360.0), (3840.0, 2160.0)] {
            assert!((seen(width, height) - usual).abs() < 0.01, "{width} x {height}");
        }
    }

    #[test]
    fn a_calm_camera_neither_shakes_nor_swings() {
        let mut camera = CameraView { calm: true, ..Default::default() };
        assert_eq!(camera.pulse(3.0, 0.0, 0.5), camera.pulse(3.0, 0.0, 0.7));
        camera.shake(1.0);
        let velocity = DVec2::new(300.0, 0.0);
        for frame in 0..100 {
            let focus = velocity * 0.016 * f64::from(frame);
            camera.follow(focus, velocity, 0.016, f64::from(frame) * 0.016);
            assert!(camera.center.distance(focus) < 1e-6 && camera.scale == START_SCALE);
        }
    }

    #[test]
    fn steady_flight_is_followed_without_lag() {
        let mut camera = CameraView::default();
        let velocity = DVec2::new(300.0, 0.0);
        let mut focus = DVec2::ZERO;
        for _ in 0..600 {
            focus += velocity * 0.016;
            camera.follow(focus, velocity, 0.016, 0.0);
        }
        let ahead = camera.center - focus;
        assert!((ahead - velocity * LEAD_SECONDS).length() < 1.0, "{ahead}");
    }
}
