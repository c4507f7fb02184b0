//! Scenes that show one thing each: a crowd, all hulls, damage, breaking rocks, a border of sectors, a death.

use super::{Options, Scene, beam, circle, fire, other};
use bevy::{math::DVec2, prelude::default};
use sidereal_client::{
    session::SessionState,
    view::{BLAST_SECONDS, BlastEffect, HIT_SECONDS, HitEffect, Kill, OwnShip, Part, WorldView},
};
use sidereal_protocol::{
    packets::motion::EngineGlow,
    record::EntityKind,
    rules::{
        economy::ore_of_rock,
        flight::{FlightState, HullKind, wrap_angle},
        shot::ShotId,
    },
    world::{
        ids::{EntityId, NetId},
        sector::{SECTOR_SIZE, SectorId},
        tick::SimTick,
    },
};

/// Ships of the crowd.
const CROWD: u32 = 100;

/// The place of a scene, by the options.
pub fn home(options: &Options) -> DVec2 {
    match options.scene {
        // A corner where four sectors of two blocks meet.
        Scene::Border => DVec2::new(SECTOR_SIZE * 4.0 + 40.0, SECTOR_SIZE * 2.0 - 60.0),
        _ => DVec2::new(options.at, options.at * 0.7),
    }
}

fn set_own(view: &mut WorldView, state: FlightState, hull: u16, hull_kind: HullKind) {
    let spec = hull_kind.spec();
    view.focus = state.position;
    view.sector = SectorId::containing(state.position);
    view.own = Some(OwnShip {
        net_id: NetId(1),
        id: EntityId::default(),
        state,
        confirmed: state,
        glow: EngineGlow { thrust: state.velocity.length() > 1.0, ..default() },
        hull_kind,
        hull,
        hull_max: spec.hull,
        radius: spec.radius,
        name: "you".into(),
        stalled: false,
    });
}

fn clear(view: &mut WorldView) {
    view.others.clear();
    view.shots.clear();
    view.beams.clear();
    view.hits.clear();
    view.blasts.clear();
}

/// A player's ship in `hull_kind`.
fn ship(net_id: u32, name: &str, hull_kind: HullKind, state: FlightState) -> sidereal_client::view::Other {
    let kind = match hull_kind {
        HullKind::Drone => EntityKind::Drone,
        HullKind::Missile => EntityKind::Missile,
        _ => EntityKind::Ship,
    };
    let mut found = other(net_id, kind, name, state, hull_kind.spec().radius);
    (found.hull_kind, found.hull, found.hull_max) = (Some(hull_kind), hull_kind.spec().hull, hull_kind.spec().hull);
    found
}

/// Changes the view to the scene; `None` leaves the session's state as it is.
pub fn play(view: &mut WorldView, options: &Options, home: DVec2, now_s: f64) -> Option<SessionState> {
    let since = now_s - options.after;
    match options.scene {
        Scene::Crowd => crowd(view, home, now_s),
        Scene::Hulls => hulls(view, home, now_s),
        Scene::Damage => damage(view, home, now_s),
        Scene::Rocks => rocks(view, home, now_s),
        Scene::Aim => aim(view, home, now_s, since),
        Scene::Death => return Some(death(view, home, now_s)),
        Scene::Respawn => return respawn(view, home, since),
        _ => {}
    }
    None
}

fn crowd(view: &mut WorldView, home: DVec2, now_s: f64) {
    view.others.retain(|_, other| other.kind == EntityKind::Asteroid);
    for index in 0..CROWD {
        let radius = 60.0 + 3.1 * f64::from(index);
        let way = if index % 2 == 0 { 170.0 } else { -150.0 };
        let state = circle(home, radius, way, f64::from(index) * 2.4, now_s);
        let kind = [HullKind::Scout, HullKind::Gunship, HullKind::Hauler, HullKind::Drone][index as usize % 4];
        let net_id = 1_000 + index;
        let mut found = ship(net_id, &format!("pilot-{index}"), kind, state);
        found.glow = EngineGlow { thrust: true, boost: index % 5 == 0, ..default() };
        found.hull = found.hull_max * (1 + index as u16 % 5) / 5;
        view.others.insert(NetId(net_id), found);
        if index % 2 == 0 {
            fire(view, net_id, false, state, now_s, 0.3, state.heading());
        }
        if index % 10 == 0 {
            beam(view, net_id, false, state, now_s.fract() * 0.3, state.heading());
        }
    }
    view.players_near = CROWD as usize;
}

