//! The window without a server: a scripted scene, to inspect the picture.
//!
//! `cargo run -p sidereal-client --example window_demo -- --scene fight --screenshot scene.png` takes a picture,
//! `... -- --scene crowd --frames 300` measures what a frame costs.

mod measure;
mod showcase;

use bevy::{
    app::AppExit,
    input::{
        ButtonState,
        keyboard::{Key, KeyboardInput, NativeKey},
    },
    math::DVec2,
    prelude::*,
};
use clap::{Parser, ValueEnum};
use sidereal_client::{
    chat::ChatBook,
    schedule::ClientSystems,
    session::SessionState,
    view::{
        BLAST_SECONDS, BeamShown, BlastEffect, Dock, HIT_SECONDS, HitEffect, Kill, LinkQuality, MiningTarget, Notice,
        NoticeKind, Other, OwnShip, Part, PurseShown, ShotInFlight, TradeOffer, WorldView,
    },
    weapons::{
        arms::Readiness,
        beams::{BEAM_SECONDS, trace},
    },
    window::{Quality, Settings, WindowPlugin, default_plugins},
};
use sidereal_protocol::{
    frames::{chat::Scope, messages::Said},
    packets::motion::EngineGlow,
    record::EntityKind,
    rules::{
        economy::{CRATE_RADIUS, DealKey, Fitted, Goods, STATION_RADIUS, Weapon},
        flight::{FlightState, HullKind, wrap_angle},
        shot::{BULLET_SPEED, Beam, Shot, ShotId},
        tool::Tool,
    },
    world::{
        ids::{AccountId, EntityId, NetId},
        sector::SectorId,
        tick::{SimTick, TICK_SECONDS},
    },
};
use std::{path::PathBuf, sync::Arc};

const STATION: NetId = NetId(900);

/// Shows a scripted scene.
#[derive(Parser, Resource, Clone)]
struct Options {
    /// Save a picture here and end
    #[arg(long)]
    screenshot: Option<PathBuf>,
    /// When to take the picture, seconds
    #[arg(long, default_value_t = 4.0)]
    after: f64,
    /// Units per pixel
    #[arg(long)]
    scale: Option<f32>,
    /// Show the sector grid
    #[arg(long)]
    grid: bool,
    /// Where the scene is, units from the origin in x and y
    #[arg(long, default_value_t = 520.0, allow_hyphen_values = true)]
    at: f64,
    /// Smooth edges and all clouds, on any adapter
    #[arg(long)]
    full: bool,
    /// The lowest quality, on any adapter
    #[arg(long, conflicts_with = "full")]
    bare: bool,
    /// With less motion
    #[arg(long)]
    calm: bool,
    /// Draw this many frames as fast as possible, print their cost, and end
    #[arg(long)]
    frames: Option<u32>,
    /// Seed of the sky
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The scene
    #[arg(long, value_enum, default_value_t = Scene::Fight)]
    scene: Scene,
    /// The window's size, logical pixels: WIDTHxHEIGHT
    #[arg(long, value_parser = parse_size)]
    size: Option<UVec2>,
    /// Keys that are tapped one after the other from the first second on: letters, or the names of keys
    #[arg(long, value_delimiter = ',')]
    keys: Vec<String>,
    /// The session's state
    #[arg(long, value_enum, default_value_t = Session::InSpace)]
    session: Session,
}

#[derive(Clone, Copy, ValueEnum, PartialEq)]
enum Scene {
    /// A fight among rocks
    Fight,
    /// Mining a rock, with a crate and a station nearby
    #[value(alias = "mining")]
    Mine,
    /// Pulling a crate with the tractor beam
    Tow,
    /// In front of a station
    #[value(alias = "station")]
    Arrive,
    /// Docked at a station
    Docked,
    /// A player offers a trade
    Trade,
    /// A fight where four sectors meet
    Border,
    /// A hundred ships in view
    Crowd,
    /// Every hull, at rest and in flight
    Hulls,
    /// Hits on the own ship, and damaged hulls
    Damage,
    /// Rocks from undamaged to broken
    Rocks,
    /// A target to aim at
    Aim,
    /// The own ship is destroyed
    Death,
    /// A new ship
    Respawn,
}

