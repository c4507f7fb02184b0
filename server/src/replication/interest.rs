//! Who sees what: naia rooms and the lane's subscriptions follow each player's ship and each shard's
//! borders.
//!
//! A player is in the rooms of the 3 × 3 sectors round the ship's logical sector (which itself changes
//! only past a margin), enters new rooms before leaving old ones, and a few at a time, nearest first.
//! A shard is in the rooms of the sectors that touch its own: its border ghosts are nothing else.

use super::space::Space;
use crate::{
    players::session::Players,
    territory::{lease_book::LeaseBook, shards::Shards},
    traffic::link::Link,
};
use bevy::prelude::{Res, ResMut, Resource};
use sidereal_protocol::{
    ids::ShardId,
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Rooms that one peer enters in one tick: entering costs naia some 7 µs for each entity in it.
const ROOMS_PER_TICK: usize = 3;

/// How long a room that was entered is kept, ticks: 2 s. A ship that turns round on a border then does not flap.
const ROOM_STAY_TICKS: u64 = 2 * TICK_HZ as u64;

/// Entities in view of one peer at most. naia gives the id of what has gone out again a minute later, to the one that comes
/// next, and takes that for outdated when more than 32,768 comings and goings lie between (see `renewal`): when a
/// connection has used more than 16,384 ids. (With all 65,536 used it ends the process.) What is in view, and what may come
/// into it in a minute (`ENTITIES_AT_ONCE` and `ENTITIES_PER_TICK`), leaves some 2,800 for what is made there meanwhile.
const MAX_ENTITIES_IN_VIEW: usize = 6_000;
/// Entities that new rooms may bring one peer at once...
const ENTITIES_AT_ONCE: usize = 4_000;
/// ...and then in a tick: some 3,600 a minute. Rooms that are too much wait.
const ENTITIES_PER_TICK: usize = 2;

/// What a player may be sent on the lane, bytes per second: above it the far sectors thin out first.
/// 64 KB/s is half a megabit: any link on which the world is playable carries it.
const PLAYER_BYTES_PER_SECOND: u64 = 64 * 1024;

/// How often a subscriber gets a sector's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The ship's own sector, every tick: what one fights with is there.
    Own,
    /// Sharing an edge with it, every second tick: half a sector away or more for most of the view.
    Edge,
    /// Sharing a corner, every third tick.
    Corner,
    /// A shard's border: every tick, ghosts collide.
    Border,
}

impl Class {
    fn stride(self) -> u64 {
        match self {
            Self::Own | Self::Border => 1,
            Self::Edge => 2,
            Self::Corner => 3,
        }
    }
}

#[derive(Debug)]
struct View {
    /// The ship's sector; `None` for a shard.
    center: Option<SectorId>,
    wanted: BTreeSet<SectorId>,
    /// A shard's own sectors: it is in their rooms, so that who crosses its border does not leave its scope and come
    /// back (see `mirror`'s `LINGER_TICKS`), but it is not told what it says itself.
    own: BTreeSet<SectorId>,
    /// What is seen, and since when.
    seen: BTreeMap<SectorId, SimTick>,
    /// Bytes that may still be sent; refilled each tick.
    allowance: u64,
    /// Entities that new rooms may bring now.
    entity_allowance: usize,
    /// When that was last refilled.
    refilled: SimTick,
}

impl Default for View {
    fn default() -> Self {
        Self {
            center: None,
            wanted: BTreeSet::new(),
            own: BTreeSet::new(),
            seen: BTreeMap::new(),
            allowance: 0,
            entity_allowance: ENTITIES_AT_ONCE,
            refilled: SimTick(0),
        }
    }
}

impl View {
    /// Takes what a room with so many entities costs, when `in_view` are seen already; false when it has to wait. A room
    /// over the burst may come alone.
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

/// Everybody's view.
#[derive(Debug, Default, Resource)]
pub struct Interest {
    views: BTreeMap<SocketAddr, View>,
    subscribers: BTreeMap<SectorId, Vec<(SocketAddr, Class)>>,
    outdated: bool,
    /// A peer has gone: a shard may hold other leases than when its view was made.
    peer_gone: bool,
}

impl Interest {
    /// Forgets a peer; naia forgets its rooms by itself.
    pub fn forget(&mut self, address: &SocketAddr) {
        self.outdated |= self.views.remove(address).is_some();
        self.peer_gone = true;
    }

