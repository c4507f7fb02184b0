//! Ghosts: bodies of neighbours' entities, so that own ones can target, touch and hit them.
//!
//! Runs in the shard. The server announces them ([`GhostNews`]), their motion arrives in [`SectorUpdate`]s. A ghost is
//! extrapolated from the newest update to this shard's tick, for at most 0.5 s, at first along its last curve. It
//! collides with own bodies like any other body. The effect of a collision on a ghost stays until its authority has
//! applied it too.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    bodies::{
        body::{self, Body, Flight, Planned},
        past::Past,
        registry::Registry,
        spawn,
    },
    economy::cargo::Cargo,
    flight::motion::at_tick,
    link::mailbox::Inbox,
    physics::impacts::CONTACT_WINDOW_TICKS,
    schedule::{ControlSystems, SimStep, SimSystems},
};
use bevy::{math::DVec2, prelude::*};
use sidereal_protocol::{
    packets::{motion::SectorUpdate, precision::VELOCITY},
    rules::flight::{FlightState, HullKind, MAX_SPEED},
    world::{
        ids::{EntityId, NetId},
        tick::{SimTick, TICK_HZ, TICK_SECONDS},
    },
};
use std::collections::BTreeMap;

/// Adds ghosts: their announcements and their motion.
pub(crate) struct GhostsPlugin;

impl Plugin for GhostsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Announced>()
            .init_resource::<Inbox<GhostNews>>()
            .add_systems(Update, apply_ghost_news.in_set(ControlSystems::Ghosts))
            .add_systems(SimStep, follow_ghosts.in_set(SimSystems::Ghosts));
    }
}

/// How long a ghost without updates is extrapolated, ticks: 0.5 s. Then it stands still.
pub const MAX_EXTRAPOLATION_TICKS: u64 = TICK_HZ as u64 / 2;

/// How long a ghost is extrapolated along its curve, ticks: 0.2 s, a long delay between two shards. Later its pilot may
/// have changed course, so it continues straight.
const CURVE_TICKS: u64 = 6;

/// Updates that are further apart, ticks, give no curve.
const CURVE_GAP_TICKS: u64 = 3;

/// The highest acceleration by an engine, units/s². More comes from an impact, which is over.
const MAX_ACCELERATION: f64 = 450.0;

/// A ghost without updates for this long is removed, ticks: 3 s. The refresh sends each motion once a second.
pub const SILENCE_TICKS: u64 = 3 * TICK_HZ as u64;

/// How long a released body waits for its announcement by the server, ticks: 1 s.
pub const RELEASED_TICKS: u64 = TICK_HZ as u64;

/// How far the tick of an update may differ from this shard's, ticks: 5 s. Others are dropped: one from far ahead would
/// make all later ones stale.
const MAX_TICK_DIFFERENCE: u64 = 5 * TICK_HZ as u64;

/// Events of the lifecycle plane.
#[derive(Debug, Clone, PartialEq)]
pub enum GhostNews {
    /// The entity is in a neighbouring sector.
    Appeared(Box<Body>),
    /// Its hull points changed.
    Vitals {
        /// The entity.
        id: EntityId,
        /// Hull points left.
        hull: u16,
        /// Hull points when whole.
        hull_max: u16,
    },
    /// Its hull was exchanged.
    Refitted {
        /// The entity.
        id: EntityId,
        /// The hull, if it has one.
        hull_kind: Option<HullKind>,
        /// Radius of its circle, units.
        radius: f64,
    },
    /// It is no longer in scope.
    Gone(EntityId),
}

/// Entities that the server has announced. Each gets a body with its first motion, unless it is this shard's own.
#[derive(Resource, Debug, Default)]
pub struct Announced {
    by_id: BTreeMap<EntityId, Body>,
    by_net: BTreeMap<NetId, EntityId>,
}

impl Announced {
    fn insert(&mut self, body: Body) {
        self.by_net.insert(body.net_id, body.id);
        self.by_id.insert(body.id, body);
    }

    fn remove(&mut self, id: EntityId) {
        if let Some(body) = self.by_id.remove(&id)
            && self.by_net.get(&body.net_id) == Some(&id)
        {
            self.by_net.remove(&body.net_id);
        }
    }

    fn by_net(&self, net_id: NetId) -> Option<&Body> {
        self.by_id.get(self.by_net.get(&net_id)?)
    }
}

/// Present on a body that a neighbour is the authority of.
#[derive(Component, Debug)]
pub struct Ghost {
    /// The newest known tick, and the state after it.
    known: (SimTick, FlightState),
    /// Acceleration between the last two updates, units/s².
    acceleration: DVec2,
    /// It was updated since the last tick.
    fresh: bool,
    /// This shard's tick of the last update.
    heard_at: SimTick,
    /// When it was released by this shard, until it is announced.
    released_at: Option<SimTick>,
    /// A body here touched it, and no update of its authority shows that yet.
    touch: Option<Touch>,
    /// Units of ore in it, known after one of this shard's ships has mined it.
    pub(crate) ore: Option<u32>,
}

