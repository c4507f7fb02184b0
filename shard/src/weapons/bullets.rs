//! Bullets: firing, and hits.
//!
//! Runs in the shard. Shots are paths, not entities. Each tick the next part of every path is tested against all
//! bodies, own ones and ghosts, in their motion within the tick. The shard that holds a sector judges the path in it,
//! from edge to edge: a shot that leaves this shard's sectors is passed on, once, and no part of a path is judged
//! twice.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    authority::leases::Leases,
    bodies::{
        authority::Authority,
        body::{Body, Flight, Helm},
        grid::Nearby,
        parts::{AppRecordParts, RecordPart},
        registry::Registry,
    },
    handoff::machine::Handoffs,
    link::mailbox::Outbox,
    physics::damage::{self, Impacts},
    schedule::{SimStep, WeaponSystems},
    weapons::{
        field::{Candidate, Field, Target},
        shot_path, trigger,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{
    frames::control::{GhostImpact, ImpactCause, ToServer},
    packets::precision::POSITION,
    record::{EntityRecord, GunReady, Section},
    rules::{
        flight::{Controls, FlightState, MAX_SPEED},
        shot::{BULLET_LIFE_TICKS, BULLET_SPEED, SHOT_REPEATS, Shot, ShotHit, ShotId},
        tool::Tool,
    },
    world::{sector::SectorId, tick::SimTick},
};
use std::collections::BTreeMap;

/// Adds bullets.
pub(crate) struct BulletsPlugin;

impl Plugin for BulletsPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<Gun>().init_resource::<Shots>().add_systems(
            SimStep,
            (fire_weapons.in_set(WeaponSystems::Fire), judge_shots.in_set(WeaponSystems::JudgeShots)),
        );
    }
}

/// Limit of shots in flight. 300 ships that all hold the trigger have some 2,300; beyond the limit new ones are dropped
/// and counted.
pub const MAX_SHOTS_IN_FLIGHT: usize = 8192;

/// The gun of an own ship or drone.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gun {
    /// No shot before this tick.
    pub ready: SimTick,
}

impl RecordPart for Gun {
    const SECTION: Option<u16> = Some(GunReady::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        Tool::Gun.is_carried_by(record.kind).then_some(Self { ready: record.get::<GunReady>().unwrap_or_default().0 })
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(GunReady(self.ready));
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct InFlight {
    shot: Shot,
    judged_until: f64,
}

/// Shots whose path is in this shard's sectors, and shots and hits that are being sent.
#[derive(Resource, Debug, Default)]
pub struct Shots {
    in_flight: BTreeMap<ShotId, InFlight>,
    /// Until when the path of a shot that was passed on is judged, in case it comes back.
    passed_on: BTreeMap<ShotId, f64>,
    told: Vec<(SimTick, Shot)>,
    hits: Vec<(SimTick, SectorId, ShotHit)>,
}

impl Shots {
    /// Accepts a shot that a neighbour passed on, from where its path first enters `leases`.
    pub fn receive(&mut self, shot: Shot, leases: &Leases, now: SimTick, totals: &mut Totals) {
        let end = shot_path::end_of_life(&shot);
        let sane = shot.origin.is_finite()
            && shot.velocity.is_finite()
            && shot.velocity.abs().max_element() <= 2.0 * MAX_SPEED
            && !shot.is_spent(now)
            && shot.id.tick.since(now) <= SHOT_FUTURE_TICKS;
        if !sane || self.in_flight.contains_key(&shot.id) {
            totals.shots_refused += 1;
            return;
        }
        let from = self.passed_on.get(&shot.id).copied().unwrap_or(shot.id.tick.0 as f64);
        let entry = shot_path::legs(&shot, from, end).find(|leg| leases.holds(leg.sector));
        if let Some(entry) = entry {
            self.tell(shot, entry.sector, now);
            self.launch(shot, entry.from, totals);
        }
    }

    /// Accepts a shot that was fired here: sent from `now` on, judged from when it was fired.
    pub(crate) fn fire(&mut self, shot: Shot, now: SimTick, totals: &mut Totals) {
        self.tell(shot, shot.sector, now);
        self.launch(shot, shot.id.tick.0 as f64, totals);
        totals.shots += 1;
    }

    fn launch(&mut self, shot: Shot, judged_until: f64, totals: &mut Totals) {
        if self.in_flight.len() >= MAX_SHOTS_IN_FLIGHT {
            totals.shots_refused += 1;
            return;
        }
        self.in_flight.insert(shot.id, InFlight { shot, judged_until });
    }

    /// Sends the shot to the subscribers of `sector`, if its packet can hold the origin.
    fn tell(&mut self, shot: Shot, sector: SectorId, now: SimTick) {
        let local = shot.origin - sector.origin();
        let inside =
            [local.x, local.y].into_iter().all(|along| (POSITION.unpack(POSITION.pack(along)) - along).abs() < 1.0);
        if inside {
            self.told.push((now, Shot { sector, ..shot }));
        }
    }

    /// Shots to send, each with the sector whose subscribers get it.
    pub fn to_send(&self) -> impl Iterator<Item = Shot> + '_ {
        self.told.iter().map(|(_, shot)| *shot)
    }

    /// Hits to send, with their sectors.
    pub fn hits(&self) -> impl Iterator<Item = (SectorId, ShotHit)> + '_ {
        self.hits.iter().map(|(_, sector, hit)| (*sector, *hit))
    }

