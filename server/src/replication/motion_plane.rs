//! The server's copy of all motion, by sector, and its packets for subscribers; without I/O.
//!
//! Motion is accepted only from an entity's authority. The changes of a sector are packed once per tick for all its
//! subscribers.

use bevy::platform::collections::HashMap;
use sidereal_protocol::{
    packets::motion::{EngineGlow, Motion, SectorNews, SectorUpdate, encode_sector_update},
    rules::{
        flight::FlightState,
        shot::{Beam, SHOT_REPEATS, Shot, ShotHit},
    },
    world::{
        ids::{NetId, ShardId},
        sector::SectorId,
        tick::{SimTick, TICK_HZ, TICK_SECONDS},
    },
};

/// A change is in the packets of this many ticks: the slowest class of subscribers gets every third one. It arrives
/// before the first of them, at the tick before.
pub const CHANGE_WINDOW_TICKS: u64 = 3;

/// Every entity is in a packet once in this many ticks, changed or not. A prime number, so that the classes that get every
/// second or third packet also get each entity, after 2 s and 3 s at the latest.
const REFRESH_TICKS: u64 = 29;

/// A state that is not followed by another one is extrapolated for this many ticks at most: a second.
const MAX_COAST_TICKS: u64 = TICK_HZ as u64;

/// Maximum number of shots and hits kept for one sector: a tick's fire of a hundred ships, times the ticks for which
/// they are repeated. Further ones are dropped and counted.
const MAX_SECTOR_SHOTS: usize = 512;

#[derive(Debug, Clone, Copy)]
struct Entry {
    state: FlightState,
    glow: EngineGlow,
    /// The state's tick, from its shard.
    tick: SimTick,
    /// The tick at which the server received it.
    changed_at: SimTick,
    /// It has no authority, or a new one that has sent nothing yet: it stays where it is.
    waits: bool,
}

#[derive(Debug, Default)]
struct Cell {
    /// The newest tick of any state in it.
    tick: SimTick,
    /// By net id.
    entries: Vec<(NetId, Entry)>,
    shots: Vec<(SimTick, Shot)>,
    hits: Vec<(SimTick, ShotHit)>,
    beams: Vec<(SimTick, Beam)>,
    /// The packets of this tick, for all its audiences.
    packed: Option<(SimTick, Vec<SectorPacket>)>,
}

impl Cell {
    /// The place of an entity, or where it belongs. `hint` is tried first and becomes the place after it: motions arrive
    /// in order.
    fn find(&self, net_id: NetId, hint: &mut usize) -> Result<usize, usize> {
        let found = match self.entries.get(*hint) {
            Some((at, _)) if *at == net_id => Ok(*hint),
            _ => self.entries.binary_search_by_key(&net_id, |(id, _)| *id),
        };
        *hint = found.unwrap_or_else(|place| place) + 1;
        found
    }

    fn get(&self, net_id: NetId) -> Option<&Entry> {
        self.find(net_id, &mut 0).ok().map(|place| &self.entries[place].1)
    }

    fn get_mut(&mut self, net_id: NetId) -> Option<&mut Entry> {
        self.find(net_id, &mut 0).ok().map(|place| &mut self.entries[place].1)
    }

    fn insert(&mut self, net_id: NetId, entry: Entry) {
        match self.find(net_id, &mut 0) {
            Ok(place) => self.entries[place].1 = entry,
            Err(place) => self.entries.insert(place, (net_id, entry)),
        }
    }

    fn remove(&mut self, net_id: NetId) -> Option<Entry> {
        self.find(net_id, &mut 0).ok().map(|place| self.entries.remove(place).1)
    }

    /// Shots are kept a little longer than they are sent, so that a late repeat is not taken for a new one.
    fn forget_shots(&mut self, now: SimTick) {
        self.shots.retain(|(seen, _)| now.since(*seen) < 4 * SHOT_REPEATS);
        self.hits.retain(|(seen, _)| now.since(*seen) < 4 * SHOT_REPEATS);
        self.beams.retain(|(seen, _)| now.since(*seen) < 4 * SHOT_REPEATS);
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    sector: SectorId,
    authority: Option<ShardId>,
}

/// An entity that its authority moved to another sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorChange {
    /// The entity.
    pub net_id: NetId,
    /// The old sector.
    pub from: SectorId,
    /// The new sector.
    pub to: SectorId,
}

