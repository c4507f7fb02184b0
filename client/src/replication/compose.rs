//! Composes the view, once per update. The only writer of [`WorldView`], except for notices and explosions, which are
//! added as they come.

use crate::{
    economy::mining,
    flight::piloting::Piloting,
    replication::{
        clock::ClientClock,
        interpolation::{Interpolation, Track},
        remote_entities::{Member, RemoteEntities},
    },
    session::{
        link::{Session, SessionState},
        stats::PlayStats,
    },
    view::{BeamShown, Dock, HitEffect, LinkQuality, MiningTarget, Other, OwnShip, WorldView},
    weapons::{
        arms::Arms,
        beams::{BEAM_SECONDS, BeamBook},
        shots::ShotBook,
    },
};
use bevy::{
    ecs::system::{Local, Res, ResMut},
    math::DVec2,
};
use naia_bevy_client::{Client, DefaultClientTag};
use sidereal_protocol::{
    packets::motion::EngineGlow,
    record::EntityKind,
    rules::{
        economy::{DOCKING_RANGE, DOCKING_SPEED},
        flight::{Controls, FlightState, MAX_SPEED},
        shot::{Beam, ShotId},
        tool::Tool,
    },
    world::{ids::NetId, sector::SectorId, tick::TICK_SECONDS},
};
use std::sync::Arc;

/// The largest distance between a drawn shooter and the start of its beam, units: at the highest speed for as long as a
/// beam is shown.
const BEAM_DRIFT_UNITS: f64 = MAX_SPEED * BEAM_SECONDS;

/// The most that a missile is drawn ahead of its received states, ticks: enough for one that is sent in every third
/// tick.
const MISSILE_AHEAD_TICKS: f64 = 1.5;

/// Writes the view.
pub(crate) fn compose_view(
    client: Client<DefaultClientTag>,
    clock: Res<ClientClock>,
    session: Res<Session>,
    state: Res<SessionState>,
    interpolation: Res<Interpolation>,
    piloting: Res<Piloting>,
    remote_entities: Res<RemoteEntities>,
    arms: Res<Arms>,
    mut shots: ResMut<ShotBook>,
    mut beams: ResMut<BeamBook>,
    mut stats: ResMut<PlayStats>,
    mut view: ResMut<WorldView>,
    mut seen_revision: Local<u64>,
) {
    let view = &mut *view;
    view.time_s = clock.now_s;
    view.age(clock.delta_s);
    view.play_tick = interpolation.clock.play();
    view.own_tick = piloting.moment().1.max(view.play_tick);
    if state.is_over() {
        view.own = None;
        view.others.clear();
        view.shots.clear();
        view.beams.clear();
        view.players_near = 0;
        view.trades.clear();
        (view.purse, view.mining, view.dock) = (None, None, Dock::Away);
        return;
    }
    view.own = own_ship(&piloting, &remote_entities);
    if let Some(own) = &view.own {
        view.focus = own.state.position;
        view.sector = SectorId::containing(view.focus);
    }
    compose_others(view, &interpolation, &remote_entities, piloting.own_net_id(), clock.now_s, &mut seen_revision);
    view.dock = dock(view, &remote_entities);
    view.mining = mining_target(view, &piloting);
    compose_shots(view, &mut shots, &piloting, clock.delta_s);
    compose_beams(view, &mut beams, piloting.own_net_id(), clock.delta_s);
    view.arms = arms.readiness(view.own_tick);
    let traffic = session.handle().stats();
    let received = traffic.lane_bytes_received + traffic.naia_bytes_received;
    stats.record_bytes(received, traffic.lane_bytes_sent + traffic.naia_bytes_sent, clock.now_s);
    stats.record_extrapolation(interpolation.extrapolated(), clock.delta_s);
    view.link = LinkQuality {
        ping_ms: f64::from(client.rtt()) * 1000.0,
        jitter_ms: f64::from(client.jitter()) * 1000.0,
        arrival_jitter_ticks: interpolation.clock.jitter_ticks(),
        loss: stats.loss(),
        bytes_per_s: stats.bytes_per_s(),
        bytes_sent_per_s: stats.bytes_sent_per_s(),
        extrapolated: stats.extrapolated(),
        interpolation_delay_ticks: interpolation.clock.delay_ticks(),
        input_delay_ticks: piloting.prediction().map_or(0, |prediction| prediction.input_delay_ticks()),
        unacknowledged_inputs: piloting.queue.len(),
        corrections_per_min: stats.recent_corrections() as f64,
        correction_units: stats.recent_correction_units(),
    };
}

