//! Interest management: naia rooms and motion subscriptions follow each player's ship and each shard's borders.
//!
//! A player is in the rooms of the 3 × 3 sectors round the ship's logical sector (which changes only past a margin).
//! It enters new rooms before it leaves old ones, a few at a time, nearest first. A shard is in the rooms of the
//! sectors that touch its own, from which it gets its border ghosts.

use super::{audience::Audiences, space::Space};
use crate::{
    players::session::Players,
    territory::{lease_grants::LeaseGrants, shards::Shards},
    traffic::link::Link,
};
use bevy::prelude::{Res, ResMut, Resource};
use sidereal_protocol::world::{
    ids::ShardId,
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Maximum number of rooms that one peer enters in one tick: entering costs naia some 7 µs per entity in the room.
const ROOMS_PER_TICK: usize = 3;

/// How long an entered room is kept, ticks: 2 s, so that a ship that turns round on a border does not flap.
const ROOM_STAY_TICKS: u64 = 2 * TICK_HZ as u64;

/// Maximum number of entities in one peer's view. naia reuses the id of an entity that left a minute later, and takes
/// the new entity for outdated if more than 32,768 enters and leaves lie between (see `renewal`): if a connection has
/// used more than 16,384 ids. (With all 65,536 in use it ends the process.) The view, and what may enter it in a
/// minute (`ENTITIES_AT_ONCE` and `ENTITIES_PER_TICK`), leave some 2,800 for entities spawned there meanwhile.
const MAX_ENTITIES_IN_VIEW: usize = 6_000;
/// Entities that new rooms may add to one peer's view at once...
const ENTITIES_AT_ONCE: usize = 4_000;
/// ...and then per tick: some 3,600 a minute. Rooms beyond that wait.
const ENTITIES_PER_TICK: usize = 2;

#[derive(Debug)]
struct View {
    /// The ship's sector; `None` for a shard.
    center: Option<SectorId>,
    wanted: BTreeSet<SectorId>,
    /// A shard's own sectors. It is in their rooms, so that an entity that crosses its border does not leave and
    /// re-enter its scope (see `mirror`'s `LINGER_TICKS`), but it does not get its own motion back.
    own: BTreeSet<SectorId>,
    /// The sectors in view, and since when.
    seen: BTreeMap<SectorId, SimTick>,
    /// Entities that new rooms may bring now.
    entity_allowance: usize,
    /// Time of the last refill.
    refilled: SimTick,
}

impl Default for View {
    fn default() -> Self {
        Self {
            center: None,
            wanted: BTreeSet::new(),
            own: BTreeSet::new(),
            seen: BTreeMap::new(),
            entity_allowance: ENTITIES_AT_ONCE,
            refilled: SimTick(0),
        }
    }
}

impl View {
    /// Takes the cost of a room with `entities`, while `in_view` are in view already; false if it must wait. A room
    /// above the burst may enter alone.
    fn take_room(&mut self, entities: usize, in_view: usize, now: SimTick) -> bool {
        let ticks = usize::try_from(now.since(self.refilled)).unwrap_or(usize::MAX);
        let refilled = self.entity_allowance.saturating_add(ticks.saturating_mul(ENTITIES_PER_TICK));
        self.entity_allowance = refilled.min(ENTITIES_AT_ONCE);
        self.refilled = now;
        let is_affordable = self.entity_allowance >= entities.min(ENTITIES_AT_ONCE);
        if !is_affordable || in_view + entities > MAX_ENTITIES_IN_VIEW {
            return false;
        }
        self.entity_allowance = self.entity_allowance.saturating_sub(entities);
        true
    }
}

/// The peers' views.
#[derive(Debug, Default, Resource)]
pub struct Interest {
    views: BTreeMap<SocketAddr, View>,
    /// The same views, by what is sent.
    audiences: Audiences,
    /// Sectors that came into a peer's view: it gets everything in them. At most the sectors of all views.
    newcomers: Vec<(SocketAddr, SectorId)>,
    /// A peer has gone: shards may hold other leases than when the views were made.
    peer_gone: bool,
}

impl Interest {
    /// Removes a peer's view; naia removes it from its rooms by itself.
    pub fn forget(&mut self, address: &SocketAddr) {
        self.views.remove(address);
        self.audiences.forget(address);
        self.peer_gone = true;
    }

    /// The number of peers with a view.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether no peer has a view.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// The central sector of a player's view: that of the ship, or of the last one; `None` before the first.
    pub fn center(&self, address: &SocketAddr) -> Option<SectorId> {
        self.views.get(address)?.center
    }

    /// Players whose view contains `sector`.
    pub fn players_seeing(&self, sector: SectorId) -> Vec<SocketAddr> {
        self.views
            .iter()
            .filter(|(_, view)| view.center.is_some() && view.seen.contains_key(&sector))
            .map(|(address, _)| *address)
            .collect()
    }

    /// The sectors in each peer's view.
    pub fn seen(&self) -> impl Iterator<Item = (SocketAddr, BTreeSet<SectorId>)> + '_ {
        self.views.iter().map(|(address, view)| (*address, view.seen.keys().copied().collect()))
    }

    /// The peers, by view.
    pub fn audiences(&mut self) -> &mut Audiences {
        &mut self.audiences
    }

    /// Takes the sectors that came into peers' views.
    pub fn take_newcomers(&mut self) -> Vec<(SocketAddr, SectorId)> {
        std::mem::take(&mut self.newcomers)
    }

    /// A sector whose content a peer's budget did not allow yet: it is taken again in the next tick.
    pub fn postpone(&mut self, address: SocketAddr, sector: SectorId) {
        self.newcomers.push((address, sector));
    }

    /// A peer's view has changed: from now on it belongs to another audience.
    fn regroup(&mut self, link: &Link, address: SocketAddr) {
        let Some(view) = self.views.get(&address) else { return };
        let Some(peer) = link.transport.lane_peer(&address) else { return };
        let sectors = view.seen.keys().filter(|sector| !view.own.contains(sector)).copied().collect();
        self.audiences.assign(peer, address, view.center, sectors);
    }
}