    /// How many peers look at something.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// The sector in the middle of a player's view: that of the ship, or of the last one; `None` before the first.
    pub fn center(&self, address: &SocketAddr) -> Option<SectorId> {
        self.views.get(address)?.center
    }

    /// Players whose view holds `sector`.
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

    /// The players among those who look.
    pub fn players(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.views.iter().filter(|(_, view)| view.center.is_some()).map(|(address, _)| *address)
    }

    /// Sectors that somebody looks at.
    pub fn subscribed(&self) -> impl Iterator<Item = SectorId> + '_ {
        self.subscribers.keys().copied()
    }

    /// Who gets a sector's packets at this tick.
    pub fn due(&self, sector: SectorId, now: SimTick) -> Vec<(SocketAddr, Class)> {
        let subscribers = self.subscribers.get(&sector).into_iter().flatten();
        subscribers.filter(|(_, class)| now.0.is_multiple_of(class.stride())).copied().collect()
    }

    /// Every player may be sent a tick's worth more.
    pub fn refill_allowances(&mut self) {
        let refill = PLAYER_BYTES_PER_SECOND / u64::from(TICK_HZ);
        for view in self.views.values_mut().filter(|view| view.center.is_some()) {
            // Two seconds' worth may be saved up for what a new sector brings.
            view.allowance = (view.allowance + refill).min(2 * PLAYER_BYTES_PER_SECOND);
        }
    }

    /// Takes `length` bytes of what a player may be sent; `Some(false)` when that is too much now.
    pub fn spend(&mut self, address: &SocketAddr, length: u64) -> Option<bool> {
        let view = self.views.get_mut(address)?;
        if view.allowance < length {
            return Some(false);
        }
        view.allowance -= length;
        Some(true)
    }

    fn rebuild(&mut self) {
        self.subscribers.clear();
        for (address, view) in &self.views {
            for sector in view.seen.keys().filter(|sector| !view.own.contains(sector)) {
                let class = match view.center {
                    None => Class::Border,
                    Some(center) if center == *sector => Class::Own,
                    Some(center) if center.x.abs_diff(sector.x) + center.y.abs_diff(sector.y) == 1 => Class::Edge,
                    Some(_) => Class::Corner,
                };
                self.subscribers.entry(*sector).or_default().push((*address, class));
            }
        }
        self.outdated = false;
    }
}

/// Brings views, rooms and subscriptions up to date.
pub fn follow_ships(
    mut space: Space,
    mut interest: ResMut<Interest>,
    mut leases: ResMut<LeaseBook>,
    link: Res<Link>,
    players: Res<Players>,
    shards: Res<Shards>,
) {
    let flying: Vec<(SocketAddr, sidereal_protocol::ids::EntityId)> = players.flying().collect();
    for (address, id) in flying {
        let Some(center) = space.mirror.get(id).map(|entry| entry.record.sector) else { continue };
        let view = interest.views.entry(address).or_default();
        if view.center == Some(center) {
            continue;
        }
        view.center = Some(center);
        view.wanted = center.neighbourhood().into_iter().collect();
        interest.outdated = true;
        for sector in center.neighbourhood() {
            leases.table.want(sector.block());
        }
    }
    // Shards hold other leases than when their views were made.
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
                interest.outdated = true;
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
    if interest.outdated {
        interest.rebuild();
    }
    // naia asks about every new pairing of user and entity in a room, but what is not answered goes by the room. An answer
    // would be kept as long as both live: every rock that a player has ever seen.
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
        // All that is wanted is seen: now what is no longer wanted can go.
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
        if interest.views.get(&address).is_some_and(|view| view.own.contains(&sector)) {
            continue;
        }
        for packet in space.motion.full_packets(sector) {
            space.tally.motions_delivered += u64::from(packet.motions);
            link.transport.send_lane(&address, packet.bytes);
        }
    }
    interest.outdated = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_come_into_view_no_faster_than_naia_has_names_for() {
        let mut view = View::default();
        let (mut named, mut in_view) = (0, 0);
        // A minute of flight at any speed through sectors of 500 entities, three in and three out.
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