/// The effect of a contact here on a ghost.
#[derive(Debug, Clone, Copy)]
struct Touch {
    at: SimTick,
    /// Its velocity before the contact.
    before: DVec2,
    /// The change of its velocity.
    push: DVec2,
}

impl Touch {
    /// Whether an update may be from before its authority has applied the push: it shows less than half of it. An
    /// authority that has not applied it within [`CONTACT_WINDOW_TICKS`] has applied another impact.
    fn is_unknown_to(&self, state: &FlightState, now: SimTick) -> bool {
        let shown = (state.velocity - self.before).dot(self.push);
        now.since(self.at) <= CONTACT_WINDOW_TICKS && shown < 0.5 * self.push.length_squared()
    }
}

impl Ghost {
    fn new(known: (SimTick, FlightState), now: SimTick) -> Self {
        Self { known, acceleration: DVec2::ZERO, fresh: true, heard_at: now, released_at: None, touch: None, ore: None }
    }

    /// Records that a body here pushed it.
    pub(crate) fn touched(&mut self, now: SimTick, before: DVec2, after: DVec2) {
        // The first of several counts: a ghost that is pushed again and again must still follow its authority.
        let touch = self.touch.get_or_insert(Touch { at: now, before, push: DVec2::ZERO });
        touch.push = after - touch.before;
    }

    fn receive(&mut self, tick: SimTick, state: FlightState, now: SimTick) {
        if tick <= self.known.0 {
            return;
        }
        self.acceleration = acceleration(&self.known, &(tick, state));
        self.known = (tick, state);
        self.heard_at = now;
        self.touch = self.touch.filter(|touch| touch.is_unknown_to(&state, now));
        self.fresh = self.touch.is_none();
    }
}

impl Ghost {
    /// The extrapolated state after `wanted`.
    fn carried(&self, wanted: SimTick) -> FlightState {
        let (tick, state) = &self.known;
        let earliest = SimTick(tick.0.saturating_sub(MAX_EXTRAPOLATION_TICKS));
        let wanted = wanted.clamp(earliest, *tick + MAX_EXTRAPOLATION_TICKS);
        let straight = at_tick(state, *tick, wanted);
        // In the order of the flight model: first the velocity, then the position by the new velocity.
        let curved = wanted.since(*tick).min(CURVE_TICKS) as f64;
        let after = wanted.since(*tick) as f64 - curved;
        let change = self.acceleration * (curved * TICK_SECONDS);
        FlightState {
            position: straight.position + change * ((curved + 1.0) / 2.0 + after) * TICK_SECONDS,
            velocity: (straight.velocity + change).clamp_length_max(MAX_SPEED),
            ..straight
        }
    }
}

/// Applies the events of the lifecycle plane, in every update.
pub(crate) fn apply_ghost_news(world: &mut World) {
    let _simulating = suspect::simulating();
    while let Some(news) = world.resource_mut::<Inbox<GhostNews>>().pop() {
        let _at = suspect::at(match &news {
            GhostNews::Appeared(body) => body.id,
            GhostNews::Vitals { id, .. } | GhostNews::Refitted { id, .. } | GhostNews::Gone(id) => *id,
        });
        match news {
            GhostNews::Appeared(body) => {
                if is_radius(body.radius) {
                    world.resource_mut::<Announced>().insert(*body);
                }
            }
            GhostNews::Vitals { id, hull, hull_max } => {
                if let Some(body) = world.resource_mut::<Announced>().by_id.get_mut(&id) {
                    (body.hull, body.hull_max) = (hull, hull_max);
                }
                if let Some(mut body) = ghost_body(world, id) {
                    (body.hull, body.hull_max) = (hull, hull_max);
                }
            }
            GhostNews::Refitted { id, hull_kind, radius } => {
                if !is_radius(radius) {
                    continue;
                }
                if let Some(body) = world.resource_mut::<Announced>().by_id.get_mut(&id) {
                    (body.hull_kind, body.radius) = (hull_kind, radius);
                }
                refit(world, id, hull_kind, radius);
            }
            GhostNews::Gone(id) => {
                world.resource_mut::<Announced>().remove(id);
                if ghost_body(world, id).is_some() {
                    spawn::remove(world, id);
                }
            }
        }
    }
}

fn is_radius(radius: f64) -> bool {
    radius.is_finite() && radius > 0.0 && radius <= 500.0
}

/// Gives the ghost of `id`, if there is one, another hull, and a collider of that size.
fn refit(world: &mut World, id: EntityId, hull_kind: Option<HullKind>, radius: f64) {
    let Some(mut body) = ghost_body(world, id) else { return };
    if (body.hull_kind, body.radius) == (hull_kind, radius) {
        return;
    }
    (body.hull_kind, body.radius) = (hull_kind, radius);
    let body = body.clone();
    let Some(entity) = world.resource::<Registry>().get(id) else { return };
    let Some(flight) = world.get::<Flight>(entity).copied() else { return };
    if let Some(collider) = body::collider(&body, &flight.0) {
        world.entity_mut(entity).insert(collider);
    }
}