#[derive(Clone, Copy, ValueEnum, PartialEq)]
enum Session {
    Connecting,
    InSpace,
    Destroyed,
    Returning,
    Lost,
}

fn main() -> AppExit {
    let options = Options::parse();
    let mut app = App::new();
    app.add_plugins((
        default_plugins(),
        WindowPlugin {
            screenshot: options.screenshot.clone(),
            screenshot_after_s: options.after,
            scale: options.scale,
            grid: options.grid,
            quality: match (options.full, options.bare) {
                (true, _) => Quality::Full,
                (_, true) => Quality::Bare,
                _ => Quality::Adapter,
            },
            ..default()
        },
    ));
    app.world_mut().resource_mut::<Settings>().reduced_motion = options.calm;
    if let Some(frames) = options.frames {
        app.insert_resource(measure::Measure::over(frames))
            .add_systems(Startup, measure::let_run)
            .add_systems(Last, measure::count_frame);
    }
    app.insert_resource(match options.session {
        Session::Connecting => SessionState::Connecting,
        Session::InSpace => SessionState::InSpace,
        Session::Destroyed => SessionState::Destroyed,
        Session::Returning => SessionState::Returning(
            "nothing arrived from the peer for 10 s\ntry 3 in 2 s, for another 114 s".to_owned(),
        ),
        Session::Lost => SessionState::Lost("the server did not answer for 10 s".to_owned()),
    })
    .insert_resource(options)
    .add_systems(Startup, (size_window, talk))
    .add_systems(First, tap_keys)
    .add_systems(Update, play_scene.in_set(ClientSystems::Compose))
    .run()
}

fn parse_size(text: &str) -> Result<UVec2, &'static str> {
    let (width, height) = text.split_once('x').ok_or("give it as 1280x720")?;
    let side = |side: &str| side.parse().map_err(|_| "give it as 1280x720");
    Ok(UVec2::new(side(width)?, side(height)?))
}

fn size_window(options: Res<'_, Options>, mut windows: Query<'_, '_, &mut Window, With<bevy::window::PrimaryWindow>>) {
    if let (Some(size), Ok(mut window)) = (options.size, windows.single_mut()) {
        window.resolution.set(size.x as f32, size.y as f32);
    }
}

/// Texts of a moment ago.
fn talk(mut book: ResMut<'_, ChatBook>) {
    let long = "there are two drones behind the big rock and a crate with some forty ore, who wants it?";
    for (scope, speaker, text, yours) in [
        (Scope::World, "Grace Hopper", "anybody at Meridian?", false),
        (Scope::Sector, "Linus", long, false),
        (Scope::Sector, "you", "on my way", true),
    ] {
        let (speaker, text) = (speaker.to_owned(), text.to_owned());
        book.receive(&Said { scope: scope as u8, speaker, text, yours });
    }
    book.receive(&Said::notice("you talk too fast: it was not said; wait 2 s".to_owned()));
}