fn own_ship(piloting: &Piloting, remote_entities: &RemoteEntities) -> Option<OwnShip> {
    let prediction = piloting.prediction()?;
    let net_id = piloting.own_net_id()?;
    let id = piloting.own_id()?;
    let member = remote_entities.get(net_id);
    let held = piloting.held;
    Some(OwnShip {
        net_id,
        id,
        state: prediction.drawn(piloting.moment().0, held),
        confirmed: prediction.confirmed().state,
        glow: EngineGlow {
            thrust: held.thrust > 0,
            boost: held.thrust > 0 && held.holds(Controls::BOOST),
            tractor: Tool::TractorBeam.is_held(held) && !piloting.is_moored(),
            ..EngineGlow::default()
        },
        hull_kind: piloting.hull(),
        hull: member.map_or(0, |member| member.hull),
        hull_max: member.map_or(0, |member| member.hull_max),
        radius: member.map_or(prediction.spec().radius, |member| member.radius),
        name: member.map_or_else(|| Arc::from(""), |member| member.name.clone()),
        stalled: prediction.is_stalled(),
    })
}

fn compose_others(
    view: &mut WorldView,
    interpolation: &Interpolation,
    remote_entities: &RemoteEntities,
    own: Option<NetId>,
    now_s: f64,
    seen_revision: &mut u64,
) {
    let revised = *seen_revision != remote_entities.revision();
    *seen_revision = remote_entities.revision();
    view.players_near = 0;
    if revised {
        view.others.retain(|id, _| remote_entities.get(*id).is_some());
    }
    for (net_id, member) in remote_entities.iter() {
        if own == Some(net_id) || remote_entities.is_spent(net_id) {
            view.others.remove(&net_id);
            continue;
        }
        let Some(drawn) = interpolation.drawn(net_id, now_s) else {
            view.others.remove(&net_id);
            continue;
        };
        let other = view.others.entry(net_id).or_insert_with(|| introduce(net_id, member));
        if other.id != member.id {
            *other = introduce(net_id, member);
        }
        other.state = match member.kind {
            EntityKind::Missile => not_past_its_end(interpolation, net_id, drawn.state),
            _ => drawn.state,
        };
        other.glow = drawn.glow;
        other.silent_s = drawn.silent_s;
        (other.hull, other.hull_max, other.ore) = (member.hull, member.hull_max, member.ore);
        (other.hull_kind, other.radius) = (member.hull_kind, member.radius);
        view.players_near += usize::from(other.is_player());
    }
}

/// A missile without new states has most likely ended: it is not drawn beyond that point, through what it has hit.
fn not_past_its_end(interpolation: &Interpolation, net_id: NetId, drawn: FlightState) -> FlightState {
    let Some((tick, latest)) = interpolation.track(net_id).map(Track::latest) else { return drawn };
    let ahead = interpolation.clock.play() - tick.0 as f64;
    if ahead > MISSILE_AHEAD_TICKS { latest.coast(MISSILE_AHEAD_TICKS * TICK_SECONDS) } else { drawn }
}

fn introduce(net_id: NetId, member: &Member) -> Other {
    Other {
        net_id,
        id: member.id,
        kind: member.kind,
        hull_kind: member.hull_kind,
        name: member.name.clone(),
        owner: member.owner,
        state: Default::default(),
        glow: EngineGlow::default(),
        hull: member.hull,
        hull_max: member.hull_max,
        ore: member.ore,
        radius: member.radius,
        silent_s: 0.0,
    }
}

