//! Beams: judged at once, against what the pilot saw.
//!
//! Runs in the shard. A pilot sees others in the past, and a beam does not fly: without a rewind it would miss every
//! body that moves. So bodies are rewound to the moment that the pilot's client drew ([`crate::bodies::past`]), as far
//! as the pilot's link allows ([`allowed_rewind`]). The shooter fires from its present position, as its own client
//! draws it. Damage applies now. Only bodies stop a beam: a ship behind a rock is safe.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    bodies::{
        authority::Authority,
        body::{Body, Flight, View},
        grid::Nearby,
        parts::{AppRecordParts, RecordPart},
        past::Past,
        registry::Registry,
    },
    flight::inputs::PilotInput,
    handoff::machine::Handoffs,
    link::mailbox::Outbox,
    physics::damage::{self, Impacts},
    schedule::{SimStep, WeaponSystems},
    weapons::trigger,
};
use avian2d::prelude::RigidBody;
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause, ToServer},
    packets::precision::POSITION,
    record::{BeamReady, EntityKind, EntityRecord, Pilot, Section},
    rules::{
        flight::MAX_SPEED,
        shot::{BEAM_RANGE, Beam, MAX_REWIND_TICKS, SHOT_REPEATS, ShotId},
        tool::Tool,
    },
    world::{
        ids::NetId,
        sector::SectorId,
        tick::{SimTick, TICK_SECONDS},
    },
};

/// Adds beams.
pub(crate) struct BeamsPlugin;

impl Plugin for BeamsPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<BeamEmitter>()
            .init_resource::<Beams>()
            .add_systems(SimStep, fire_beams.in_set(WeaponSystems::Beams));
    }
}

/// Parts of a tick in which [`Pilot::rewind`] counts.
const QUARTERS: f64 = 4.0;

/// The beam of an own ship.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BeamEmitter {
    /// No beam before this tick.
    pub ready: SimTick,
}

impl RecordPart for BeamEmitter {
    const SECTION: Option<u16> = Some(BeamReady::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        Tool::Beam.is_carried_by(record.kind).then_some(Self { ready: record.get::<BeamReady>().unwrap_or_default().0 })
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(BeamReady(self.ready));
    }
}

/// Beams that are being sent to subscribers.
#[derive(Resource, Debug, Default)]
pub struct Beams(Vec<(SimTick, SectorId, Beam)>);

impl Beams {
    /// Beams to send, with their sectors.
    pub fn to_send(&self) -> impl Iterator<Item = (SectorId, Beam)> + '_ {
        self.0.iter().map(|(_, sector, beam)| (*sector, *beam))
    }
}

/// How far back a pilot's beams may be judged, ticks: by the server's measure of the link ([`Pilot::rewind`]), at most
/// [`MAX_REWIND_TICKS`].
pub fn allowed_rewind(pilot: &Pilot) -> f64 {
    (f64::from(pilot.rewind) / QUARTERS).min(MAX_REWIND_TICKS)
}

/// The moment at which a beam is judged at `now`: the one that its pilot reports, but not in the future and not more
/// than `rewind` ticks ago.
pub fn judged_at(seen: f64, rewind: f64, now: SimTick) -> f64 {
    let now = now.0 as f64;
    // A moment that is not a number counts as the present.
    if seen.is_nan() { now } else { seen.clamp(now - rewind, now) }
}

/// A beam before it hits anything, in the precision of its packet, so that it is drawn as it is judged.
#[derive(Debug, Clone, Copy)]
struct Ray {
    origin: DVec2,
    reach: DVec2,
}

impl Ray {
    fn new(sector: SectorId, origin: DVec2, heading: DVec2) -> Self {
        let base = sector.origin();
        Self { origin: base + packed(origin - base), reach: packed(heading * BEAM_RANGE) }
    }

    /// The share of the ray, 0 to 1, at which it first meets the circle.
    fn meets(&self, center: DVec2, radius: f64) -> Option<f64> {
        let start = self.origin - center;
        let c = start.length_squared() - radius * radius;
        if c <= 0.0 {
            return Some(0.0);
        }
        // |start + s·reach|² = radius², the smaller s in [0, 1].
        let a = self.reach.length_squared();
        let b = start.dot(self.reach);
        let discriminant = b * b - a * c;
        if b >= 0.0 || discriminant < 0.0 {
            return None;
        }
        let share = (-b - discriminant.sqrt()) / a;
        (share <= 1.0).then_some(share)
    }
}

fn packed(vector: DVec2) -> DVec2 {
    DVec2::new(POSITION.unpack(POSITION.pack(vector.x)), POSITION.unpack(POSITION.pack(vector.y)))
}

/// How much further than the beam reaches a body that was in reach may be now, units: its own motion in the meantime,
/// plus a second for extrapolated ghosts.
const REWIND_REACH: f64 = MAX_SPEED * (MAX_REWIND_TICKS * TICK_SECONDS + 1.0);

