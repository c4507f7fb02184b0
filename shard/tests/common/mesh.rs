//! Two shards and a server that only passes messages on, with a delay each way.

use super::*;
use sidereal_protocol::rules::{economy::OreMove, shot::Beam};
use sidereal_shard::bodies::Body;
use std::collections::BTreeMap;

pub const WEST: SectorId = SectorId::new(0, 0);
pub const EAST: SectorId = SectorId::new(1, 0);

/// Two shards side by side. Each frame and each datagram takes `delay` ticks to the server and `delay` from it.
pub struct Mesh {
    pub shards: [Shard; 2],
    /// The shard that owns each entity, and under which epoch.
    pub authority: BTreeMap<EntityId, (usize, u64)>,
    pub now: u64,
    pub delay: u64,
    /// A commit is sent without an offer, as the server does when the target is known to be ready.
    pub at_once: bool,
    /// Every impact is passed on twice, which no server does.
    pub doubles_impacts: bool,
    pub handoffs: u64,
    pub impacts: Vec<(u64, GhostImpact)>,
    /// Each beam as it was first sent, with the shard that sent it.
    pub beams: Vec<(usize, Beam)>,
    pub destroyed: Vec<(EntityId, u64, Option<EntityId>)>,
    /// The ledger: the ore of each entity.
    pub ore: BTreeMap<EntityId, u32>,
    /// The moves that were requested.
    pub ore_moves: Vec<OreMove>,
    sectors: [Vec<SectorId>; 2],
    offers: BTreeMap<EntityId, (EntityRecord, u32)>,
    history: BTreeMap<EntityId, Vec<Input>>,
    wire: Vec<(u64, Parcel)>,
}

#[derive(Debug)]
enum Parcel {
    FromShard(usize, ToServer),
    ToShard(usize, ToShard),
    Motion(usize, SectorUpdate),
    News(usize, GhostNews),
}

impl Mesh {
    /// One shard has [`WEST`], the other one [`EAST`].
    pub fn new(west: Vec<EntityRecord>, east: Vec<EntityRecord>, delay: u64) -> Self {
        Self::with([vec![WEST], vec![EAST]], [west, east].concat(), delay)
    }

    /// Each shard has the given sectors, and the records in them.
    pub fn with(sectors: [Vec<SectorId>; 2], records: Vec<EntityRecord>, delay: u64) -> Self {
        let mut authority = BTreeMap::new();
        let mut shards = [Shard::new(1), Shard::new(2)];
        for (index, shard) in shards.iter_mut().enumerate() {
            let own: Vec<EntityRecord> =
                records.iter().filter(|record| sectors[index].contains(&record.sector)).cloned().collect();
            authority.extend(own.iter().map(|record| (record.id, (index, record.epoch))));
            shard.grant(&sectors[index], own);
            // Both receive all announcements: of an own body there is no ghost.
            for record in &records {
                shard.news(GhostNews::Appeared(Box::new(Body::of(record))));
            }
            shard.app.update();
            shard.frames();
        }
        assert_eq!(authority.len(), records.len(), "every record is in a sector of one of the shards");
        Self {
            shards,
            authority,
            now: START,
            delay,
            at_once: false,
            doubles_impacts: false,
            handoffs: 0,
            impacts: Vec::new(),
            beams: Vec::new(),
            destroyed: Vec::new(),
            ore: records.iter().map(|record| (record.id, record.ore())).collect(),
            ore_moves: Vec::new(),
            sectors,
            offers: BTreeMap::new(),
            history: BTreeMap::new(),
            wire: Vec::new(),
        }
    }

    fn post(&mut self, parcel: Parcel) {
        self.wire.push((self.now + self.delay, parcel));
    }

    /// A pilot's input that has reached the server.
    pub fn input(&mut self, id: EntityId, input: Input) {
        self.history.entry(id).or_default().push(input);
        if let Some(&(shard, _)) = self.authority.get(&id) {
            self.post(Parcel::ToShard(
                shard,
                ToShard::Inputs(vec![ShipInputs { id, boarding: 0, rewind: REWIND, inputs: vec![input] }]),
            ));
        }
    }

