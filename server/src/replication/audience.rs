//! Audiences: the peers with the same view. What a tick brings into view is packed once for each audience, and each of
//! its members gets the same bytes. Without I/O.
//!
//! Members change only when a view does: nothing is rebuilt per tick.

use sidereal_protocol::world::{
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use sidereal_transport::LanePeer;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

/// Limit of motion to one player, bytes per second: above it far sectors are thinned out first. 64 KB/s is half a
/// megabit: any playable link carries it.
const PLAYER_BYTES_PER_SECOND: u64 = 64 * 1024;

/// What a player may save up for the contents of new sectors, bytes. Well under QUIC's buffer for a player's datagrams
/// (64 KiB), which drops the oldest without saying which.
const PLAYER_BURST_BYTES: u64 = 48 * 1024;

/// How often an audience gets a sector's motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The ship's own sector, every tick: opponents in a fight are there.
    Own,
    /// Sharing an edge with it, every second tick: most of it is at least half a sector away.
    Edge,
    /// Any other, every third tick.
    Corner,
    /// A shard's border: every tick, because ghosts collide.
    Border,
}

impl Class {
    fn of(sector: SectorId, center: Option<SectorId>) -> Self {
        match center {
            None => Self::Border,
            Some(center) if center == sector => Self::Own,
            Some(center) if center.x.abs_diff(sector.x).saturating_add(center.y.abs_diff(sector.y)) == 1 => Self::Edge,
            Some(_) => Self::Corner,
        }
    }

    /// Whether `sector` is due at this tick. The four edges of any sector fall half on the even ticks and half on the
    /// odd ones, its corners on all three of theirs: each tick carries about the same.
    pub fn is_due(self, sector: SectorId, now: SimTick) -> bool {
        let (x, y) = (i64::from(sector.x), i64::from(sector.y));
        let (phase, stride) = match self {
            Self::Own | Self::Border => (0, 1),
            Self::Edge => (x.div_euclid(2) + y.div_euclid(2), 2),
            Self::Corner => (x + y, 3),
        };
        (now.0 + phase.rem_euclid(stride) as u64).is_multiple_of(stride as u64)
    }
}

/// What the members of an audience have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// The ship's sector; `None` for a shard.
    center: Option<SectorId>,
    /// The sectors in view whose motion they get, in order.
    sectors: Vec<SectorId>,
}

/// A peer in an audience.
#[derive(Debug)]
pub struct Member {
    /// Its session's address.
    pub address: SocketAddr,
    /// Its session.
    pub peer: LanePeer,
    /// Bytes that may still be sent to it; refilled each tick. Unlimited for a shard.
    allowance: u64,
}

impl Member {
    /// Whether it is a player, not a shard.
    pub fn is_player(&self) -> bool {
        self.allowance != u64::MAX
    }

    /// Refills a player's byte budget by a tick's worth.
    pub fn refill(&mut self) {
        if self.is_player() {
            let refilled = self.allowance + PLAYER_BYTES_PER_SECOND / u64::from(TICK_HZ);
            self.allowance = refilled.min(PLAYER_BURST_BYTES);
        }
    }

    /// Whether there is room for this many bytes now, or as much as there ever is.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.allowance >= (bytes as u64).min(PLAYER_BURST_BYTES)
    }

    /// Takes the lengths of datagrams from the budget, in order, until one is too long for it. Returns how many there is
    /// room for.
    pub fn spend(&mut self, lengths: impl IntoIterator<Item = usize>) -> usize {
        let mut count = 0;
        for length in lengths {
            let length = length as u64;
            if self.allowance < length {
                break;
            }
            if self.is_player() {
                self.allowance -= length;
            }
            count += 1;
        }
        count
    }
}

/// The peers with one view.
#[derive(Debug)]
pub struct Audience {
    key: Key,
    /// The sectors, nearest first, so that an exhausted budget thins the far ones.
    sources: Vec<(Class, SectorId)>,
    /// The peers.
    pub members: Vec<Member>,
}

impl Audience {
    /// The sectors that are due at this tick, nearest class first. Within a class another one is first at each tick, so
    /// that an exhausted budget leaves each out in its turn.
    pub fn due(&self, now: SimTick) -> impl Iterator<Item = SectorId> + '_ {
        let turned = self.sources.chunk_by(|(class, _), (next, _)| class == next).flat_map(move |same| {
            let first = now.0 as usize % same.len();
            same[first..].iter().chain(&same[..first])
        });
        turned.filter(move |(class, sector)| class.is_due(*sector, now)).map(|(_, sector)| *sector)
    }

    /// Whether it gets a sector's motion at all.
    pub fn gets(&self, sector: SectorId) -> bool {
        self.sources.iter().any(|(_, source)| *source == sector)
    }
}

/// All audiences.
#[derive(Debug, Default)]
pub struct Audiences {
    /// In the order of their numbers, which rise.
    all: BTreeMap<u64, Audience>,
    numbers: HashMap<Key, u64>,
    of_peer: BTreeMap<SocketAddr, u64>,
    next: u64,
}

impl Audiences {
    /// Moves a peer into the audience of this view.
    pub fn assign(
        &mut self,
        peer: LanePeer,
        address: SocketAddr,
        center: Option<SectorId>,
        sectors: BTreeSet<SectorId>,
    ) {
        let key = Key { center, sectors: sectors.into_iter().collect() };
        let known = self.numbers.get(&key).copied();
        if known.is_some() && known == self.of_peer.get(&address).copied() {
            return;
        }
        let fresh = if center.is_none() { u64::MAX } else { PLAYER_BURST_BYTES };
        let allowance = self.forget(&address).map_or(fresh, |member| member.allowance);
        let number = known.filter(|number| self.all.contains_key(number)).unwrap_or_else(|| self.open(key));
        self.of_peer.insert(address, number);
        if let Some(audience) = self.all.get_mut(&number) {
            audience.members.push(Member { address, peer, allowance });
        }
    }

    fn open(&mut self, key: Key) -> u64 {
        let mut sources: Vec<(Class, SectorId)> =
            key.sectors.iter().map(|sector| (Class::of(*sector, key.center), *sector)).collect();
        sources.sort_unstable();
        let number = self.next;
        self.next += 1;
        self.numbers.insert(key.clone(), number);
        self.all.insert(number, Audience { key, sources, members: Vec::new() });
        number
    }

    /// Removes a peer.
    pub fn forget(&mut self, address: &SocketAddr) -> Option<Member> {
        let number = self.of_peer.remove(address)?;
        let audience = self.all.get_mut(&number)?;
        let place = audience.members.iter().position(|member| member.address == *address)?;
        let member = audience.members.swap_remove(place);
        if audience.members.is_empty() {
            self.numbers.remove(&audience.key);
            self.all.remove(&number);
        }
        Some(member)
    }

    /// A peer that gets a sector's motion.
    pub fn member_of(&mut self, address: &SocketAddr, sector: SectorId) -> Option<&mut Member> {
        let audience = self.all.get_mut(self.of_peer.get(address)?)?;
        if !audience.gets(sector) {
            return None;
        }
        audience.members.iter_mut().find(|member| member.address == *address)
    }

    /// All, in the order in which they came to be.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Audience> {
        self.all.values_mut()
    }
}
