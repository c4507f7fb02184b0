//! The entities in view: naia's entities by net id.
//!
//! Runs in the player client and in bots. It owns identities and vitals as they were replicated; positions are in
//! [`crate::replication::interpolation`].

use crate::{
    replication::{
        clock::ClientClock,
        interpolation::{Interpolation, Track},
    },
    session::stats::PlayStats,
    view::{BlastEffect, WorldView},
};
use bevy::{
    ecs::{
        entity::Entity,
        lifecycle::RemovedComponents,
        query::{Changed, Or},
        system::{Local, Query, Res, ResMut},
    },
    math::DVec2,
    prelude::Resource,
};
use sidereal_protocol::{
    components::{Identity, OreDeposit, Vitals},
    record::EntityKind,
    rules::flight::HullKind,
    world::{
        ids::{AccountId, EntityId, NetId},
        sector::SECTOR_SIZE,
        tick::SimTick,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Motion of an unannounced entity for longer than this, seconds, is a fault: the identity uses the reliable channel,
/// which takes a few round trips on a bad link.
const ORPHAN_S: f64 = 3.0;

/// Seconds between two sweeps for orphans.
const SWEEP_S: f64 = 1.0;

/// A missile without motion for this long while other entities had some, ticks of the world, has ended: it always
/// moves, and the farthest are sent in every third tick, of which one may be lost.
const SILENT_TICKS: u64 = 7;

/// A missile that disappears within this distance of the player, units, explodes. The view ends at least a sector away,
/// so a missile further off may just have left the view.
const BLAST_UNITS: f64 = SECTOR_SIZE * 0.9;

/// Radius of a missile's explosion, in radii of the missile: smaller than a ship's.
const MISSILE_BLAST_RADII: f64 = 2.0;

/// Identity and condition of an entity.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its permanent id.
    pub id: EntityId,
    /// Its kind.
    pub kind: EntityKind,
    /// Its hull, if it flies.
    pub hull_kind: Option<HullKind>,
    /// Its name for players.
    pub name: Arc<str>,
    /// The player that owns it.
    pub owner: Option<AccountId>,
    /// Radius, units.
    pub radius: f64,
    /// Hull points left.
    pub hull: u16,
    /// Hull points when undamaged.
    pub hull_max: u16,
    /// Units of ore in a rock or a crate, once received.
    pub ore: Option<u32>,
    entity: Entity,
}

/// The state of a missile's end. No message announces it: its motion stops, and its entity is despawned, which on a bad
/// link may happen much later.
#[derive(Debug, Clone, Copy, Default)]
struct MissileFlight {
    /// naia's entity is gone.
    gone: bool,
    /// It exploded at its position of this tick.
    spent: Option<SimTick>,
}

/// All announced entities in view.
#[derive(Resource, Debug, Default)]
pub struct RemoteEntities {
    members: BTreeMap<NetId, Member>,
    by_entity: HashMap<Entity, NetId>,
    missiles: BTreeMap<NetId, MissileFlight>,
    /// Counts up at each change of a member or of its data.
    revision: u64,
}

impl RemoteEntities {
    /// The entity `id`.
    pub fn get(&self, id: NetId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// All entities, by net id.
    pub fn iter(&self) -> impl Iterator<Item = (NetId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none is in view.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Changes with every change of this roster.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The link is gone, and with it everything in view.
    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.by_entity.clear();
        self.missiles.clear();
        self.revision += 1;
    }

    fn announce(&mut self, entity: Entity, identity: &Identity, vitals: Option<&Vitals>, lode: Option<&OreDeposit>) {
        let Some(kind) = identity.entity_kind() else {
            tracing::warn!(kind = *identity.kind, "an entity of an unknown kind is not shown");
            return;
        };
        let radius = f64::from(*identity.radius);
        let radius = if radius.is_finite() { radius.clamp(0.1, 500.0) } else { 1.0 };
        let (hull, hull_max) = vitals.map_or((0, 0), |vitals| (*vitals.hull, *vitals.hull_max));
        let ore = lode.map(|lode| *lode.ore);
        let net_id = identity.net_id();
        self.by_entity.insert(entity, net_id);
        match self.members.get_mut(&net_id) {
            // While an entity lives, its hull and its content change.
            Some(member) if member.entity == entity => {
                (member.hull, member.hull_max, member.ore) = (hull, hull_max, ore);
                (member.hull_kind, member.radius) = (identity.hull_kind(), radius);
            }
            _ => {
                if kind == EntityKind::Missile {
                    self.missiles.insert(net_id, MissileFlight::default());
                }
                self.members.insert(
                    net_id,
                    Member {
                        id: identity.entity_id(),
                        kind,
                        hull_kind: identity.hull_kind(),
                        name: Arc::from(identity.name.as_str()),
                        owner: identity.owner(),
                        radius,
                        hull,
                        hull_max,
                        ore,
                        entity,
                    },
                );
            }
        }
        self.revision += 1;
    }

    /// Whether `id` is a missile that has ended, although it is still replicated.
    pub fn is_spent(&self, id: NetId) -> bool {
        self.missiles.get(&id).is_some_and(|flight| flight.spent.is_some())
    }

    /// naia's `entity` is gone: a missile flies on to its end. False if it is not a missile.
    fn let_fly_on(&mut self, entity: Entity) -> bool {
        let net_id = self.by_entity.get(&entity).copied();
        let is_current = |id: &NetId| self.members.get(id).is_some_and(|member| member.entity == entity);
        match net_id.filter(is_current).and_then(|net_id| self.missiles.get_mut(&net_id)) {
            Some(flight) => {
                flight.gone = true;
                true
            }
            None => false,
        }
    }

    /// Removes an entity; returns the net id that left the view, `None` if another entity has it already.
    fn remove(&mut self, entity: Entity) -> Option<NetId> {
        let net_id = self.by_entity.remove(&entity)?;
        if self.members.get(&net_id).is_some_and(|member| member.entity == entity) {
            self.members.remove(&net_id);
            self.missiles.remove(&net_id);
            self.revision += 1;
            Some(net_id)
        } else {
            None
        }
    }
}

/// Follows naia's entities.
pub(crate) fn follow_roster(
    mut remote_entities: ResMut<RemoteEntities>,
    mut interpolation: ResMut<Interpolation>,
    changed: Query<
        (Entity, &Identity, Option<&Vitals>, Option<&OreDeposit>),
        Or<(Changed<Identity>, Changed<Vitals>, Changed<OreDeposit>)>,
    >,
    mut removed: RemovedComponents<Identity>,
) {
    // Spawns first: the server may have replaced an entity that is despawned in the same update.
    for (entity, identity, vitals, lode) in &changed {
        remote_entities.announce(entity, identity, vitals, lode);
    }
    for entity in removed.read() {
        if !remote_entities.let_fly_on(entity)
            && let Some(net_id) = remote_entities.remove(entity)
        {
            interpolation.forget(net_id);
        }
    }
}

/// Lets missiles that have ended explode at their last received position, once they are drawn there.
pub(crate) fn end_missiles(
    mut remote_entities: ResMut<RemoteEntities>,
    mut interpolation: ResMut<Interpolation>,
    mut view: ResMut<WorldView>,
) {
    let Some(newest) = interpolation.clock.newest() else { return };
    let play = interpolation.clock.play();
    let mut out_of_sight = Vec::new();
    let RemoteEntities { missiles, members, .. } = &mut *remote_entities;
    for (net_id, flight) in missiles {
        let Some(member) = members.get(net_id) else { continue };
        let Some((tick, state)) = interpolation.track(*net_id).map(Track::latest) else {
            // Announced, and no motion received yet.
            out_of_sight.extend(flight.gone.then_some(member.entity));
            continue;
        };
        let has_ended = flight.gone || newest.since(tick) >= SILENT_TICKS;
        if !has_ended || tick.0 as f64 > play {
            flight.spent = None;
            continue;
        }
        if flight.spent.replace(tick).is_none() && state.position.distance(view.focus) < BLAST_UNITS {
            view.add_blast(BlastEffect {
                victim: *net_id,
                position: state.position,
                // Its hit stops it.
                velocity: DVec2::ZERO,
                radius: member.radius * MISSILE_BLAST_RADII,
                age_s: 0.0,
            });
        }
        out_of_sight.extend(flight.gone.then_some(member.entity));
    }
    for entity in out_of_sight {
        if let Some(net_id) = remote_entities.remove(entity) {
            interpolation.forget(net_id);
        }
    }
}

/// Once a second: drops motion of unannounced entities, and counts those that should have been announced.
pub(crate) fn sweep_orphans(
    clock: Res<ClientClock>,
    remote_entities: Res<RemoteEntities>,
    mut interpolation: ResMut<Interpolation>,
    mut stats: ResMut<PlayStats>,
    mut next_s: Local<f64>,
) {
    if clock.now_s < *next_s {
        return;
    }
    *next_s = clock.now_s + SWEEP_S;
    let orphans = interpolation.sweep(clock.now_s, ORPHAN_S, |id| remote_entities.get(id).is_some());
    stats.orphans += orphans as u64;
}