/// Taps the requested keys, one every fifth of a second.
fn tap_keys(
    options: Res<'_, Options>,
    time: Res<'_, Time<Real>>,
    windows: Query<'_, '_, Entity, With<bevy::window::PrimaryWindow>>,
    mut inputs: MessageWriter<'_, KeyboardInput>,
    mut tapped: Local<'_, usize>,
) {
    let due = ((time.elapsed_secs_f64() - 1.0) / 0.2).max(0.0) as usize;
    let (Some(name), Ok(window)) = (options.keys.get(*tapped).filter(|_| due > *tapped), windows.single()) else {
        return;
    };
    *tapped += 1;
    let key_code = match name.as_str() {
        "Up" => KeyCode::ArrowUp,
        "Down" => KeyCode::ArrowDown,
        "Left" => KeyCode::ArrowLeft,
        "Right" => KeyCode::ArrowRight,
        "Enter" => KeyCode::Enter,
        "T" => KeyCode::KeyT,
        "V" => KeyCode::KeyV,
        "Y" => KeyCode::KeyY,
        "F1" => KeyCode::F1,
        "F2" => KeyCode::F2,
        "F3" => KeyCode::F3,
        "/" => KeyCode::Slash,
        "Tab" => KeyCode::Tab,
        "Escape" => KeyCode::Escape,
        // Any other key types its text.
        _ => KeyCode::F24,
    };
    let text = matches!(key_code, KeyCode::Slash | KeyCode::F24).then(|| name.as_str().into());
    for state in [ButtonState::Pressed, ButtonState::Released] {
        let logical_key = match &text {
            Some(text) => Key::Character(Clone::clone(text)),
            None => Key::Unidentified(NativeKey::Unidentified),
        };
        let text = text.clone();
        inputs.write(KeyboardInput { key_code, logical_key, state, text, repeat: false, window });
    }
}

/// The own ship's balances, a station and crates, and the scene's own entities.
fn play_economy(view: &mut WorldView, scene: Scene, home: DVec2) {
    let mut purse = PurseShown { credits: 642, ore: 34, hold: HullKind::Scout.hold(), ..default() };
    let station_at = home + DVec2::new(-40.0, 330.0);
    let station_state = FlightState { position: station_at, ..default() };
    let name: Arc<str> = "Meridian".into();
    view.others.insert(STATION, other(STATION.0, EntityKind::Station, &name, station_state, STATION_RADIUS));
    for (index, (at, ore)) in [(DVec2::new(95.0, -60.0), 12), (DVec2::new(-160.0, 210.0), 44)].into_iter().enumerate() {
        let net_id = 901 + index as u32;
        let state = FlightState { position: home + at, ..default() };
        let mut found = other(net_id, EntityKind::Crate, "", state, CRATE_RADIUS);
        found.ore = Some(ore);
        view.others.insert(NetId(net_id), found);
    }
    let Some(own) = &mut view.own else { return };
    // In scenes of the economy the other ships keep away from the player.
    let mut rest_at = |position: DVec2, angle: f64| {
        let state = FlightState { position, angle, ..default() };
        (own.state, own.confirmed, own.glow) = (state, state, EngineGlow::default());
        (view.focus, view.sector) = (position, SectorId::containing(position));
        view.shots.clear();
        view.beams.clear();
        view.hits.clear();
        view.others.retain(|net_id, other| match other.kind {
            EntityKind::Drone | EntityKind::Missile => false,
            EntityKind::Asteroid => other.state.position.distance(position) > other.radius + 30.0,
            EntityKind::Crate => true,
            EntityKind::Ship => *net_id != NetId(13),
            EntityKind::Station => true,
        });
    };
    match scene {
        Scene::Mine => {
            rest_at(home + DVec2::new(10.0, -20.0), 0.5);
            let state = FlightState { position: home + DVec2::new(100.0, 20.0), angle: 0.4, ..default() };
            let mut rock = other(950, EntityKind::Asteroid, "", state, 38.0);
            rock.ore = Some(297);
            view.others.insert(NetId(950), rock);
            view.mining = Some(MiningTarget { rock: NetId(950), works: true });
            if let Some(ada) = view.others.get_mut(&NetId(10)) {
                ada.state = FlightState { position: home + DVec2::new(190.0, 70.0), angle: -2.6, ..default() };
                (ada.hull_kind, ada.radius) = (Some(HullKind::Hauler), HullKind::Hauler.spec().radius);
                ada.glow = EngineGlow { mining: true, ..default() };
            }
        }
        Scene::Tow => {
            rest_at(home + DVec2::new(10.0, -20.0), 1.2);
            if let Some(own) = &mut view.own {
                own.glow.tractor = true;
            }
        }
        Scene::Arrive | Scene::Docked => {
            rest_at(station_at + DVec2::new(62.0, -20.0), 2.6);
            view.dock = Dock::InReach { station: STATION, name: name.clone(), too_fast: false };
            if scene == Scene::Docked {
                view.dock = Dock::Docked { station: STATION, name };
                (purse.docked, purse.stored) = (Some(STATION), 80);
                purse.fitted = Fitted::default().with(Weapon::RapidGun);
            }
        }
        Scene::Trade => {
            rest_at(home + DVec2::new(10.0, -20.0), 0.5);
            view.trades.push(TradeOffer {
                key: DealKey(uuid::Uuid::nil()),
                partner: "Linus".to_owned(),
                get: Goods { ore: 20, credits: 0 },
                give: Goods { ore: 0, credits: 75 },
                age_s: 8.4,
            });
        }
        _ => {}
    }
    view.purse = Some(purse);
}