/// The station where the ship is docked, or the nearest one where it could dock.
fn dock(view: &WorldView, remote_entities: &RemoteEntities) -> Dock {
    let Some(own) = &view.own else { return Dock::Away };
    if let Some(station) = view.purse.and_then(|purse| purse.docked) {
        let name = remote_entities.get(station).map_or_else(|| Arc::from(""), |member| member.name.clone());
        return Dock::Docked { station, name };
    }
    let edge = |station: &Other| station.state.position.distance(own.state.position) - station.radius;
    let nearest = view
        .others
        .values()
        .filter(|other| other.kind == EntityKind::Station)
        .map(|station| (edge(station), station))
        .filter(|(edge, _)| *edge <= DOCKING_RANGE)
        .min_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, station)) => Dock::InReach {
            station: station.net_id,
            name: station.name.clone(),
            too_fast: own.state.velocity.length() > DOCKING_SPEED,
        },
        None => Dock::Away,
    }
}

fn mining_target(view: &WorldView, piloting: &Piloting) -> Option<MiningTarget> {
    let own = view.own.as_ref()?;
    if piloting.is_moored() {
        return None;
    }
    let rock = mining::target(&own.state, view.others.values())?.net_id;
    let has_room = view.purse.is_none_or(|purse| purse.room() > 0);
    Some(MiningTarget { rock, works: has_room && Tool::MiningLaser.is_held(piloting.held) })
}

fn compose_shots(view: &mut WorldView, shots: &mut ShotBook, piloting: &Piloting, delta_s: f64) {
    let (play, own_tick, own) = (view.play_tick, view.own_tick, piloting.own_net_id());
    for hit in shots.advance(play, own_tick, delta_s) {
        view.add_hit(hit_effect(hit.id, hit.target, hit.position, own));
    }
    view.shots.clear();
    view.shots.extend(shots.drawn(play, own_tick));
    if let Some(own) = &view.own {
        let drawn = (&own.state, muzzle(&own.state, own.radius));
        view.shots.extend(shots.at_muzzle(own.net_id, own_tick, piloting.fires_at(), drawn));
    }
}

/// Where bullets and beams start from a ship, world units.
fn muzzle(state: &FlightState, radius: f64) -> DVec2 {
    state.position + state.heading() * radius
}

fn hit_effect(id: ShotId, target: NetId, position: DVec2, own: Option<NetId>) -> HitEffect {
    HitEffect { id, target, position, by_own: own == Some(id.shooter), on_own: own == Some(target), age_s: 0.0 }
}

fn compose_beams(view: &mut WorldView, beams: &mut BeamBook, own: Option<NetId>, delta_s: f64) {
    for beam in beams.advance(view.play_tick, view.own_tick, delta_s) {
        if let Some(target) = beam.target {
            view.add_hit(hit_effect(beam.id, target, beam.end, own));
        }
    }
    view.beams.clear();
    for shown in beams.drawn() {
        let beam = Beam { origin: beam_origin(view, &shown), ..shown.beam };
        view.beams.push(BeamShown { beam, ..shown });
    }
}

/// A beam starts at its shooter as drawn, as long as it is shown: the ship flies on meanwhile.
fn beam_origin(view: &WorldView, shown: &BeamShown) -> DVec2 {
    let told = shown.beam.origin;
    let shooter = match (&view.own, view.others.get(&shown.beam.id.shooter)) {
        (Some(own), _) if shown.own => (own.state, own.radius),
        (_, Some(other)) => (other.state, other.radius),
        _ => return told,
    };
    let (state, radius) = shooter;
    let muzzle = muzzle(&state, radius);
    // Further away than it can have flown meanwhile: another ship, or one that was moved.
    if muzzle.distance(told) > BEAM_DRIFT_UNITS { told } else { muzzle }
}
