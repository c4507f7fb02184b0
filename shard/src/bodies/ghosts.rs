//! Ghosts: bodies of neighbours' entities, so that own ones can see, meet and hit them.
//!
//! Runs in the shard. The server's lifecycle plane says which there are ([`GhostNews`]), motion comes in
//! [`SectorUpdate`]s. A ghost is carried on from the newest update to this shard's tick, for half a second
//! at most, the first of it in the curve that it flew last. It is a body like any other: own ones bounce off it, and it off them.
//! What a collision did to a ghost here stands until its authority has felt it too.

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
    flight::{FlightState, HullKind, MAX_SPEED},
    ids::{EntityId, NetId},
    motion::SectorUpdate,
    precision::VELOCITY,
    tick::{SimTick, TICK_HZ, TICK_SECONDS},
};
use std::collections::BTreeMap;

/// Ghosts: what is announced, and where it is.
pub(crate) struct GhostsPlugin;

impl Plugin for GhostsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Announced>()
            .init_resource::<Inbox<GhostNews>>()
            .add_systems(Update, hear_news.in_set(ControlSystems::Ghosts))
            .add_systems(SimStep, follow_ghosts.in_set(SimSystems::Ghosts));
    }
}

/// How far a ghost is carried on without news, ticks: 0.5 s. Then it stands still.
pub const MAX_EXTRAPOLATION_TICKS: u64 = TICK_HZ as u64 / 2;

/// How long a ghost is taken to fly on in its curve, ticks: 0.2 s, a slow way between two shards. Beyond
/// that a pilot has thought of something else, and it is carried on straight.
const CURVE_TICKS: u64 = 6;

/// Updates further apart than this, ticks, do not tell a curve.
const CURVE_GAP_TICKS: u64 = 3;

/// The most that anything accelerates by itself, units/s². More is a blow, which is over.
const MAX_ACCELERATION: f64 = 450.0;

/// When a ghost without news goes, ticks: 3 s. The rolling refresh tells of everything once a second.
pub const SILENCE_TICKS: u64 = 3 * TICK_HZ as u64;

/// How long a released body waits for the server to announce it, ticks: 1 s.
pub const RELEASED_TICKS: u64 = TICK_HZ as u64;

/// How far an update's tick may be from this shard's, ticks: 5 s. Others are dropped: a stamp from far
/// ahead would silence all that follow.
const MAX_TICK_DIFFERENCE: u64 = 5 * TICK_HZ as u64;

/// What the lifecycle plane says.
#[derive(Debug, Clone, PartialEq)]
pub enum GhostNews {
    /// There is this entity in a neighbouring sector.
    Appeared(Box<Body>),
    /// Its hull changed.
    Vitals {
        /// Whose.
        id: EntityId,
        /// Hull points left.
        hull: u16,
        /// Hull points when whole.
        hull_max: u16,
    },
    /// It has another hull.
    Refitted {
        /// Whose.
        id: EntityId,
        /// The hull, if it flies.
        hull_kind: Option<HullKind>,
        /// Radius of its circle, units.
        radius: f64,
    },
    /// It is out of sight.
    Gone(EntityId),
}

/// What the server has announced. An announced entity has a body from its first motion on, and only
/// while it is not this shard's own.
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

/// A body that a neighbour is the authority of.
#[derive(Component, Debug)]
pub struct Ghost {
    /// The newest that is known: after this tick it was so.
    known: (SimTick, FlightState),
    /// How its velocity changed last, units/s².
    acceleration: DVec2,
    /// It was heard since the last tick.
    fresh: bool,
    /// When it was last heard of, by this shard's clock.
    heard_at: SimTick,
    /// It was this shard's own until then.
    released_at: Option<SimTick>,
    /// A body here met it, and its authority has not said so yet.
    touch: Option<Touch>,
    /// Units of ore in it, as the server told when one of this shard's took of it; else unknown.
    pub(crate) ore: Option<u32>,
}

