//! Renews naia's entities before naia's counter wraps around them.
//!
//! naia 0.25 numbers the commands that it sends a peer about entities (each enter, each leave) with 16 bits, and takes
//! a command for outdated if it seems older than the entity's enter (`remote_entity_channel.rs`, `receive_message`).
//! After 32,768 further commands on a connection half of all numbers seem older: an entity that was in view for so
//! long never leaves the view, and its id is never released. So every entity in the view of a peer that was sent half
//! as many commands since then gets another naia entity, and the old one leaves a tick later: the peer has one of them
//! at any time, and identifies both by the net id.

use bevy::prelude::{Entity, Resource};
use sidereal_protocol::world::{sector::SectorId, tick::SimTick};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
};

/// Number of commands after which an entity still in view is renewed: half of naia's limit.
const RENEW_AFTER: u64 = 16_384;
/// Resolution of the record of when a peer was sent how many commands.
const CHECKPOINT_COMMANDS: u64 = 1_024;

/// The commands sent to one peer.
#[derive(Debug, Default)]
struct Told {
    commands: u64,
    /// The rooms in its view, with their counts at the last check.
    rooms: BTreeMap<SectorId, u64>,
    /// Ticks by number of commands sent; the first one is as old as necessary.
    checkpoints: VecDeque<(u64, SimTick)>,
}

impl Told {
    /// `commands` more are sent to the peer.
    fn count(&mut self, commands: u64, now: SimTick) {
        self.commands += commands;
        if self.checkpoints.back().is_none_or(|(at, _)| self.commands >= at + CHECKPOINT_COMMANDS) {
            self.checkpoints.push_back((self.commands, now));
        }
        while self.checkpoints.get(1).is_some_and(|(at, _)| at + RENEW_AFTER <= self.commands) {
            self.checkpoints.pop_front();
        }
    }

    /// Entities that entered the view before this tick must be renewed; `None` if there are none.
    fn renew_before(&self) -> Option<SimTick> {
        self.checkpoints.front().filter(|(at, _)| at + RENEW_AFTER <= self.commands).map(|(_, tick)| *tick)
    }
}

/// The commands sent to each peer. Bounded by the peers, and by the rooms in their views.
#[derive(Debug, Default, Resource)]
pub struct Renewals {
    /// Number of commands in each room so far.
    pub(super) told: HashMap<SectorId, u64>,
    peers: BTreeMap<SocketAddr, Told>,
    /// Entities that were replaced.
    pub(super) replaced: Vec<Entity>,
}

impl Renewals {
    /// An entity enters or leaves a room, and all peers in it are sent a command.
    pub fn note_room_change(&mut self, sector: SectorId) {
        self.count(sector, 1);
    }

    /// Adds a number of commands sent to all peers in a room.
    pub fn count(&mut self, sector: SectorId, commands: u64) {
        *self.told.entry(sector).or_default() += commands;
    }

    /// Adds up the commands sent to each peer since the last call. Returns for each sector the tick before which
    /// entities must be renewed.
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
    use sidereal_protocol::world::tick::TICK_HZ;
    use std::net::Ipv4Addr;

    const HERE: SectorId = SectorId { x: 0, y: 0 };

    fn peer(number: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, number).into()
    }

    /// An entity in a peer's view is renewed before the peer was sent 32,768 commands since, and not before it was
    /// sent half as many.
    #[test]
    fn what_is_in_view_is_renewed_in_time_and_not_all_the_time() {
        let mut renewals = Renewals::default();
        let views = BTreeMap::from([(peer(1), BTreeSet::from([HERE]))]);
        let (mut announced, mut told_since, mut renewed) = (SimTick(0), 0u64, 0);
        for second in 1..2_000u64 {
            let now = SimTick(second * u64::from(TICK_HZ));
            // From calm to crowded.
            let commands = second % 500;
            (0..commands).for_each(|_| renewals.note_room_change(HERE));
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