/// A packet for the subscribers of one sector.
#[derive(Debug, Clone)]
pub struct SectorPacket {
    /// The datagram.
    pub bytes: Vec<u8>,
    /// Motions in it.
    pub motions: u32,
}

/// All motion.
#[derive(Debug, Default, bevy::prelude::Resource)]
pub struct MotionPlane {
    cells: HashMap<SectorId, Cell>,
    places: HashMap<NetId, Place>,
    packed: u64,
    /// Motions dropped because their sender is not the entity's authority.
    pub stale: u64,
    /// Shots dropped above the limit of a sector.
    pub shots_dropped: u64,
}

impl MotionPlane {
    /// Adds an entity, or changes its authority and state.
    pub fn place(
        &mut self,
        net_id: NetId,
        sector: SectorId,
        authority: Option<ShardId>,
        state: FlightState,
        tick: SimTick,
        now: SimTick,
    ) {
        let old = self.places.insert(net_id, Place { sector, authority });
        let mut glow = EngineGlow::default();
        if let Some(old) = old
            && let Some(cell) = self.cells.get_mut(&old.sector)
            && let Some(entry) = cell.remove(net_id)
        {
            glow = entry.glow;
        }
        let cell = self.cells.entry(sector).or_default();
        cell.tick = cell.tick.max(tick);
        cell.insert(net_id, Entry { state, glow, tick, changed_at: now, waits: authority.is_none() });
    }

    /// Changes only the authority. No shard has moved the entity meanwhile: until the new authority sends something,
    /// it stays at its last known position, where the authority continues.
    pub fn set_authority(&mut self, net_id: NetId, authority: Option<ShardId>) {
        let Some(place) = self.places.get_mut(&net_id) else { return };
        place.authority = authority;
        if let Some(entry) = self.cells.get_mut(&place.sector).and_then(|cell| cell.get_mut(net_id)) {
            entry.waits = true;
        }
    }

    /// Removes an entity; returns its sector.
    pub fn remove(&mut self, net_id: NetId) -> Option<SectorId> {
        let place = self.places.remove(&net_id)?;
        if let Some(cell) = self.cells.get_mut(&place.sector) {
            cell.remove(net_id);
        }
        Some(place.sector)
    }

    /// Removes shots that were sent, and empty sectors.
    pub fn tidy(&mut self, now: SimTick) {
        self.cells.retain(|_, cell| {
            cell.forget_shots(now);
            !cell.entries.is_empty() || !cell.shots.is_empty() || !cell.hits.is_empty() || !cell.beams.is_empty()
        });
    }

    /// The number of sectors with entities or recent shots.
    pub fn sectors(&self) -> usize {
        self.cells.len()
    }

    /// An entity's sector and state, and the tick of the state.
    pub fn state_of(&self, net_id: NetId) -> Option<(SectorId, FlightState, SimTick)> {
        let place = self.places.get(&net_id)?;
        let entry = self.cells.get(&place.sector)?.get(net_id)?;
        Some((place.sector, entry.state, entry.tick))
    }

    /// The sector that an entity is in.
    pub fn sector_of(&self, net_id: NetId) -> Option<SectorId> {
        self.places.get(&net_id).map(|place| place.sector)
    }

    /// The shard whose motion of an entity is accepted.
    pub fn authority_of(&self, net_id: NetId) -> Option<ShardId> {
        self.places.get(&net_id).and_then(|place| place.authority)
    }