    pub fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.tick();
        }
    }

    pub fn tick(&mut self) {
        self.now += 1;
        for (_, parcel) in self.wire.extract_if(.., |(due, _)| *due <= self.now).collect::<Vec<_>>() {
            match parcel {
                Parcel::FromShard(shard, frame) => self.serve(shard, frame),
                Parcel::ToShard(shard, frame) => self.shards[shard].send(frame),
                Parcel::Motion(shard, update) => self.shards[shard].update_from(update),
                Parcel::News(shard, news) => self.shards[shard].news(news),
            }
        }
        for index in 0..2 {
            self.shards[index].tick();
            for frame in self.shards[index].frames() {
                self.post(Parcel::FromShard(index, frame));
            }
            for update in sector_updates(&self.shards[index].datagrams()) {
                for &beam in &update.beams {
                    if !self.beams.iter().any(|(_, known)| known.id == beam.id) {
                        self.beams.push((index, beam));
                    }
                }
                self.wire.push((self.now + 2 * self.delay, Parcel::Motion(1 - index, update)));
            }
        }
        self.check();
    }

    fn serve(&mut self, from: usize, frame: ToServer) {
        let other = 1 - from;
        match frame {
            ToServer::Prepare { mut record, to, attempt } => {
                let current = self.authority.get(&record.id) == Some(&(from, record.epoch));
                if !current || self.offers.contains_key(&record.id) {
                    return;
                }
                if !self.sectors[other].contains(&to) {
                    self.post(Parcel::ToShard(from, ToShard::Abort { id: record.id, attempt }));
                    return;
                }
                record.epoch += 1;
                record.sector = to;
                if self.at_once {
                    self.commit(other, *record);
                    return;
                }
                self.offers.insert(record.id, (*record.clone(), attempt));
                self.post(Parcel::ToShard(other, ToShard::Offer { record }));
            }
            ToServer::Accept { id, epoch } => {
                let Some((record, _)) = self.offers.remove(&id) else { return };
                assert_eq!(record.epoch, epoch);
                self.commit(from, record);
            }
            ToServer::Refuse { id, .. } => {
                if let Some((_, attempt)) = self.offers.remove(&id) {
                    self.post(Parcel::ToShard(other, ToShard::Abort { id, attempt }));
                }
            }
            ToServer::Impact(impact) => {
                self.impacts.push((self.now, impact));
                if let Some(&(shard, _)) = self.authority.get(&impact.target) {
                    for _ in 0..if self.doubles_impacts { 2 } else { 1 } {
                        self.post(Parcel::ToShard(shard, ToShard::Impact(impact)));
                    }
                }
            }
            ToServer::Shot { shot, .. } => self.post(Parcel::ToShard(other, ToShard::Shot(shot))),
            ToServer::Record(record) => {
                if let std::collections::btree_map::Entry::Vacant(new) = self.authority.entry(record.id) {
                    if self.destroyed.iter().any(|(id, ..)| *id == record.id) {
                        return;
                    }
                    new.insert((from, record.epoch));
                    let body = Body::of(&record);
                    self.post(Parcel::News(other, GhostNews::Appeared(Box::new(body.clone()))));
                    self.post(Parcel::News(from, GhostNews::Appeared(Box::new(body))));
                }
            }
            ToServer::OreMove(asked) => {
                self.ore_moves.push(asked);
                let known = |id: &EntityId| self.ore.contains_key(id);
                if self.authority.get(&asked.to).is_none_or(|(shard, _)| *shard != from) || !known(&asked.from) {
                    return;
                }
                let moved = asked.ore.min(self.ore[&asked.from]);
                *self.ore.entry(asked.from).or_default() -= moved;
                *self.ore.entry(asked.to).or_default() += moved;
                for id in [asked.from, asked.to] {
                    let holdings = ToShard::Holdings { id, ore: self.ore[&id] };
                    self.post(Parcel::ToShard(from, holdings.clone()));
                    if self.authority.get(&id).is_some_and(|(shard, _)| *shard == other) {
                        self.post(Parcel::ToShard(other, holdings));
                    }
                }
            }
            ToServer::Destroyed { id, epoch, tick, by, wreck, .. } => {
                if self.authority.get(&id) != Some(&(from, epoch)) {
                    return;
                }
                self.authority.remove(&id);
                self.offers.remove(&id);
                self.destroyed.push((id, tick.0, by));
                let cargo = self.ore.remove(&id).unwrap_or_default();
                if let Some(wreck) = wreck {
                    self.authority.insert(wreck.id, (from, wreck.epoch));
                    self.ore.insert(wreck.id, cargo);
                    for shard in 0..2 {
                        self.post(Parcel::News(shard, GhostNews::Appeared(Box::new(Body::of(&wreck)))));
                    }
                }
                for shard in 0..2 {
                    self.post(Parcel::News(shard, GhostNews::Gone(id)));
                }
            }
            _ => {}
        }
    }

    fn commit(&mut self, to: usize, mut record: EntityRecord) {
        let ore = self.ore.get(&record.id).copied().unwrap_or_default();
        record.set(OreLoad(ore));
        let (id, epoch) = (record.id, record.epoch);
        let last = record.pilot().map(|pilot| pilot.last_input);
        let history = self.history.get(&id).cloned().unwrap_or_default();
        let inputs = history.into_iter().filter(|input| Some(input.tick) > last).collect();
        self.authority.insert(id, (to, epoch));
        self.post(Parcel::ToShard(to, ToShard::Commit { record: Box::new(record), inputs }));
        self.post(Parcel::ToShard(1 - to, ToShard::Release { id, epoch }));
        self.handoffs += 1;
    }

    /// No entity has two owners; the owner is the authority, or about to become it.
    fn check(&self) {
        for (&id, &(shard, _)) in &self.authority {
            let owners = self.shards.iter().filter(|shard| shard.owns(id)).count();
            let under_way = self.wire.iter().any(|(_, parcel)| match parcel {
                Parcel::ToShard(_, ToShard::Commit { record, .. }) => record.id == id,
                Parcel::ToShard(_, ToShard::Release { id: other, .. })
                | Parcel::FromShard(_, ToServer::Destroyed { id: other, .. }) => *other == id,
                _ => false,
            });
            assert!(under_way || (owners == 1 && self.shards[shard].owns(id)), "{id} at {}", self.now);
            for shard in self.shards.iter().filter(|shard| shard.entity(id).is_some()) {
                assert!(shard.state(id).is_finite());
            }
        }
    }

    pub fn lives(&self, id: EntityId) -> bool {
        self.authority.contains_key(&id)
    }

    /// The shard that is the authority of `id`.
    pub fn owner(&self, id: EntityId) -> &Shard {
        &self.shards[self.authority[&id].0]
    }

    /// The sum of a counter over both shards.
    pub fn total(&self, counter: impl Fn(&Totals) -> u64) -> u64 {
        self.shards.iter().map(|shard| counter(shard.totals())).sum()
    }
}
