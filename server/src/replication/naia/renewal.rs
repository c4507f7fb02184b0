//! naia's entities are renewed before naia loses count of them.
//!
//! naia 0.25 numbers what it tells a peer of entities (each coming, each going) with 16 bits, and takes what seems older
//! than an entity's coming for outdated (`remote_entity_channel.rs`, `receive_message`). After 32,768 further comings and
//! goings on a connection that is half of everything: an entity that has been in view for so long is never taken
//! out of it again, and its id is not given back. So whatever is in view of a peer that was told of half as many things since
//! then gets another entity of naia's, and the old one goes a tick later: the peer has it at any time, and takes the two
//! for one by its net id.

use bevy::prelude::{Entity, Resource};
use sidereal_protocol::{sector::SectorId, tick::SimTick};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
};

/// Comings and goings after which what is still in view is renewed: half of what naia bears.
const RENEW_AFTER: u64 = 16_384;
/// How exactly it is known when a peer was told of what.
const CHECKPOINT_COMMANDS: u64 = 1_024;

/// What one peer was told of.
#[derive(Debug, Default)]
struct Told {
    commands: u64,
    /// The rooms in its view, with their counts when they were looked at last.
    rooms: BTreeMap<SectorId, u64>,
    /// When it had been told of how much; the first one is as old as it has to be.
    checkpoints: VecDeque<(u64, SimTick)>,
}

impl Told {
    /// The peer is told of `commands` more.
    fn count(&mut self, commands: u64, now: SimTick) {
        self.commands += commands;
        if self.checkpoints.back().is_none_or(|(at, _)| self.commands >= at + CHECKPOINT_COMMANDS) {
            self.checkpoints.push_back((self.commands, now));
        }
        while self.checkpoints.get(1).is_some_and(|(at, _)| at + RENEW_AFTER <= self.commands) {
            self.checkpoints.pop_front();
        }
    }

    /// What came into view before this tick has been there for too much; `None` when nothing has.
    fn renew_before(&self) -> Option<SimTick> {
        self.checkpoints.front().filter(|(at, _)| at + RENEW_AFTER <= self.commands).map(|(_, tick)| *tick)
    }
}

/// How much each peer was told of. Bounded by the peers, and by the rooms in their views.
#[derive(Debug, Default, Resource)]
pub struct Renewals {
    /// Comings and goings in each room so far.
    pub(super) told: HashMap<SectorId, u64>,
    peers: BTreeMap<SocketAddr, Told>,
    /// Entities in whose place others are now.
    pub(super) replaced: Vec<Entity>,
}

impl Renewals {
    /// Something comes into a room or goes out of it, and everybody there is told.
    pub fn came_or_went(&mut self, sector: SectorId) {
        self.count(sector, 1);
    }

    /// Everybody in a room is told of so much.
    pub fn count(&mut self, sector: SectorId, commands: u64) {
        *self.told.entry(sector).or_default() += commands;
    }

    /// Counts what each peer was told of since the last call. Gives for each sector before which tick that is too long ago.
    pub(super) fn look(
        &mut self,
        views: &BTreeMap<SocketAddr, BTreeSet<SectorId>>,
        room_size: impl Fn(SectorId) -> u64,
        now: SimTick,
    ) -> HashMap<SectorId, SimTick> {
        let mut renew: HashMap<SectorId, SimTick> = HashMap::new();
        self.peers.retain(|address, _| views.contains_key(address));
        for (address, view) in views {
            let peer = self.peers.entry(*address).or_default();
            let mut commands: u64 =
                peer.rooms.keys().filter(|sector| !view.contains(sector)).map(|s| room_size(*s)).sum();
            peer.rooms.retain(|sector, _| view.contains(sector));
            for sector in view {
                let told = self.told.get(sector).copied().unwrap_or_default();
                commands += match peer.rooms.insert(*sector, told) {
                    Some(before) => told.saturating_sub(before),
                    None => room_size(*sector),
                };
            }
            peer.count(commands, now);
            if let Some(tick) = peer.renew_before() {
                for sector in view {
                    let before = renew.entry(*sector).or_default();
                    *before = (*before).max(tick);
                }
            }
        }
        renew
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::tick::TICK_HZ;
    use std::net::Ipv4Addr;

    const HERE: SectorId = SectorId { x: 0, y: 0 };

    fn peer(number: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, number).into()
    }

    /// What is seen by a peer is renewed before that was told of 32,768 things since, and not before it was told of half
    /// as many.
    #[test]
    fn what_is_in_view_is_renewed_in_time_and_not_all_the_time() {
        let mut renewals = Renewals::default();
        let views = BTreeMap::from([(peer(1), BTreeSet::from([HERE]))]);
        let (mut announced, mut told_since, mut renewed) = (SimTick(0), 0u64, 0);
        for second in 1..2_000u64 {
            let now = SimTick(second * u64::from(TICK_HZ));
            // From calm to crowded.
            let commands = second % 500;
            (0..commands).for_each(|_| renewals.came_or_went(HERE));
            told_since += commands;
            assert!(told_since < 30_000, "second {second}");
            if renewals.look(&views, |_| 10, now).get(&HERE).is_some_and(|before| announced < *before) {
                assert!(told_since > RENEW_AFTER - 500, "{told_since}");
                (announced, told_since) = (now, 0);
                renewed += 1;
            }
        }
        assert!((15..32).contains(&renewed), "{renewed}");
    }

    #[test]
    fn who_walks_through_rooms_is_told_of_what_is_in_them() {
        let mut renewals = Renewals::default();
        let mut now = SimTick(0);
        for step in 0..100 {
            now = now + u64::from(TICK_HZ);
            let views = BTreeMap::from([(peer(1), BTreeSet::from([SectorId { x: step, y: 0 }]))]);
            renewals.look(&views, |_| 100, now);
        }
        assert_eq!(renewals.peers[&peer(1)].commands, 100 * 100 + 99 * 100);
        assert_eq!(renewals.peers[&peer(1)].rooms.len(), 1);
        assert!(renewals.peers[&peer(1)].checkpoints.len() < 20);
        renewals.look(&BTreeMap::new(), |_| 0, now);
        assert!(renewals.peers.is_empty());
    }
}