/// Updates views, rooms and subscriptions.
pub fn follow_ships(
    mut space: Space,
    mut interest: ResMut<Interest>,
    mut leases: ResMut<LeaseGrants>,
    link: Res<Link>,
    players: Res<Players>,
    shards: Res<Shards>,
) {
    let flying: Vec<(SocketAddr, sidereal_protocol::world::ids::EntityId)> = players.flying().collect();
    for (address, id) in flying {
        let Some(center) = space.mirror.get(id).map(|entry| entry.record.sector) else { continue };
        let view = interest.views.entry(address).or_default();
        if view.center == Some(center) {
            continue;
        }
        view.center = Some(center);
        view.wanted = center.neighbourhood().into_iter().collect();
        interest.regroup(&link, address);
        for sector in center.neighbourhood() {
            leases.table.want(sector.block());
        }
    }
    // Shards may hold other leases than when their views were made.
    if interest.peer_gone || leases.granted {
        (interest.peer_gone, leases.granted) = (false, false);
        let shards: Vec<ShardId> = shards.ids().collect();
        for shard in shards {
            let Some(address) = link.address_of(shard) else { continue };
            let own: BTreeSet<SectorId> = leases.table.blocks_of(shard).flat_map(|block| block.sectors()).collect();
            let view = interest.views.entry(address).or_default();
            if view.own != own {
                view.wanted = own.iter().flat_map(|sector| sector.neighbourhood()).collect();
                view.own = own;
                interest.regroup(&link, address);
            }
        }
    }
    let behind: Vec<SocketAddr> = interest
        .views
        .iter()
        .filter(|(_, view)| !view.wanted.iter().eq(view.seen.keys()))
        .map(|(address, _)| *address)
        .collect();
    for address in behind {
        adjust_rooms(&mut space, &mut interest, &link, address);
    }
    // naia queues a check for every new pair of user and entity in a room; without an answer the room decides. An
    // answer would be kept as long as both exist: for every rock that a player has ever seen.
    space.replicas.naia.mark_scope_checks_pending_handled();
}

fn adjust_rooms(space: &mut Space, interest: &mut Interest, link: &Link, address: SocketAddr) {
    let Some(user) = link.user_key(&address) else { return };
    let Some(view) = interest.views.get(&address) else { return };
    let mut enter: Vec<SectorId> =
        view.wanted.iter().filter(|sector| !view.seen.contains_key(sector)).copied().collect();
    // A shard's border first, its own sectors can wait.
    enter.sort_by_key(|sector| view.own.contains(sector));
    if let Some(center) = view.center {
        enter.sort_by_key(|sector| (center.x.abs_diff(sector.x) + center.y.abs_diff(sector.y), *sector));
    }
    enter.truncate(ROOMS_PER_TICK);
    if enter.is_empty() {
        // All required sectors are in view: now those no longer required can leave it.
        let now = space.clock.tick;
        let leave: Vec<SectorId> = view
            .seen
            .iter()
            .filter(|(sector, since)| !view.wanted.contains(sector) && now.since(**since) >= ROOM_STAY_TICKS)
            .map(|(sector, _)| *sector)
            .collect();
        if leave.is_empty() {
            return;
        }
        for sector in &leave {
            let room = space.replicas.room(*sector);
            space.replicas.naia.user_mut(&user).leave_room(&room);
        }
        if let Some(view) = interest.views.get_mut(&address) {
            for sector in &leave {
                view.seen.remove(sector);
            }
        }
    }
    let now = space.clock.tick;
    let mut in_view: usize = interest
        .views
        .get(&address)
        .map_or(0, |view| view.seen.keys().map(|sector| space.replicas.room_size(*sector)).sum());
    for sector in enter {
        let entities = space.replicas.room_size(sector);
        let Some(view) = interest.views.get_mut(&address) else { return };
        if !view.take_room(entities, in_view, now) {
            space.tally.rooms_delayed += 1;
            break;
        }
        view.seen.insert(sector, now);
        in_view += entities;
        let room = space.replicas.room(sector);
        space.replicas.naia.user_mut(&user).enter_room(&room);
        if interest.views.get(&address).is_some_and(|view| !view.own.contains(&sector)) {
            interest.newcomers.push((address, sector));
        }
    }
    interest.regroup(link, address);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_come_into_view_no_faster_than_naia_has_names_for() {
        let mut view = View::default();
        let (mut named, mut in_view) = (0, 0);
        // A minute of flight at any speed through sectors of 500 entities, three entered and three left at a time.
        for tick in 0..60 * u64::from(TICK_HZ) {
            for _ in 0..ROOMS_PER_TICK {
                if view.take_room(500, in_view, SimTick(tick)) {
                    named += 500;
                    in_view = (in_view + 500).min(4500);
                }
            }
        }
        assert!((6_000..8_000).contains(&named), "{named}");
        assert!(named + MAX_ENTITIES_IN_VIEW < 16_384);
    }

    #[test]
    fn a_view_is_bounded_and_a_great_room_still_comes_alone() {
        let mut view = View::default();
        assert!(view.take_room(5_000, 0, SimTick(1)));
        assert!(!view.take_room(1, 5_000, SimTick(1)), "it has to wait");
        assert!(view.take_room(1, 5_000, SimTick(2)));
        assert!(!view.take_room(1_500, 5_000, SimTick(1_000_000)), "too much in view");
        assert!(!View::default().take_room(7_000, 0, SimTick(1)));
    }
}