    /// The number of entities.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Applies a shard's update; appends the entities that changed their sector.
    pub fn apply(&mut self, from: ShardId, update: &SectorUpdate, now: SimTick, changes: &mut Vec<SectorChange>) {
        // Those that come from other sectors, before this sector's cell is borrowed for all of them.
        let mut accepted: Vec<&Motion> = Vec::with_capacity(update.motions.len());
        for motion in &update.motions {
            let Some(place) = self.places.get_mut(&motion.net_id) else {
                self.stale += 1;
                continue;
            };
            if place.authority != Some(from) {
                self.stale += 1;
                continue;
            }
            let old_sector = place.sector;
            if old_sector == update.sector {
                accepted.push(motion);
                continue;
            }
            let Some(old) = self.cells.get_mut(&old_sector) else { continue };
            if old.get(motion.net_id).is_some_and(|known| update.tick <= known.tick) {
                continue;
            }
            old.remove(motion.net_id);
            place.sector = update.sector;
            accepted.push(motion);
            changes.push(SectorChange { net_id: motion.net_id, from: old_sector, to: update.sector });
        }
        let cell = self.cells.entry(update.sector).or_default();
        let mut hint = 0;
        for motion in accepted {
            let entry =
                Entry { state: motion.state, glow: motion.glow, tick: update.tick, changed_at: now, waits: false };
            match cell.find(motion.net_id, &mut hint) {
                Err(place) => cell.entries.insert(place, (motion.net_id, entry)),
                Ok(place) => {
                    let known = &mut cell.entries[place].1;
                    // Datagrams may be reordered.
                    if update.tick >= known.tick {
                        let same = known.state == motion.state && known.glow == motion.glow;
                        let changed_at = if same { known.changed_at } else { now };
                        *known = Entry { changed_at, ..entry };
                    }
                }
            }
        }
        cell.tick = cell.tick.max(update.tick);
        for shot in &update.shots {
            if cell.shots.iter().any(|(_, known)| known.id == shot.id) {
                continue;
            }
            if cell.shots.len() == MAX_SECTOR_SHOTS {
                self.shots_dropped += 1;
                break;
            }
            cell.shots.push((now, *shot));
        }
        for hit in &update.hits {
            if cell.hits.iter().any(|(_, known)| known.id == hit.id) || cell.hits.len() == MAX_SECTOR_SHOTS {
                continue;
            }
            cell.hits.push((now, *hit));
        }
        for beam in &update.beams {
            if cell.beams.iter().any(|(_, known)| known.id == beam.id) || cell.beams.len() == MAX_SECTOR_SHOTS {
                continue;
            }
            cell.beams.push((now, *beam));
        }
    }

    /// The packets of one sector for this tick: changes, a share of the rest, shots and hits. Packed at the first call of
    /// a tick, for all audiences of the sector.
    pub fn packets(&mut self, sector: SectorId, now: SimTick) -> &[SectorPacket] {
        let Some(cell) = self.cells.get_mut(&sector) else { return &[] };
        if cell.packed.as_ref().is_none_or(|(tick, _)| *tick != now) {
            cell.forget_shots(now);
            let shots: Vec<Shot> = recent(&cell.shots, now);
            let hits: Vec<ShotHit> = recent(&cell.hits, now);
            let motions: Vec<Motion> = cell
                .entries
                .iter()
                .filter(|(net_id, entry)| {
                    now.since(entry.changed_at) <= CHANGE_WINDOW_TICKS
                        || (now.0 + u64::from(net_id.0)).is_multiple_of(REFRESH_TICKS)
                })
                .map(|(net_id, entry)| motion_at(*net_id, entry, cell.tick))
                .collect();
            let beams: Vec<Beam> = recent(&cell.beams, now);
            let news = SectorNews { motions: &motions, shots: &shots, hits: &hits, beams: &beams };
            let mut packets = encode(sector, cell.tick, news);
            self.packed += packets.len() as u64;
            // If there is no room for all of them, each is left out in its turn.
            if let Some(first) = (now.0 as usize).checked_rem(packets.len()) {
                packets.rotate_left(first);
            }
            cell.packed = Some((now, packets));
        }
        cell.packed.as_ref().map_or(&[], |(_, packets)| packets)
    }

    /// The number of packets packed since the last call.
    pub fn take_packed(&mut self) -> u64 {
        std::mem::take(&mut self.packed)
    }

    /// Everything in a sector, for a new subscriber.
    pub fn full_packets(&self, sector: SectorId) -> Vec<SectorPacket> {
        let Some(cell) = self.cells.get(&sector) else { return Vec::new() };
        let motions: Vec<Motion> =
            cell.entries.iter().map(|(net_id, entry)| motion_at(*net_id, entry, cell.tick)).collect();
        encode(sector, cell.tick, SectorNews { motions: &motions, ..SectorNews::default() })
    }
}

fn recent<T: Copy>(items: &[(SimTick, T)], now: SimTick) -> Vec<T> {
    items.iter().filter(|(seen, _)| now.since(*seen) <= SHOT_REPEATS).map(|(_, item)| *item).collect()
}