/// The state on a circular course.
fn circle(middle: DVec2, radius: f64, speed: f64, phase: f64, now_s: f64) -> FlightState {
    let turn = speed / radius;
    let angle = phase + turn * now_s;
    let spoke = DVec2::from_angle(angle);
    let velocity = spoke.perp() * speed;
    FlightState {
        position: middle + spoke * radius,
        velocity,
        angle: wrap_angle(velocity.to_angle() + 0.25 * turn.signum()),
        angular_velocity: turn,
    }
}

fn other(net_id: u32, kind: EntityKind, name: &str, state: FlightState, radius: f64) -> Other {
    let hull_kind = match kind {
        EntityKind::Ship => Some(HullKind::Scout),
        EntityKind::Drone => Some(HullKind::Drone),
        EntityKind::Missile => Some(HullKind::Missile),
        EntityKind::Asteroid | EntityKind::Station | EntityKind::Crate => None,
    };
    let hull_max = hull_kind.map_or(400, |kind| kind.spec().hull);
    Other {
        net_id: NetId(net_id),
        id: EntityId::default(),
        kind,
        hull_kind,
        name: name.into(),
        owner: None,
        state,
        glow: EngineGlow::default(),
        hull: hull_max,
        hull_max,
        radius,
        ore: None,
        silent_s: 0.0,
    }
}

fn fire(view: &mut WorldView, shooter: u32, own: bool, state: FlightState, now_s: f64, every_s: f64, toward: DVec2) {
    let newest = (now_s / every_s).floor() as i64;
    for back in 0..7 {
        let fired_s = (newest - back) as f64 * every_s;
        if fired_s < 0.0 || back as f64 * every_s > 1.4 {
            continue;
        }
        let age_s = now_s - fired_s;
        let aim = toward.normalize_or(state.heading());
        let velocity = state.velocity + aim * BULLET_SPEED;
        let origin = state.coast(-age_s).position + aim * 14.0;
        let tick = SimTick((fired_s / TICK_SECONDS) as u64);
        let id = ShotId { shooter: NetId(shooter), tick };
        let shot = Shot { id, sector: SectorId::containing(origin), origin, velocity };
        let position = origin + velocity * age_s;
        view.shots.push(ShotInFlight { shot, own, predicted: false, position, age_s });
    }
}

/// A beam from `shooter` along its heading, `age_s` after it was fired.
fn beam(view: &mut WorldView, shooter: u32, own: bool, state: FlightState, age_s: f64, toward: DVec2) {
    let direction = toward.normalize_or(state.heading());
    let origin = state.position + direction * 9.0;
    let circles = view.others.values().filter(|other| other.net_id != NetId(shooter));
    let circles = circles.map(|other| (other.net_id, other.state.position, other.radius));
    let (end, target) = trace(origin, direction, circles);
    let id = ShotId { shooter: NetId(shooter), tick: SimTick(0) };
    view.beams.push(BeamShown { beam: Beam { id, origin, end, target }, own, foreseen: false, age_s });
}

