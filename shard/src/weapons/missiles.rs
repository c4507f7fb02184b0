//! Missiles: launched at a target ahead, they steer to it, and end where they hit something.
//!
//! Runs in the shard. A missile is an entity: it has a record, crosses borders by the ordinary handoff, and continues
//! to its target there, an own body or a ghost. It uses the flight model like a ship, with controls of its own, and has
//! no part in collisions: each tick its path is tested against the bodies, like a shot's. Only its authority judges it,
//! and not while it is leaving: the next owner continues where this one stopped.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    authority::leases::{NetIds, Welcomed},
    bodies::{
        authority::Authority,
        body::{Body, Flight, Helm},
        grid::Nearby,
        parts::{AppRecordParts, RecordPart},
        registry::Registry,
        spawn,
    },
    economy::spawner,
    flight::drones::turn_to,
    handoff::machine::Handoffs,
    link::mailbox::Outbox,
    physics::damage::{self, Impacts},
    schedule::{HelmSystems, SimStep, WeaponSystems},
    weapons::{
        field::{Candidate, Field, Target},
        shot_path::Leg,
        trigger,
        warhead::Missile,
    },
};
use bevy::prelude::*;
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause, ToServer},
    record::{EntityKind, EntityRecord, LauncherReady, Section, SettledAt, Structure, Warhead},
    rules::{
        flight::{self, Controls, FlightState, HullKind, HullSpec, wrap_angle},
        shot::{MISSILE_CONE, MISSILE_LIFE_TICKS, MISSILE_SIGHT, Shot, ShotId},
        tool::Tool,
    },
    world::{
        ids::{EntityId, NetId},
        sector::SectorId,
        tick::{SimTick, TICK_SECONDS},
    },
};

/// Adds missiles.
pub(crate) struct MissilesPlugin;

impl Plugin for MissilesPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<Launcher>().add_record_part::<Missile>().add_systems(
            SimStep,
            (
                steer_missiles.in_set(HelmSystems::Missiles),
                launch_missiles.in_set(WeaponSystems::Launch),
                judge_missiles.in_set(WeaponSystems::JudgeMissiles),
            ),
        );
    }
}

/// Speed of a missile relative to its ship at the launch, units/s.
const LAUNCH_SPEED: f64 = 100.0;

/// Navigation constant: how much faster than the line of sight a missile turns its course. Between 3 and 5 is usual;
/// higher values waste the engine on every turn of the target.
const NAVIGATION: f64 = 3.5;

/// Least closing speed in the computation, units/s: a slow missile still accelerates.
const LEAST_CLOSING: f64 = 150.0;

/// Largest share of the engine that pushes sideways.
const MOST_SIDEWAYS: f64 = 0.95;

/// Limit of the path that is judged late, ticks: as long as a handoff may take. An older record is of a missile that no
/// shard simulated for a while.
const MAX_UNJUDGED_TICKS: u64 = 30;

/// The launcher of an own ship.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Launcher {
    /// No missile before this tick.
    pub ready: SimTick,
}

impl RecordPart for Launcher {
    const SECTION: Option<u16> = Some(LauncherReady::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        Tool::Launcher
            .is_carried_by(record.kind)
            .then_some(Self { ready: record.get::<LauncherReady>().unwrap_or_default().0 })
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(LauncherReady(self.ready));
    }
}

/// Launches for each pilot whose button is held, if the launcher is ready.
pub(crate) fn launch_missiles(
    clock: Res<SimClock>,
    welcomed: Option<Res<Welcomed>>,
    handoffs: Res<Handoffs>,
    mut net_ids: ResMut<NetIds>,
    mut registry: ResMut<Registry>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut shooters: Query<(&Body, &Flight, &Helm, &Authority, &mut Launcher)>,
    bodies: Query<(&Body, &Flight)>,
    mut nearby: Nearby,
    mut commands: Commands,
) {
    let now = clock.tick;
    let Some(welcomed) = welcomed else { return };
    let launches = |entity: &Entity| {
        shooters.get(*entity).is_ok_and(|(shooter, _, helm, authority, launcher)| {
            now >= launcher.ready && trigger::is_used(Tool::Launcher, shooter, helm, authority, &handoffs)
        })
    };
    let launching: Vec<Entity> = registry.carrying(Tool::Launcher).filter(launches).collect();
    if launching.is_empty() {
        return;
    }
    let grid = nearby.prepare(now, &registry);
    for entity in launching {
        let Ok((shooter, flight, _, authority, mut launcher)) = shooters.get_mut(entity) else { continue };
        let _at = suspect::at(shooter.id);
        let Some(net_id) = net_ids.take() else { continue };
        launcher.ready = trigger::ready_after(Tool::Launcher, shooter, now);
        let near = grid.around(flight.0.position, MISSILE_SIGHT);
        let others = near.into_iter().filter_map(|entity| bodies.get(entity).ok());
        let target = find_target(shooter.id, &flight.0, others);
        let warhead = Warhead { shooter: shooter.id, target, expires: now + MISSILE_LIFE_TICKS };
        let seed = spawner::mixed(welcomed.id_seed, u64::from(shooter.net_id.0), now, 1);
        let id = spawner::new_id(now, &mut Pcg64Mcg::new(seed));
        let record = missile(id, net_id, warhead, &flight.0, shooter.radius, authority.sector, now);
        outbox.push(ToServer::Record(Box::new(record.clone())));
        spawn::spawn_new(&mut commands, &mut registry, record);
        totals.missiles += 1;
    }
}