/// An entry at the packet's tick: a state whose update was lost is extrapolated, for a second at most. One that waits
/// for an authority is not: the next authority continues from that state.
fn motion_at(net_id: NetId, entry: &Entry, tick: SimTick) -> Motion {
    let behind = if entry.waits { 0 } else { tick.since(entry.tick).min(MAX_COAST_TICKS) };
    let state = match behind {
        0 => entry.state,
        behind => entry.state.coast(behind as f64 * TICK_SECONDS),
    };
    Motion { net_id, state, glow: entry.glow }
}

fn encode(sector: SectorId, tick: SimTick, news: SectorNews<'_>) -> Vec<SectorPacket> {
    // The packet contains its own count; the subscriber reads that one.
    encode_sector_update(sector, tick, news)
        .into_iter()
        .map(|packet| {
            let motions = packet.motions as u32;
            SectorPacket { bytes: packet.bytes, motions }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::DVec2;

    const HERE: SectorId = SectorId::new(0, 0);
    const A: ShardId = ShardId(1);
    const B: ShardId = ShardId(2);

    fn at(x: f64) -> FlightState {
        FlightState { position: DVec2::new(x, 10.0), ..FlightState::default() }
    }

    fn update(sector: SectorId, tick: u64, x: f64) -> SectorUpdate {
        let motion = Motion { net_id: NetId(5), state: at(x), glow: EngineGlow::default() };
        SectorUpdate { sector, tick: SimTick(tick), motions: vec![motion], shots: vec![], hits: vec![], beams: vec![] }
    }

    fn plane() -> MotionPlane {
        let mut plane = MotionPlane::default();
        plane.place(NetId(5), HERE, Some(A), at(10.0), SimTick(1), SimTick(1));
        plane
    }

    #[test]
    fn motion_is_taken_only_from_the_authority_and_only_forward() {
        let mut plane = plane();
        let mut changes = Vec::new();
        plane.apply(B, &update(HERE, 5, 500.0), SimTick(5), &mut changes);
        assert_eq!(plane.stale, 1);
        plane.apply(A, &update(HERE, 5, 20.0), SimTick(5), &mut changes);
        plane.apply(A, &update(HERE, 4, 15.0), SimTick(5), &mut changes);
        let (_, state, tick) = plane.state_of(NetId(5)).expect("placed");
        assert_eq!((state.position.x, tick), (20.0, SimTick(5)));
        assert!(changes.is_empty());
    }

    #[test]
    fn a_change_of_sector_is_told_once_and_an_old_packet_does_not_undo_it() {
        let mut plane = plane();
        let mut changes = Vec::new();
        let there = SectorId::new(1, 0);
        plane.apply(A, &update(there, 6, 1020.0), SimTick(6), &mut changes);
        assert_eq!(changes, vec![SectorChange { net_id: NetId(5), from: HERE, to: there }]);
        changes.clear();
        plane.apply(A, &update(HERE, 5, 990.0), SimTick(6), &mut changes);
        assert!(changes.is_empty());
        assert_eq!(plane.sector_of(NetId(5)), Some(there));
    }

    #[test]
    fn a_sector_without_anything_is_forgotten_and_shots_with_it_though_nobody_looks() {
        let mut plane = plane();
        let mut changes = Vec::new();
        let shot = Shot::new(
            sidereal_protocol::rules::shot::ShotId { shooter: NetId(5), tick: SimTick(5) },
            HERE,
            DVec2::new(10.0, 10.0),
            DVec2::new(100.0, 0.0),
        );
        plane.apply(A, &SectorUpdate { shots: vec![shot], ..update(HERE, 5, 20.0) }, SimTick(5), &mut changes);
        plane.apply(A, &update(SectorId::new(1, 0), 6, 1020.0), SimTick(6), &mut changes);
        plane.tidy(SimTick(6));
        assert_eq!(plane.sectors(), 2, "the shot may be repeated");
        plane.tidy(SimTick(60));
        assert_eq!((plane.sectors(), plane.len()), (1, 1));
        plane.remove(NetId(5));
        plane.tidy(SimTick(61));
        assert_eq!(plane.sectors(), 0);
    }

    #[test]
    fn what_rests_comes_round_once_a_second_and_what_moves_every_tick() {
        let mut plane = plane();
        let sent = |plane: &mut MotionPlane, tick: u64| {
            plane.packets(HERE, SimTick(tick)).iter().map(|packet| packet.motions).sum::<u32>()
        };
        let resting: u32 = (10..10 + REFRESH_TICKS).map(|tick| sent(&mut plane, tick)).sum();
        assert_eq!(resting, 1);
        let mut changes = Vec::new();
        let moving: u32 = (40..70)
            .map(|tick| {
                plane.apply(A, &update(HERE, tick, tick as f64), SimTick(tick), &mut changes);
                sent(&mut plane, tick)
            })
            .sum();
        assert_eq!(moving, 30);
    }

    /// Whatever the sector and whatever the tick at which something happens: every class gets it, and every class gets
    /// what rests as well.
    #[test]
    fn no_class_misses_a_change_a_shot_or_what_rests() {
        use crate::replication::audience::Class;
        for class in [Class::Own, Class::Edge, Class::Corner, Class::Border] {
            for (x, arrival) in (0..6).flat_map(|x| (100..106).map(move |tick| (x, tick))) {
                let here = SectorId::new(x, x / 2);
                let mut plane = MotionPlane::default();
                let mut changes = Vec::new();
                let start = here.origin() + DVec2::splat(10.0);
                let state = FlightState { position: start, ..FlightState::default() };
                plane.place(NetId(5), here, Some(A), state, SimTick(1), SimTick(1));
                let moved = FlightState { position: start + DVec2::X, ..state };
                let motion = Motion { net_id: NetId(5), state: moved, glow: EngineGlow::default() };
                let id = sidereal_protocol::rules::shot::ShotId { shooter: NetId(5), tick: SimTick(arrival) };
                let shot = Shot::new(id, here, start, DVec2::new(100.0, 0.0));
                let update = SectorUpdate { motions: vec![motion], shots: vec![shot], ..update(here, arrival, 0.0) };
                plane.apply(A, &update, SimTick(arrival), &mut changes);
                // It arrives before the clock advances to the tick that publishes it first.
                let received = |plane: &mut MotionPlane, ticks: std::ops::Range<u64>| {
                    let due = ticks.map(SimTick).filter(|tick| class.is_due(here, *tick));
                    let packets: Vec<SectorPacket> = due.flat_map(|tick| plane.packets(here, tick).to_vec()).collect();
                    let updates =
                        packets.iter().map(|packet| SectorUpdate::decode(&packet.bytes).expect("an own packet"));
                    updates.fold((0, 0), |sum, update| (sum.0 + update.motions.len(), sum.1 + update.shots.len()))
                };
                let (motions, shots) = received(&mut plane, arrival + 1..arrival + 4);
                assert!(motions > 0 && shots > 0, "{class:?} at {x}, {arrival}: {motions} motions, {shots} shots");
                let rested = received(&mut plane, arrival + 10..arrival + 10 + 3 * REFRESH_TICKS);
                assert!(rested.0 > 0, "{class:?} at {x}: what rests never comes");
            }
        }
    }

    #[test]
    fn what_nobody_moves_stands_still_until_its_next_authority_speaks() {
        let mut plane = plane();
        let mut changes = Vec::new();
        let flying = FlightState { velocity: DVec2::new(150.0, 0.0), ..at(20.0) };
        let told = |net_id, tick, state| SectorUpdate {
            motions: vec![Motion { net_id: NetId(net_id), state, glow: EngineGlow::default() }],
            ..update(HERE, tick, 0.0)
        };
        plane.place(NetId(6), HERE, Some(B), at(900.0), SimTick(1), SimTick(1));
        plane.apply(A, &told(5, 10, flying), SimTick(10), &mut changes);
        // Another shard's update advances the sector's tick.
        plane.apply(B, &told(6, 20, at(900.0)), SimTick(20), &mut changes);
        let drawn = |plane: &MotionPlane| {
            let packet = plane.full_packets(HERE).remove(0);
            let update = SectorUpdate::decode(&packet.bytes).expect("an own packet");
            let motion = update.motions.iter().find(|motion| motion.net_id == NetId(5)).expect("it is there");
            motion.state.position.x
        };
        assert!(drawn(&plane) > 60.0, "a lost update is bridged");
        plane.set_authority(NetId(5), None);
        assert!((drawn(&plane) - 20.0).abs() < 0.1);
        plane.set_authority(NetId(5), Some(B));
        assert!((drawn(&plane) - 20.0).abs() < 0.1);
        plane.apply(B, &told(5, 21, flying), SimTick(21), &mut changes);
        plane.apply(B, &told(6, 31, at(900.0)), SimTick(31), &mut changes);
        assert!(drawn(&plane) > 60.0);
    }
}