fn hulls(view: &mut WorldView, home: DVec2, now_s: f64) {
    clear(view);
    set_own(view, FlightState { position: home, angle: 0.6, ..default() }, 100, HullKind::Scout);
    let kinds = [HullKind::Scout, HullKind::Hauler, HullKind::Gunship, HullKind::Drone, HullKind::Missile];
    for (index, kind) in kinds.into_iter().enumerate() {
        for (row, turning) in [0.0, 1.4].into_iter().enumerate() {
            let net_id = 20 + (index * 2 + row) as u32;
            let place = home + DVec2::new(-80.0 + 40.0 * index as f64, 55.0 - 105.0 * row as f64);
            let state =
                FlightState { position: place, angle: 0.9 * row as f64, angular_velocity: turning, ..default() };
            let mut found = ship(net_id, &format!("{kind:?}"), kind, state);
            found.glow = EngineGlow { thrust: row == 1, boost: row == 1 && now_s.fract() > 0.5, ..default() };
            view.others.insert(NetId(net_id), found);
        }
    }
}

fn hit(view: &mut WorldView, shooter: u32, target: u32, at: DVec2, number: u64, age_s: f64) {
    view.hits.push_back(HitEffect {
        id: ShotId { shooter: NetId(shooter), tick: SimTick(number) },
        target: NetId(target),
        position: at,
        by_own: shooter == 1,
        on_own: target == 1,
        age_s,
    });
}

fn damage(view: &mut WorldView, home: DVec2, now_s: f64) {
    clear(view);
    let own = circle(home + DVec2::new(0.0, -200.0), 200.0, 160.0, 1.4, now_s);
    let turns = (now_s / 0.4).floor();
    set_own(view, own, 18u16.saturating_sub((turns as u16) % 3), HullKind::Scout);
    for (index, (bearing, hull)) in [(0.4, 15), (2.5, 60), (4.0, 30)].into_iter().enumerate() {
        let net_id = 10 + index as u32;
        let place = own.position + DVec2::from_angle(bearing) * 110.0;
        let state = FlightState { position: place, angle: wrap_angle(bearing + 3.1), ..own };
        let mut found = ship(net_id, ["Ada", "Linus", "Grace"][index], HullKind::Gunship, state);
        found.hull = hull;
        found.glow.thrust = true;
        view.others.insert(NetId(net_id), found);
        fire(view, net_id, false, state, now_s, 0.4, own.position - place);
    }
    let place = own.position + DVec2::from_angle(0.4) * 8.0;
    hit(view, 10, 1, place, turns as u64, now_s - turns * 0.4);
    let age_s = (now_s - 0.25).rem_euclid(0.8);
    if age_s < HIT_SECONDS {
        hit(view, 12, 1, own.position - DVec2::from_angle(4.0) * 8.0, (now_s / 0.8) as u64 + 5_000, age_s);
    }
}