fn play_scene(
    time: Res<'_, Time<Real>>,
    options: Res<'_, Options>,
    mut view: ResMut<'_, WorldView>,
    mut session: ResMut<'_, SessionState>,
) {
    let now_s = time.elapsed_secs_f64();
    let home = showcase::home(&options);
    *view = WorldView { sky_seed: options.seed, time_s: now_s, ..default() };
    if options.session == Session::Connecting {
        return;
    }
    view.account = Some(AccountId(uuid::Uuid::nil()));
    let own = circle(home + DVec2::new(0.0, -330.0), 330.0, 250.0, 1.25, now_s - options.after);
    let flies = options.session == Session::InSpace;
    view.focus = own.position;
    view.sector = SectorId::containing(own.position);
    if flies {
        view.own = Some(OwnShip {
            net_id: NetId(1),
            id: EntityId::default(),
            state: own,
            confirmed: own,
            glow: EngineGlow { thrust: true, ..EngineGlow::default() },
            hull_kind: HullKind::Scout,
            hull: 72,
            hull_max: 100,
            radius: 9.0,
            name: "you".into(),
            stalled: false,
        });
    }

    let players = [
        ("Ada", 140.0, 190.0, 0.4, 100),
        ("Linus", 250.0, -215.0, 2.6, 64),
        ("Grace Hopper", 190.0, 170.0, 4.2, 22),
        ("far_away", 1150.0, 210.0, 0.1, 88),
    ];
    for (index, (name, radius, speed, phase, hull)) in players.into_iter().enumerate() {
        let net_id = 10 + index as u32;
        let state = circle(home + DVec2::new(40.0, 20.0), radius, speed, phase, now_s);
        let mut player = other(net_id, EntityKind::Ship, name, state, 9.0);
        player.hull = hull;
        player.glow = EngineGlow { thrust: index != 2, boost: index == 1, ..EngineGlow::default() };
        view.others.insert(NetId(net_id), player);
    }
    for index in 0..5u32 {
        let net_id = 30 + index;
        let phase = f64::from(index) * 1.3;
        let middle = home + DVec2::from_angle(phase * 1.7) * 230.0;
        let state = circle(middle, 70.0 + 9.0 * f64::from(index), 90.0, phase, now_s);
        let mut drone = other(net_id, EntityKind::Drone, "Drone", state, 8.0);
        drone.glow.thrust = index % 2 == 0;
        drone.hull = if index == 1 { 20 } else { 40 };
        view.others.insert(NetId(net_id), drone);
    }
    for index in 0..46u32 {
        let net_id = 100 + index;
        let spot = DVec2::from_angle(f64::from(index) * 2.4) * (110.0 + 29.0 * f64::from(index));
        let radius = [14.0, 26.0, 62.0, 18.0, 38.0][index as usize % 5];
        let spin = 0.1 * (f64::from(index % 7) - 3.0);
        let state = FlightState {
            position: home + spot + DVec2::new(60.0, -40.0),
            angle: wrap_angle(f64::from(index) + spin * now_s),
            ..default()
        };
        view.others.insert(NetId(net_id), other(net_id, EntityKind::Asteroid, "", state, radius));
    }
    view.players_near = players.len();

    // Missiles: from the own ship, from Ada and from a drone, launched again and again.
    let flight_s = 1.6;
    let ada = view.others[&NetId(10)].state;
    let drone = view.others[&NetId(34)].state;
    for (index, from) in [own, ada, drone].into_iter().enumerate() {
        let turn = (now_s - options.after + 0.9 + 0.2 * index as f64) / flight_s;
        let age_s = turn.rem_euclid(1.0) * flight_s;
        if index == 0 && !flies {
            continue;
        }
        let launch = from.coast(-age_s);
        let angle = wrap_angle(launch.angle + 0.25 + 0.3 * age_s);
        let velocity = DVec2::from_angle(angle) * 330.0;
        let position = launch.position + launch.heading() * 12.0 + velocity * age_s;
        let state = FlightState { position, velocity, angle, angular_velocity: 0.3 };
        // Each with an id of its own, so that it first appears at its launch.
        let net_id = 600 + 3 * (turn.floor() as i64).rem_euclid(1000) as u32 + index as u32;
        view.others.insert(NetId(net_id), other(net_id, EntityKind::Missile, "", state, 3.0));
    }

    let target = view.others[&NetId(31)].state.position;
    if flies {
        fire(&mut view, 1, true, own, now_s, 0.2, own.heading());
    }
    fire(&mut view, 10, false, ada, now_s, 0.3, target - ada.position);
    let drone = view.others[&NetId(32)].state;
    fire(&mut view, 32, false, drone, now_s, 0.5, own.position - drone.position);

    // Beams, repeatedly: the own one is newest when the picture is taken.
    let age_s = |offset: f64| (now_s - options.after + 0.06 + offset).rem_euclid(1.0);
    if flies && age_s(0.0) < BEAM_SECONDS {
        beam(&mut view, 1, true, own, age_s(0.0), own.heading());
    }
    let linus = view.others[&NetId(11)].state;
    if age_s(0.08) < BEAM_SECONDS {
        let drone = view.others[&NetId(33)].state.position;
        beam(&mut view, 11, false, linus, age_s(0.08), drone - linus.position);
    }
    view.arms = Readiness::default().with(Tool::Beam, age_s(0.0)).with(Tool::Launcher, (now_s / 3.0).fract());

    // A hit and an explosion, repeatedly; each with an id of its own.
    let hit_turn = (now_s / HIT_SECONDS).floor();
    view.hits.push_back(HitEffect {
        id: ShotId { shooter: NetId(10), tick: SimTick(hit_turn as u64) },
        target: NetId(31),
        position: target + DVec2::new(-6.0, 3.0),
        by_own: false,
        on_own: false,
        age_s: now_s - hit_turn * HIT_SECONDS,
    });
    for (offset, place) in [(0.0, DVec2::new(-190.0, 90.0)), (1.02, DVec2::new(260.0, -70.0))] {
        let turn = ((now_s + offset) / BLAST_SECONDS).floor();
        view.blasts.push_back(BlastEffect {
            victim: NetId(500 + turn as u32 % 50),
            position: home + place,
            velocity: DVec2::ZERO,
            radius: 9.0,
            age_s: now_s + offset - turn * BLAST_SECONDS,
        });
    }
    for (number, kind, text) in [
        (1, NoticeKind::Info, "Welcome to Sidereal"),
        (2, NoticeKind::Warning, "No trade with Linus: the offer was turned down"),
    ] {
        let age_s = (4.0 - number as f64).max(0.0);
        view.notices.push_back(Notice { number, kind, text: text.to_owned(), age_s });
    }
    let (ship, drone) = (EntityKind::Ship, EntityKind::Drone);
    let katherine = ("Katherine", ship, HullKind::Hauler);
    for (number, (victim_name, kind, hull), by, part) in [
        (1, katherine, None, Part::None),
        (2, ("Drone", drone, HullKind::Drone), Some(("Ada", ship)), Part::None),
        (3, katherine, Some(("Linus", ship)), Part::None),
        (4, ("Grace Hopper", ship, HullKind::Gunship), Some(("you", ship)), Part::Killer),
        (5, ("you", ship, HullKind::Scout), Some(("Drone", drone)), Part::Victim),
    ] {
        view.kills.push_back(Kill {
            number,
            victim: NetId(400),
            victim_name: victim_name.to_owned(),
            victim_kind: Some(kind),
            victim_hull: Some(hull),
            by: by.map(|(name, _)| name.to_owned()),
            by_kind: by.map(|(_, kind)| kind),
            part,
            age_s: 9.0 - 1.8 * number as f64,
        });
    }
    play_economy(&mut view, options.scene, home);
    if let Some(state) = showcase::play(&mut view, &options, home, now_s) {
        session.set_if_neq(state);
    }
    view.link = LinkQuality { ping_ms: 38.0, jitter_ms: 4.0, ..default() };
}