/// The target of a missile of `shooter`: of the bodies in range the one nearest to its heading. At the same angle the
/// first in `others`.
fn find_target<'a>(
    shooter: EntityId,
    state: &FlightState,
    others: impl Iterator<Item = (&'a Body, &'a Flight)>,
) -> Option<EntityId> {
    others
        .filter(|(body, _)| body.kind.spec().is_target && body.id != shooter)
        .filter_map(|(body, flight)| {
            let towards = flight.0.position - state.position;
            let off = wrap_angle(towards.to_angle() - state.angle).abs();
            (towards.length() <= MISSILE_SIGHT && off <= MISSILE_CONE).then_some((off, body.id))
        })
        .min_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, id)| id)
}

fn missile(
    id: EntityId,
    net_id: NetId,
    warhead: Warhead,
    ship: &FlightState,
    ship_radius: f64,
    sector: SectorId,
    now: SimTick,
) -> EntityRecord {
    let spec = HullKind::Missile.spec();
    let heading = ship.heading();
    let position = ship.position + heading * (ship_radius + spec.radius);
    EntityRecord {
        net_id,
        epoch: 1,
        version: 1,
        sector,
        state: FlightState {
            position,
            velocity: ship.velocity + heading * LAUNCH_SPEED,
            angle: ship.angle,
            angular_velocity: 0.0,
        },
        ..EntityRecord::at_rest(id, EntityKind::Missile, position, now)
    }
    .with(Structure::whole(spec.radius, spec.hull))
    .with(SettledAt(now))
    .with(warhead)
}

/// Sets the controls of every own missile.
pub(crate) fn steer_missiles(
    registry: Res<Registry>,
    seen: Query<&Flight>,
    mut missiles: Query<(&Body, &Flight, &Missile, &mut Helm)>,
) {
    for (body, flight, missile, mut helm) in &mut missiles {
        let _at = suspect::at(body.id);
        let Some(spec) = body.spec() else { continue };
        let target = missile.warhead.target.and_then(|id| registry.get(id)).and_then(|entity| seen.get(entity).ok());
        helm.0 = guide(&flight.0, &spec, target.map(|target| &target.0));
    }
}

/// Advances a missile that arrived by a handoff from `since`, the tick of its record, to `now`, with the steering of
/// those ticks: towards the positions of its target then.
pub(crate) fn catch_up(world: &mut World, entity: Entity, since: SimTick, now: SimTick) {
    let spec = world.get::<Body>(entity).and_then(Body::spec);
    let (Some(spec), Some(missile)) = (spec, world.get::<Missile>(entity)) else { return };
    let target = missile.warhead.target.and_then(|id| world.resource::<Registry>().get(id));
    let target = target.and_then(|entity| world.get::<Flight>(entity)).map(|flight| flight.0);
    let Some(mut flight) = world.get_mut::<Flight>(entity) else { return };
    for tick in since.0..now.0 {
        let then = target.map(|target| target.coast((now.0 - tick) as f64 * -TICK_SECONDS));
        flight.0 = flight::step(&flight.0, guide(&flight.0, &spec, then.as_ref()), &spec);
    }
}