/// What a contact here did to a ghost.
#[derive(Debug, Clone, Copy)]
struct Touch {
    at: SimTick,
    /// Its velocity before.
    before: DVec2,
    /// What the contact made of it.
    push: DVec2,
}

impl Touch {
    /// Whether an update may still be from before its authority has felt it: it shows less than half of the
    /// push. An authority that does not feel it within the window has felt something else.
    fn is_unknown_to(&self, state: &FlightState, now: SimTick) -> bool {
        let shown = (state.velocity - self.before).dot(self.push);
        now.since(self.at) <= CONTACT_WINDOW_TICKS && shown < 0.5 * self.push.length_squared()
    }
}

impl Ghost {
    fn new(known: (SimTick, FlightState), now: SimTick) -> Self {
        Self { known, acceleration: DVec2::ZERO, fresh: true, heard_at: now, released_at: None, touch: None, ore: None }
    }

    /// Something here has pushed it.
    pub(crate) fn touched(&mut self, now: SimTick, before: DVec2, after: DVec2) {
        // Of several the first counts: a ghost that is pushed on and on follows its authority all the same.
        let touch = self.touch.get_or_insert(Touch { at: now, before, push: DVec2::ZERO });
        touch.push = after - touch.before;
    }

    fn hear(&mut self, tick: SimTick, state: FlightState, now: SimTick) {
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
    /// Where it is taken to be after `wanted`.
    fn carried(&self, wanted: SimTick) -> FlightState {
        let (tick, state) = &self.known;
        let earliest = SimTick(tick.0.saturating_sub(MAX_EXTRAPOLATION_TICKS));
        let wanted = wanted.clamp(earliest, *tick + MAX_EXTRAPOLATION_TICKS);
        let straight = at_tick(state, *tick, wanted);
        // As flight goes: the velocity first, then the position with the new one.
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

/// Takes in what the lifecycle plane says, in every update.
pub(crate) fn hear_news(world: &mut World) {
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

/// Notes what the server told of the ore in the ghost of `id`. Of what is not here nothing is noted.
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

/// Turns the own body of `id` into a ghost, where it is.
pub(crate) fn release(world: &mut World, id: EntityId, now: SimTick) {
    let Some(entity) = world.resource::<Registry>().get(id) else { return };
    let Some(flight) = world.get::<Flight>(entity).copied() else { return };
    let ore = Some(world.get::<Cargo>(entity).map_or(0, |cargo| cargo.ore));
    let Some(authority) = spawn::disown(world, entity) else { return };
    let known = authority.ahead.unwrap_or((now, flight.0));
    let ghost = Ghost { released_at: Some(now), fresh: false, ore, ..Ghost::new(known, now) };
    world.entity_mut(entity).insert(ghost);
}

/// Brings every ghost to where it is before this tick, makes the ones that are new, drops the ones that
/// nobody speaks of any more.
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
            // One of this shard's own is not a ghost: what others were told of it is old.
            if let Ok((_, mut ghost, _, mut past)) = ghosts.get_mut(entity) {
                ghost.hear(tick, state, now);
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
            registry.insert(body.id, net_id, entity.id());
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

/// The motion of each entity in the updates that came, by tick.
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

/// What changed its velocity between two updates, if that tells what it does.
fn acceleration((from, before): &(SimTick, FlightState), (to, after): &(SimTick, FlightState)) -> DVec2 {
    let ticks = to.since(*from);
    if ticks == 0 || ticks > CURVE_GAP_TICKS {
        return DVec2::ZERO;
    }
    let change = after.velocity - before.velocity;
    let acceleration = change / (ticks as f64 * TICK_SECONDS);
    // Less than what a packet rounds by is nothing.
    let tells = change.abs().max_element() > 2.0 * VELOCITY.error_bound() && acceleration.length() <= MAX_ACCELERATION;
    if tells { acceleration } else { DVec2::ZERO }
}