    /// The number of shots in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn forget_sent(&mut self, now: SimTick) {
        self.told.retain(|(since, _)| now.since(*since) < SHOT_REPEATS);
        self.hits.retain(|(since, _, _)| now.since(*since) < SHOT_REPEATS);
        self.passed_on.retain(|id, _| now.since(id.tick) <= BULLET_LIFE_TICKS);
    }
}

/// How far ahead of this shard a neighbour's shot may be, ticks: 1 s.
const SHOT_FUTURE_TICKS: u64 = 30;

/// Fires for every ship or drone that holds the trigger, if the gun is ready.
pub(crate) fn fire_weapons(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    handoffs: Res<Handoffs>,
    mut shots: ResMut<Shots>,
    mut totals: ResMut<Totals>,
    mut shooters: Query<(&Body, &Flight, &Helm, &Authority, &mut Gun)>,
) {
    let now = clock.tick;
    shots.forget_sent(now);
    for entity in registry.carrying(Tool::Gun) {
        let Ok((body, flight, helm, authority, mut gun)) = shooters.get_mut(entity) else { continue };
        let _at = suspect::at(body.id);
        if body.hull_kind.is_none() || now < gun.ready || !trigger::is_used(Tool::Gun, body, helm, authority, &handoffs)
        {
            continue;
        }
        shots.fire(bullet(body, &flight.0, &mut gun, authority.sector, now), now, &mut totals);
    }
}

/// A bullet from the nose of a ship at its state after `tick`; sets when its gun is ready again.
fn bullet(body: &Body, state: &FlightState, gun: &mut Gun, sector: SectorId, tick: SimTick) -> Shot {
    gun.ready = trigger::ready_after(Tool::Gun, body, tick);
    let heading = state.heading();
    let id = ShotId { shooter: body.net_id, tick };
    let nose = state.position + heading * body.radius;
    Shot::new(id, sector, nose, state.velocity + heading * BULLET_SPEED)
}

/// The bullet of a tick by which an adopted ship was advanced: no shard has fired for it in that tick.
pub(crate) fn fire_late(
    body: &Body,
    state: &FlightState,
    gun: &mut Gun,
    sector: SectorId,
    controls: Controls,
    tick: SimTick,
) -> Option<Shot> {
    let fires = body.hull_kind.is_some() && Tool::Gun.is_held(controls) && tick >= gun.ready;
    fires.then(|| bullet(body, state, gun, sector, tick))
}

/// Tests the next part of every path against the bodies.
pub(crate) fn judge_shots(
    clock: Res<SimClock>,
    leases: Res<Leases>,
    registry: Res<Registry>,
    mut shots: ResMut<Shots>,
    mut impacts: ResMut<Impacts>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    bodies: Query<Candidate>,
    mut nearby: Nearby,
) {
    if shots.in_flight.is_empty() {
        return;
    }
    let now = clock.tick;
    let field = Field::new(nearby.prepare(now, &registry), &bodies, now);
    let shooter_of = |shot: &Shot| {
        registry.by_net(shot.id.shooter).and_then(|entity| bodies.get(entity).ok()).map(|shooter| shooter.body.id)
    };
    let mut hits = Vec::new();
    let mut passed = Vec::new();
    let mut entered = Vec::new();
    let mut over = Vec::new();
    for (&id, flying) in &mut shots.in_flight {
        let shot = flying.shot;
        let end = shot_path::end_of_life(&shot);
        let until = (now.0 as f64).min(end);
        for leg in shot_path::legs(&shot, flying.judged_until, until) {
            if !leases.holds(leg.sector) {
                passed.push((leg.from, shot, leg.sector));
                over.push(id);
                break;
            }
            if leg.from > flying.judged_until {
                entered.push((shot, leg.sector));
            }
            // A ship cannot shoot down a missile that it has launched.
            let shooter = shooter_of(&shot);
            let spares = |target: &Target| {
                target.is_passed()
                    || target.body.net_id == shot.id.shooter
                    || shooter.is_some_and(|shooter| target.is_missile_of(shooter))
            };
            if let Some((time, target)) = field.first_hit(&shot, &leg, 0.0, spares) {
                hits.push((shot, leg.sector, shot.position_at(time), target));
                over.push(id);
                break;
            }
        }
        flying.judged_until = flying.judged_until.max(until);
        if until >= end {
            over.push(id);
        }
    }
    for id in over {
        shots.in_flight.remove(&id);
    }
    for (shot, sector) in entered {
        shots.tell(shot, sector, now);
    }
    for (time, shot, to) in passed {
        shots.passed_on.insert(shot.id, time);
        totals.shots_passed_on += 1;
        outbox.push(ToServer::Shot { shot, to });
    }
    let gun = Tool::Gun.spec();
    for (shot, sector, position, target) in hits {
        shots.hits.push((now, sector, ShotHit { id: shot.id, target: target.body.net_id, position }));
        let impact = GhostImpact {
            target: target.body.id,
            source: shooter_of(&shot),
            cause: ImpactCause::Bullet(shot.id),
            impulse: shot.velocity * gun.push,
            damage: gun.damage,
            tick: now,
        };
        damage::hit(impact, target.own, &mut impacts, &mut totals, &mut outbox);
    }
}
