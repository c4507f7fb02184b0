//! Ghosts: bodies of neighbours' entities, so that own ones can see, meet and hit them.
//!
//! Runs in the shard. The server's lifecycle plane says which there are ([`GhostNews`]), motion comes in
//! [`SectorUpdate`]s. A ghost is carried on in a straight line from the newest update to this shard's
//! tick, for half a second at most. It is a body like any other: in a collision each side moves its own
//! by its own share. What a collision did to a ghost here stands until its authority has seen it too.

use crate::{
    bodies::{self, Body, Flight, Owned, Planned},
    clock::SimClock,
    flight::at_tick,
    mailbox::Inbox,
    registry::Registry,
    report::Totals,
};
use bevy::{math::DVec2, prelude::*};
use sidereal_protocol::{
    flight::FlightState,
    ids::{EntityId, NetId},
    motion::SectorUpdate,
    tick::{SimTick, TICK_HZ},
};
use std::collections::BTreeMap;

/// How far a ghost is carried on without news, ticks: 0.5 s. Then it stands still.
pub const MAX_EXTRAPOLATION_TICKS: u64 = TICK_HZ as u64 / 2;

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
    /// It was heard since the last tick.
    fresh: bool,
    /// When it was last heard of, by this shard's clock.
    heard_at: SimTick,
    /// It was this shard's own until then.
    released_at: Option<SimTick>,
    /// A body here met it: older updates do not know of it yet.
    touched_at: Option<SimTick>,
}

impl Ghost {
    fn new(known: (SimTick, FlightState), now: SimTick) -> Self {
        Self { known, fresh: true, heard_at: now, released_at: None, touched_at: None }
    }

    /// Something here has pushed it.
    pub(crate) fn touched(&mut self, now: SimTick) {
        self.touched_at = Some(now);
    }

    fn hear(&mut self, tick: SimTick, state: FlightState, now: SimTick) {
        if tick <= self.known.0 {
            return;
        }
        self.known = (tick, state);
        self.heard_at = now;
        let outdated =
            self.touched_at.is_some_and(|touched| tick < touched && now.since(touched) <= MAX_EXTRAPOLATION_TICKS);
        self.fresh = !outdated;
        if !outdated {
            self.touched_at = None;
        }
    }
}

/// Takes in what the lifecycle plane says, in every update.
pub(crate) fn hear_news(world: &mut World) {
    while let Some(news) = world.resource_mut::<Inbox<GhostNews>>().pop() {
        match news {
            GhostNews::Appeared(body) => {
                if body.radius.is_finite() && body.radius > 0.0 && body.radius <= 500.0 {
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
            GhostNews::Gone(id) => {
                world.resource_mut::<Announced>().remove(id);
                if ghost_body(world, id).is_some() {
                    bodies::remove(world, id);
                }
            }
        }
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
    let Some(owned) = world.entity_mut(entity).take::<Owned>() else { return };
    let known = owned.ahead.unwrap_or((now, flight.0));
    let ghost = Ghost { released_at: Some(now), fresh: false, ..Ghost::new(known, now) };
    world.entity_mut(entity).remove::<bodies::Helm>().insert(ghost);
}

/// Brings every ghost to where it is before this tick, makes the ones that are new, drops the ones that
/// nobody speaks of any more.
pub(crate) fn follow_ghosts(
    clock: Res<SimClock>,
    announced: Res<Announced>,
    mut updates: ResMut<Inbox<SectorUpdate>>,
    mut registry: ResMut<Registry>,
    mut totals: ResMut<Totals>,
    mut ghosts: Query<(&Body, &mut Ghost, &mut Flight)>,
    mut commands: Commands,
) {
    let now = clock.tick;
    let before = SimTick(now.0.saturating_sub(1));
    for (net_id, (tick, state)) in newest(&mut updates, now, &mut totals) {
        if let Some(entity) = registry.by_net(net_id) {
            // One of this shard's own is not a ghost: what others were told of it is old.
            if let Ok((_, mut ghost, _)) = ghosts.get_mut(entity) {
                ghost.hear(tick, state, now);
            }
        } else if let Some(body) = announced.by_net(net_id)
            && registry.get(body.id).is_none()
        {
            let state = carried(&state, tick, before);
            let entity = commands
                .spawn((
                    body.clone(),
                    Ghost { fresh: false, ..Ghost::new((tick, state), now) },
                    Flight(state),
                    Planned(state),
                    bodies::collider(body, &state),
                ))
                .id();
            registry.insert(body.id, net_id, entity);
        }
    }
    let mut silent = Vec::new();
    for (body, mut ghost, mut flight) in &mut ghosts {
        let unannounced = ghost
            .released_at
            .is_some_and(|released| now.since(released) > RELEASED_TICKS && !announced.by_id.contains_key(&body.id));
        if unannounced || now.since(ghost.heard_at) > SILENCE_TICKS {
            silent.push(body.id);
        } else if std::mem::take(&mut ghost.fresh) {
            flight.0 = carried(&ghost.known.1, ghost.known.0, before);
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

/// The newest motion of each entity among the updates that came.
fn newest(
    updates: &mut Inbox<SectorUpdate>,
    now: SimTick,
    totals: &mut Totals,
) -> BTreeMap<NetId, (SimTick, FlightState)> {
    let mut newest: BTreeMap<NetId, (SimTick, FlightState)> = BTreeMap::new();
    for update in updates.drain() {
        if update.tick.since(now).max(now.since(update.tick)) > MAX_TICK_DIFFERENCE {
            totals.updates_out_of_time += 1;
            continue;
        }
        for motion in update.motions {
            let entry = newest.entry(motion.net_id).or_insert((update.tick, motion.state));
            if entry.0 < update.tick {
                *entry = (update.tick, motion.state);
            }
        }
    }
    newest
}

/// Where a ghost that was in `state` after `tick` is taken to be after `wanted`.
fn carried(state: &FlightState, tick: SimTick, wanted: SimTick) -> FlightState {
    let earliest = SimTick(tick.0.saturating_sub(MAX_EXTRAPOLATION_TICKS));
    at_tick(state, tick, wanted.clamp(earliest, tick + MAX_EXTRAPOLATION_TICKS))
}