fn rocks(view: &mut WorldView, home: DVec2, now_s: f64) {
    clear(view);
    set_own(
        view,
        FlightState { position: home + DVec2::new(0.0, -150.0), angle: 1.57, ..default() },
        100,
        HullKind::Scout,
    );
    for row in 0..3u32 {
        for column in 0..5u32 {
            let net_id = 100 + row * 5 + column;
            let radius = [16.0, 30.0, 52.0][row as usize];
            let place = home + DVec2::new(-250.0 + 120.0 * f64::from(column), -110.0 + 105.0 * f64::from(row));
            let angle = wrap_angle(f64::from(net_id) + 0.2 * now_s);
            let mut rock =
                other(net_id, EntityKind::Asteroid, "", FlightState { position: place, angle, ..default() }, radius);
            rock.hull_max = (radius * 4.0) as u16;
            rock.hull = rock.hull_max - rock.hull_max * column as u16 / 5;
            rock.ore = Some(ore_of_rock(radius));
            if column == 1 && row == 2 {
                rock.ore = Some(ore_of_rock(radius) / 3);
            }
            if row == 1 && column == 3 {
                let turn = (now_s / HIT_SECONDS).floor();
                hit(view, 1, net_id, place - DVec2::Y * radius, turn as u64, now_s - turn * HIT_SECONDS);
            }
            // One bursts repeatedly, and reappears.
            if row < 2 && column == 4 {
                let period = 2.0 * BLAST_SECONDS;
                let age_s = (now_s + 0.4 * f64::from(row)).rem_euclid(period);
                if age_s < BLAST_SECONDS {
                    let (position, velocity) = (place, DVec2::ZERO);
                    view.blasts.push_back(BlastEffect { victim: NetId(net_id), position, velocity, radius, age_s });
                    continue;
                }
            }
            view.others.insert(NetId(net_id), rock);
        }
    }
}

fn aim(view: &mut WorldView, home: DVec2, now_s: f64, since: f64) {
    view.others.retain(|_, other| other.kind == EntityKind::Asteroid);
    view.blasts.clear();
    view.hits.clear();
    view.shots.clear();
    view.beams.clear();
    let own = FlightState { position: home, velocity: DVec2::new(60.0, 20.0), angle: 0.3, ..default() }.coast(since);
    set_own(view, own, 92, HullKind::Scout);
    let state = FlightState {
        position: home + DVec2::new(190.0, 60.0),
        velocity: DVec2::new(20.0, 130.0),
        angle: 1.4,
        ..default()
    };
    let mut found = ship(30, "Drone", HullKind::Drone, state.coast(since));
    found.glow.thrust = true;
    view.others.insert(NetId(30), found);
    let far = FlightState { position: home + DVec2::new(-150.0, 120.0), angle: 1.4, ..default() };
    view.others.insert(NetId(31), ship(31, "Ada", HullKind::Hauler, far));
    view.own_tick = now_s * 30.0 + 6.0;
    view.play_tick = now_s * 30.0;
}

fn death(view: &mut WorldView, home: DVec2, now_s: f64) -> SessionState {
    // Alive for a second, so that the loss is visible.
    let died_s = 2.2;
    let own = FlightState { position: home, velocity: DVec2::new(90.0, 40.0), angle: 0.4, ..default() };
    let age_s = now_s - died_s;
    view.shots.retain(|shot| !shot.own);
    view.beams.retain(|beam| !beam.own);
    if age_s < 0.0 {
        set_own(view, own.coast(age_s), 9, HullKind::Scout);
        return SessionState::InSpace;
    }
    view.own = None;
    view.focus = home;
    if age_s < BLAST_SECONDS {
        let position = home + own.velocity * 0.3 * age_s;
        view.blasts.push_back(BlastEffect { victim: NetId(1), position, velocity: own.velocity, radius: 9.0, age_s });
    }
    view.kills.push_back(Kill {
        number: 9,
        victim: NetId(1),
        victim_name: "you".to_owned(),
        victim_kind: Some(EntityKind::Ship),
        victim_hull: Some(HullKind::Scout),
        by: Some("Grace Hopper".to_owned()),
        by_kind: Some(EntityKind::Ship),
        part: Part::Victim,
        age_s,
    });
    SessionState::Destroyed
}

fn respawn(view: &mut WorldView, home: DVec2, since: f64) -> Option<SessionState> {
    view.shots.retain(|shot| !shot.own);
    view.beams.retain(|beam| !beam.own);
    // The picture is taken as the ship enters, and as another one enters after it.
    if since < -0.35 {
        view.own = None;
        view.focus = home;
        return None;
    }
    set_own(view, FlightState { position: home, angle: 0.7, ..default() }, 100, HullKind::Scout);
    None
}