/// The controls of a missile: proportional navigation. It turns its course faster than the line of sight turns, so that
/// the target keeps its bearing and only gets nearer. Without a target it flies straight on.
fn guide(state: &FlightState, spec: &HullSpec, target: Option<&FlightState>) -> Controls {
    let ahead = Controls { thrust: 127, turn: 0, buttons: 0 };
    let Some(target) = target else { return ahead };
    let to = target.position - state.position;
    let distance = to.length().max(1.0);
    let sight = to.normalize_or(state.heading());
    let relative = target.velocity - state.velocity;
    let closing = (-relative.dot(sight)).max(LEAST_CLOSING);
    let sight_turn = sight.perp_dot(relative) / distance;
    // The engine also has to push sideways: the rest of it pushes ahead.
    let most = spec.acceleration * MOST_SIDEWAYS;
    let sideways = (NAVIGATION * closing * sight_turn).clamp(-most, most);
    let along = (spec.acceleration.powi(2) - sideways.powi(2)).sqrt();
    let push = sight * along + sight.perp() * sideways;
    let (turn, _) = turn_to(state, spec, state.position + push);
    Controls { turn, ..ahead }
}

/// Tests every missile's path since it was last judged against the bodies, and ends missiles whose time is over.
pub(crate) fn judge_missiles(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    handoffs: Res<Handoffs>,
    mut impacts: ResMut<Impacts>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    ways: Query<(&Body, &Flight, &Authority), With<Missile>>,
    mut bodies: ParamSet<(Query<Candidate>, Query<&mut Missile>)>,
    mut nearby: Nearby,
) {
    let now = clock.tick;
    let mut judged = Vec::new();
    let own: Vec<Entity> = registry
        .of(|kind| kind == EntityKind::Missile)
        .filter(|&entity| ways.get(entity).is_ok_and(|(body, ..)| !handoffs.is_leaving(body.id)))
        .collect();
    if own.is_empty() {
        return;
    }
    {
        let launcher = Tool::Launcher.spec();
        let missiles = bodies.p1();
        let known: Vec<(Entity, Missile)> =
            own.iter().filter_map(|&entity| Some((entity, *missiles.get(entity).ok()?))).collect();
        let bodies = bodies.p0();
        let field = Field::new(nearby.prepare(now, &registry), &bodies, now);
        for (entity, Missile { warhead, judged: until }) in known {
            let Ok((body, flight, authority)) = ways.get(entity) else { continue };
            let _at = suspect::at(body.id);
            let (leg, way) = unjudged(body.net_id, &flight.0, authority.sector, until, now);
            judged.push((entity, flight.0.position));
            let spares =
                |target: &Target| target.is_passed() || target.is_missile() || target.body.id == warhead.shooter;
            let hit = leg.and_then(|leg| field.first_hit(&way, &leg, body.radius, spares));
            if let Some((_, target)) = hit {
                let impact = GhostImpact {
                    target: target.body.id,
                    source: Some(warhead.shooter),
                    cause: ImpactCause::Missile(body.id),
                    impulse: flight.0.velocity * launcher.push,
                    damage: launcher.damage,
                    tick: now,
                };
                damage::hit(impact, target.own, &mut impacts, &mut totals, &mut outbox);
            }
            if hit.is_some() || now >= warhead.expires {
                impacts.push(end(body, now));
            }
        }
    }
    let mut missiles = bodies.p1();
    for (entity, position) in judged {
        if let Ok(mut missile) = missiles.get_mut(entity) {
            missile.judged = (now, position);
        }
    }
}

/// The end of a missile: an impact on itself that destroys it.
fn end(body: &Body, now: SimTick) -> GhostImpact {
    let cause = ImpactCause::Missile(body.id);
    GhostImpact { target: body.id, source: None, cause, impulse: DVec2::ZERO, damage: body.hull, tick: now }
}

/// The part of a missile's path that is still to be judged, as a straight line; `None` if there is none.
fn unjudged(
    net_id: NetId,
    state: &FlightState,
    sector: SectorId,
    (since, from): (SimTick, DVec2),
    now: SimTick,
) -> (Option<Leg>, Shot) {
    let id = ShotId { shooter: net_id, tick: now };
    let mut way = Shot { id, sector, origin: state.position, velocity: state.velocity };
    let ticks = now.since(since);
    if ticks == 0 {
        return (None, way);
    }
    let mut ticks = ticks;
    if ticks > 1 && ticks <= MAX_UNJUDGED_TICKS {
        way.velocity = (state.position - from) / (ticks as f64 * TICK_SECONDS);
    } else {
        // Its position a tick ago: a missile moves by its velocity after the velocity has changed.
        ticks = 1;
    }
    (Some(Leg { sector, from: (now.0 - ticks) as f64, to: now.0 as f64 }), way)
}