/// Fires for each pilot whose due input has the beam's button, if the emitter is ready.
pub(crate) fn fire_beams(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    handoffs: Res<Handoffs>,
    mut beams: ResMut<Beams>,
    mut impacts: ResMut<Impacts>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut shooters: Query<(&Body, &Flight, &View, &Authority, &PilotInput, &mut BeamEmitter)>,
    bodies: Query<(&Body, &Flight, &Past, Has<Authority>, Has<RigidBody>)>,
    mut nearby: Nearby,
) {
    let now = clock.tick;
    beams.0.retain(|(since, _, _)| now.since(*since) < SHOT_REPEATS);
    for entity in registry.carrying(Tool::Beam) {
        let Ok((shooter, flight, view, authority, input, mut emitter)) = shooters.get_mut(entity) else { continue };
        let _at = suspect::at(shooter.id);
        let Some(seen) = view.0 else { continue };
        if now < emitter.ready || !trigger::is_free(shooter, authority, &handoffs) {
            continue;
        }
        emitter.ready = trigger::ready_after(Tool::Beam, shooter, now);
        totals.beams += 1;
        let heading = flight.0.heading();
        let ray = Ray::new(authority.sector, flight.0.position + heading * shooter.radius, heading);
        let rewind = allowed_rewind(&input.pilot);
        let moment = judged_at(seen, rewind, now);
        let mut first: Option<(f64, NetId, &Body, bool)> = None;
        let (from, to) = (ray.origin, ray.origin + ray.reach);
        let near = nearby.prepare(now, &registry).within(from.min(to) - REWIND_REACH, from.max(to) + REWIND_REACH);
        for (body, flight, past, own, rigid) in near.into_iter().filter_map(|entity| bodies.get(entity).ok()) {
            let reach = BEAM_RANGE + body.radius + REWIND_REACH;
            // A missile that was launched later was not there yet.
            let unborn = body.kind == EntityKind::Missile && !past.reaches(moment);
            // Crates and docked ships have no part in collisions, and none here.
            let passed = !rigid && body.kind != EntityKind::Missile;
            if body.id == shooter.id
                || unborn
                || passed
                || flight.0.position.distance_squared(ray.origin) > reach * reach
            {
                continue;
            }
            let then = past.position_at(moment).unwrap_or(flight.0.position);
            if let Some(share) = ray.meets(then, body.radius)
                && first.is_none_or(|(nearest, net_id, ..)| (share, body.net_id) < (nearest, net_id))
            {
                first = Some((share, body.net_id, body, own));
            }
        }
        let id = ShotId { shooter: shooter.net_id, tick: now };
        let end = ray.origin + packed(ray.reach * first.map_or(1.0, |(share, ..)| share));
        let target = first.map(|(_, net_id, ..)| net_id);
        beams.0.push((now, authority.sector, Beam { id, origin: ray.origin, end, target }));
        let Some((_, _, target, own)) = first else { continue };
        let impact = GhostImpact {
            target: target.id,
            source: Some(shooter.id),
            cause: ImpactCause::Beam(id),
            impulse: DVec2::ZERO,
            damage: Tool::Beam.damage(shooter.fitted),
            tick: now,
        };
        damage::hit(impact, own, &mut impacts, &mut totals, &mut outbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_held_between_the_bound_and_the_present() {
        let now = SimTick(1000);
        for rewind in [MAX_REWIND_TICKS, 5.25] {
            assert_eq!(judged_at(996.25, rewind, now), 996.25);
            assert_eq!(judged_at(1000.0 - 400.0 / 33.0, rewind, now), 1000.0 - rewind);
            assert_eq!(judged_at(-5.0, rewind, now), 1000.0 - rewind);
            for absurd in [1000.25, 5000.0, f64::INFINITY, f64::NAN] {
                assert_eq!(judged_at(absurd, rewind, now), 1000.0);
            }
        }
    }

    #[test]
    fn what_the_server_allows_counts_up_to_the_bound() {
        for (rewind, ticks) in [(0, 0.0), (21, 5.25), (30, MAX_REWIND_TICKS), (255, MAX_REWIND_TICKS)] {
            assert_eq!(allowed_rewind(&Pilot::aboard(1, rewind)), ticks);
        }
    }

    #[test]
    fn a_ray_meets_the_near_side_of_what_is_in_reach_ahead() {
        let ray = Ray::new(SectorId::new(0, 0), DVec2::new(100.0, 500.0), DVec2::X);
        let share = ray.meets(DVec2::new(310.0, 500.0), 10.0).expect("ahead");
        assert!((share * BEAM_RANGE - 200.0).abs() < 0.1, "{share}");
        assert_eq!(ray.meets(DVec2::new(50.0, 500.0), 10.0), None, "behind");
        assert_eq!(ray.meets(DVec2::new(300.0, 511.0), 10.0), None, "beside");
        assert_eq!(ray.meets(DVec2::new(511.0, 500.0), 10.0), None, "too far");
        assert_eq!(ray.meets(DVec2::new(95.0, 500.0), 10.0), Some(0.0), "at the nose");
    }
}