/// Records the ore in the ghost of `id`, if it is here.
pub(crate) fn note_ore(world: &mut World, id: EntityId, ore: u32) {
    let Some(entity) = world.resource::<Registry>().get(id) else { return };
    if let Some(mut ghost) = world.get_mut::<Ghost>(entity) {
        ghost.ore = Some(ore);
    }
}

fn ghost_body(world: &mut World, id: EntityId) -> Option<Mut<'_, Body>> {
    let entity = world.resource::<Registry>().get(id)?;
    world.get::<Ghost>(entity)?;
    world.get_mut::<Body>(entity)
}

/// Turns the own body of `id` into a ghost at its present state.
pub(crate) fn release(world: &mut World, id: EntityId, now: SimTick) {
    let Some(entity) = world.resource::<Registry>().get(id) else { return };
    let Some(flight) = world.get::<Flight>(entity).copied() else { return };
    let ore = Some(world.get::<Cargo>(entity).map_or(0, |cargo| cargo.ore));
    let Some(authority) = spawn::disown(world, entity) else { return };
    let known = authority.ahead.unwrap_or((now, flight.0));
    let ghost = Ghost { released_at: Some(now), fresh: false, ore, ..Ghost::new(known, now) };
    world.entity_mut(entity).insert(ghost);
}

/// Sets every ghost to its state before this tick, spawns new ghosts, and removes those without updates.
pub(crate) fn follow_ghosts(
    clock: Res<SimClock>,
    announced: Res<Announced>,
    mut updates: ResMut<Inbox<SectorUpdate>>,
    mut registry: ResMut<Registry>,
    mut totals: ResMut<Totals>,
    mut ghosts: Query<(&Body, &mut Ghost, &mut Flight, &mut Past)>,
    mut commands: Commands,
) {
    let now = clock.tick;
    let before = SimTick(now.0.saturating_sub(1));
    for (net_id, samples) in heard(&mut updates, now, &mut totals) {
        let Some((&tick, &state)) = samples.last_key_value() else { continue };
        if let Some(entity) = registry.by_net(net_id) {
            // Updates of an own body are old.
            if let Ok((_, mut ghost, _, mut past)) = ghosts.get_mut(entity) {
                ghost.receive(tick, state, now);
                note_all(&mut past, &samples);
            }
        } else if let Some(body) = announced.by_net(net_id)
            && registry.get(body.id).is_none()
        {
            let mut past = Past::default();
            note_all(&mut past, &samples);
            let ghost = Ghost { fresh: false, ..Ghost::new((tick, state), now) };
            let state = ghost.carried(before);
            let mut entity = commands.spawn((body.clone(), ghost, Flight(state), Planned(state), past));
            if let Some(collider) = body::collider(body, &state) {
                entity.insert(collider);
            }
            registry.insert(body.id, net_id, body.kind, entity.id());
        }
    }
    let mut silent = Vec::new();
    for (body, mut ghost, mut flight, _) in &mut ghosts {
        let _at = suspect::at(body.id);
        let unannounced = ghost
            .released_at
            .is_some_and(|released| now.since(released) > RELEASED_TICKS && !announced.by_id.contains_key(&body.id));
        if unannounced || now.since(ghost.heard_at) > SILENCE_TICKS {
            silent.push(body.id);
        } else if std::mem::take(&mut ghost.fresh) {
            flight.0 = ghost.carried(before);
        } else if now.since(ghost.known.0) > MAX_EXTRAPOLATION_TICKS {
            flight.0.velocity = DVec2::ZERO;
            flight.0.angular_velocity = 0.0;
        }
    }
    for id in silent {
        if let Some(entity) = registry.remove(id) {
            commands.entity(entity).despawn();
        }
    }
}

/// The motion of each entity in the updates that arrived, by tick.
fn heard(
    updates: &mut Inbox<SectorUpdate>,
    now: SimTick,
    totals: &mut Totals,
) -> BTreeMap<NetId, BTreeMap<SimTick, FlightState>> {
    let mut heard: BTreeMap<NetId, BTreeMap<SimTick, FlightState>> = BTreeMap::new();
    for update in updates.drain() {
        if update.tick.since(now).max(now.since(update.tick)) > MAX_TICK_DIFFERENCE {
            totals.updates_out_of_time += 1;
            continue;
        }
        for motion in update.motions {
            heard.entry(motion.net_id).or_default().insert(update.tick, motion.state);
        }
    }
    heard
}

fn note_all(past: &mut Past, samples: &BTreeMap<SimTick, FlightState>) {
    for (&tick, &state) in samples {
        past.note(tick, state);
    }
}

/// The acceleration between two updates, if it is from an engine.
fn acceleration((from, before): &(SimTick, FlightState), (to, after): &(SimTick, FlightState)) -> DVec2 {
    let ticks = to.since(*from);
    if ticks == 0 || ticks > CURVE_GAP_TICKS {
        return DVec2::ZERO;
    }
    let change = after.velocity - before.velocity;
    let acceleration = change / (ticks as f64 * TICK_SECONDS);
    // Less than the rounding of a packet counts as none.
    let tells = change.abs().max_element() > 2.0 * VELOCITY.error_bound() && acceleration.length() <= MAX_ACCELERATION;
    if tells { acceleration } else { DVec2::ZERO }
}
