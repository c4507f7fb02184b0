//! The machine through every interleaving with a server and another shard.

use super::*;
use sidereal_protocol::{DVec2, control::ToShard, flight::FlightState, ids::NetId, record::EntityKind};
use std::collections::{HashSet, VecDeque};

const ID: fn() -> EntityId = || EntityId::from_halves(7, 7);
const HERE: SectorId = SectorId::new(0, 0);
const THERE: SectorId = SectorId::new(1, 0);

fn record(epoch: u64, sector: SectorId) -> Box<EntityRecord> {
    Box::new(EntityRecord {
        net_id: NetId(1),
        epoch,
        sector,
        radius: 10.0,
        hull: 10,
        hull_max: 10,
        ..EntityRecord::at_rest(ID(), EntityKind::Asteroid, DVec2::ZERO, SimTick(100))
    })
}

fn impact(damage: u16) -> GhostImpact {
    GhostImpact {
        target: ID(),
        source: None,
        cause: ImpactCause::Contact { other: ID() },
        impulse: DVec2::ZERO,
        damage,
        tick: SimTick(100),
    }
}

fn crossed() -> Event {
    Event::Crossed { id: ID(), to: THERE }
}

#[test]
fn a_crossing_is_asked_for_once_and_again_after_two_seconds() {
    let mut handoffs = Handoffs::default();
    let prepare = vec![Action::Prepare { id: ID(), to: THERE }];
    assert_eq!(handoffs.step(SimTick(100), crossed()), prepare);
    assert_eq!(handoffs.step(SimTick(101), crossed()), vec![]);
    assert_eq!(handoffs.step(SimTick(100 + ASK_AGAIN_TICKS - 1), Event::Tick), vec![]);
    assert_eq!(handoffs.step(SimTick(100 + ASK_AGAIN_TICKS), Event::Tick), prepare);
    assert_eq!(handoffs.step(SimTick(101 + ASK_AGAIN_TICKS), Event::Tick), vec![]);
}

#[test]
fn damage_is_held_back_while_leaving_and_goes_with_the_authority() {
    let mut handoffs = Handoffs::default();
    assert_eq!(handoffs.step(SimTick(1), Event::Struck(impact(1))), vec![Action::Strike(impact(1))]);
    handoffs.step(SimTick(100), crossed());
    assert_eq!(handoffs.step(SimTick(101), Event::Struck(impact(2))), vec![]);
    let mut aborted = handoffs.clone();
    let released = handoffs.step(SimTick(102), Event::Released { id: ID(), epoch: 5, owned: Some(4) });
    assert_eq!(released, vec![Action::BecomeGhost { id: ID() }, Action::Send(ToServer::Impact(impact(2)))]);
    assert_eq!(
        aborted.step(SimTick(102), Event::Aborted { id: ID(), epoch: 5 }),
        vec![Action::Resume { id: ID(), settled_at: SimTick(102 + SETTLE_TICKS) }, Action::Strike(impact(2))]
    );
}

#[test]
fn an_offer_is_refused_with_the_reason() {
    let mut handoffs = Handoffs::default();
    let refused = |reason| vec![Action::Send(ToServer::Refuse { id: ID(), epoch: 5, reason })];
    let offer = |leased, owned| Event::Offered { record: record(5, HERE), leased, owned };
    assert_eq!(handoffs.step(SimTick(1), offer(true, Some(4))), refused(RefuseReason::AlreadyOwned));
    assert_eq!(handoffs.step(SimTick(1), offer(false, None)), refused(RefuseReason::NoLease));
    let mut bad = record(5, HERE);
    bad.radius = f64::NAN;
    let bad = Event::Offered { record: bad, leased: true, owned: None };
    assert_eq!(handoffs.step(SimTick(1), bad), refused(RefuseReason::BadRecord));
    assert_eq!(handoffs.offers(), 0);
}

#[test]
fn an_offer_is_adopted_once_and_only_under_its_epoch() {
    let mut handoffs = Handoffs::default();
    let offer = Event::Offered { record: record(5, HERE), leased: true, owned: None };
    handoffs.step(SimTick(1), offer);
    let commit = |epoch| Event::Committed { id: ID(), epoch, inputs: vec![] };
    assert_eq!(handoffs.step(SimTick(2), commit(4)), vec![]);
    assert_eq!(handoffs.step(SimTick(2), commit(5)), vec![Action::Adopt { record: record(5, HERE), inputs: vec![] }]);
    assert_eq!(handoffs.step(SimTick(2), commit(5)), vec![]);
}

#[test]
fn an_offer_that_nobody_commits_is_forgotten() {
    let mut handoffs = Handoffs::default();
    let offer = Event::Offered { record: record(5, HERE), leased: true, owned: None };
    handoffs.step(SimTick(1), offer);
    handoffs.step(SimTick(1 + OFFER_TICKS), Event::Tick);
    assert_eq!(handoffs.offers(), 1);
    handoffs.step(SimTick(2 + OFFER_TICKS), Event::Tick);
    assert_eq!(handoffs.offers(), 0);
    let commit = Event::Committed { id: ID(), epoch: 5, inputs: vec![] };
    assert_eq!(handoffs.step(SimTick(200), commit), vec![]);
}

#[test]
fn a_release_under_an_old_epoch_or_of_a_stranger_does_nothing() {
    let mut handoffs = Handoffs::default();
    let release = |owned| Event::Released { id: ID(), epoch: 5, owned };
    assert_eq!(handoffs.step(SimTick(1), release(Some(5))), vec![]);
    assert_eq!(handoffs.step(SimTick(1), release(Some(6))), vec![]);
    assert_eq!(handoffs.step(SimTick(1), release(None)), vec![]);
}

/// A world of two shards and a server, with a queue each way, as a state to explore.
#[derive(Clone)]
struct World {
    now: u64,
    machines: [Handoffs; 2],
    owned: [Option<u64>; 2],
    to_server: [VecDeque<ToServer>; 2],
    to_shard: [VecDeque<ToShard>; 2],
    server: Server,
    crossings_left: u8,
    timeouts_left: u8,
    ticks_left: u8,
    deaths_left: u8,
    damage_dealt: u32,
    damage_taken: u32,
    dead: bool,
    fault: Fault,
}

/// A fault that is planted to see the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    ReleasesAreIgnored,
    HeldDamageIsDropped,
}

/// What the server knows: the authority, its epoch, and an offer under way.
#[derive(Clone, Debug)]
struct Server {
    authority: usize,
    epoch: u64,
    last_epoch: u64,
    offer: Option<(usize, u64)>,
    dead: bool,
}

impl World {
    fn new(fault: Fault) -> Self {
        Self {
            now: 100,
            machines: [Handoffs::default(), Handoffs::default()],
            owned: [Some(1), None],
            to_server: Default::default(),
            to_shard: Default::default(),
            server: Server { authority: 0, epoch: 1, last_epoch: 1, offer: None, dead: false },
            crossings_left: 2,
            timeouts_left: 1,
            ticks_left: 1,
            deaths_left: 1,
            damage_dealt: 0,
            damage_taken: 0,
            dead: false,
            fault,
        }
    }

    fn feed(&mut self, shard: usize, event: Event) {
        let now = SimTick(self.now);
        let aborted = matches!(event, Event::Aborted { .. });
        for action in self.machines[shard].step(now, event) {
            match action {
                Action::Prepare { to, .. } => {
                    let Some(epoch) = self.owned[shard] else { continue };
                    let record = record(epoch, HERE);
                    self.to_server[shard].push_back(ToServer::Prepare { record, to });
                }
                Action::Send(message) => self.to_server[shard].push_back(message),
                Action::Strike(_) if aborted && self.fault == Fault::HeldDamageIsDropped => {}
                Action::BecomeGhost { .. } if self.fault == Fault::ReleasesAreIgnored => {}
                Action::Strike(_) => {
                    if self.owned[shard].is_some() {
                        self.damage_taken += 1;
                    }
                }
                Action::Resume { .. } => assert!(self.owned[shard].is_some(), "resumed a stranger"),
                Action::BecomeGhost { .. } => {
                    assert!(self.owned[shard].take().is_some(), "released a stranger");
                }
                Action::Adopt { record, .. } => {
                    assert!(self.owned[shard].is_none(), "adopted its own");
                    self.owned[shard] = Some(record.epoch);
                }
            }
        }
    }

    /// Delivers the oldest frame to `shard`.
    fn deliver(&mut self, shard: usize) {
        let owned = self.owned[shard];
        match self.to_shard[shard].pop_front() {
            Some(ToShard::Offer { record }) => {
                self.feed(shard, Event::Offered { record, leased: true, owned });
            }
            Some(ToShard::Commit { id, epoch, inputs }) => {
                self.feed(shard, Event::Committed { id, epoch, inputs });
            }
            Some(ToShard::Release { id, epoch }) => {
                self.feed(shard, Event::Released { id, epoch, owned });
            }
            Some(ToShard::Abort { id, epoch }) => self.feed(shard, Event::Aborted { id, epoch }),
            Some(ToShard::Impact(impact)) => self.feed(shard, Event::Struck(impact)),
            other => panic!("not modelled: {other:?}"),
        }
    }

    /// The server takes the oldest frame from `shard`.
    fn serve(&mut self, shard: usize) {
        let other = 1 - shard;
        let server = &mut self.server;
        match self.to_server[shard].pop_front() {
            Some(ToServer::Prepare { record: asked, .. }) => {
                let current = server.authority == shard && server.epoch == asked.epoch;
                if current && server.offer.is_none() && !server.dead {
                    server.last_epoch += 1;
                    server.offer = Some((other, server.last_epoch));
                    let record = record(server.last_epoch, THERE);
                    self.to_shard[other].push_back(ToShard::Offer { record });
                }
            }
            Some(ToServer::Accept { id, epoch }) => {
                if server.offer == Some((shard, epoch)) {
                    server.offer = None;
                    server.authority = shard;
                    server.epoch = epoch;
                    self.to_shard[shard].push_back(ToShard::Commit { id, epoch, inputs: vec![] });
                    self.to_shard[other].push_back(ToShard::Release { id, epoch });
                } else {
                    self.to_shard[shard].push_back(ToShard::Abort { id, epoch });
                }
            }
            Some(ToServer::Refuse { id, epoch, .. }) => {
                if server.offer == Some((shard, epoch)) {
                    server.offer = None;
                    self.to_shard[other].push_back(ToShard::Abort { id, epoch });
                }
            }
            Some(ToServer::Impact(impact)) => {
                if !server.dead {
                    self.to_shard[server.authority].push_back(ToShard::Impact(impact));
                }
            }
            Some(ToServer::Destroyed { epoch, .. }) => {
                if server.authority == shard && server.epoch == epoch {
                    server.dead = true;
                    if let Some((target, epoch)) = server.offer.take() {
                        self.to_shard[target].push_back(ToShard::Abort { id: ID(), epoch });
                    }
                }
            }
            message => panic!("not modelled: {message:?}"),
        }
    }

    /// Every world that this one can become next.
    fn successors(&self) -> Vec<World> {
        let mut next = Vec::new();
        let mut add = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            next.push(world);
        };
        for shard in 0..2 {
            if !self.to_shard[shard].is_empty() {
                add(&|world| world.deliver(shard));
            }
            if !self.to_server[shard].is_empty() {
                add(&|world| world.serve(shard));
            }
            let Some(epoch) = self.owned[shard] else { continue };
            if self.crossings_left > 0 && !self.machines[shard].is_leaving(ID()) {
                add(&|world| {
                    world.crossings_left -= 1;
                    world.feed(shard, crossed());
                });
            }
            if self.damage_dealt < 2 {
                add(&|world| {
                    world.damage_dealt += 1;
                    world.feed(shard, Event::Struck(impact(1)));
                });
            }
            if self.deaths_left > 0 {
                add(&|world| {
                    world.deaths_left -= 1;
                    world.owned[shard] = None;
                    world.dead = true;
                    let now = SimTick(world.now);
                    world.machines[shard].step(now, Event::Gone { id: ID() });
                    world.to_server[shard].push_back(ToServer::Destroyed {
                        id: ID(),
                        epoch,
                        version: 1,
                        tick: now,
                        by: None,
                    });
                });
            }
        }
        if self.timeouts_left > 0
            && let Some((target, epoch)) = self.server.offer
        {
            add(&|world| {
                world.timeouts_left -= 1;
                world.server.offer = None;
                world.to_shard[target].push_back(ToShard::Abort { id: ID(), epoch });
                world.to_shard[1 - target].push_back(ToShard::Abort { id: ID(), epoch });
            });
        }
        if self.ticks_left > 0 {
            add(&|world| {
                world.ticks_left -= 1;
                world.now += ASK_AGAIN_TICKS;
                world.feed(0, Event::Tick);
                world.feed(1, Event::Tick);
            });
        }
        next
    }

    fn is_quiet(&self) -> bool {
        self.to_server.iter().all(VecDeque::is_empty) && self.to_shard.iter().all(VecDeque::is_empty)
    }

    fn check(&self) {
        if let [Some(one), Some(other)] = self.owned {
            assert_ne!(one, other, "two owners under one epoch: {}", self.dump());
            // The older one has its release on the way.
            let older = usize::from(one > other);
            let released = self.to_shard[older].iter().any(|frame| matches!(frame, ToShard::Release { .. }));
            assert!(released, "an old owner stays: {}", self.dump());
        }
        if !self.is_quiet() || self.dead {
            return;
        }
        // Nothing under way: exactly the server's authority owns it, under the server's epoch.
        let authority = self.server.authority;
        assert_eq!(self.owned[authority], Some(self.server.epoch), "{}", self.dump());
        assert_eq!(self.owned[1 - authority], None, "{}", self.dump());
        let held = self.damage_dealt - self.damage_taken;
        let leaving = self.machines[authority].is_leaving(ID());
        assert!(held == 0 || leaving, "damage was lost: {}", self.dump());
    }

    fn dump(&self) -> String {
        format!(
            "{:?}",
            (
                (&self.machines, self.owned, &self.to_server, &self.to_shard, &self.server),
                (self.crossings_left, self.timeouts_left, self.ticks_left, self.deaths_left),
                (self.damage_dealt, self.damage_taken, self.dead, self.now),
            )
        )
    }
}

/// Goes through every course that a world can take; returns the states that were reached, and how many
/// quiet ones in which the entity had gone there and back.
fn explore(fault: Fault) -> (usize, usize) {
    let mut seen = HashSet::new();
    let mut open = vec![World::new(fault)];
    let mut returned = 0;
    while let Some(world) = open.pop() {
        if !seen.insert(world.dump()) {
            continue;
        }
        world.check();
        returned += usize::from(world.is_quiet() && world.server.epoch == 3);
        open.extend(world.successors());
    }
    (seen.len(), returned)
}

#[test]
fn every_interleaving_ends_with_one_owner_and_no_lost_damage() {
    let (states, returned) = explore(Fault::None);
    assert!(states > 10_000, "only {states} states were reached");
    assert!(returned > 0, "no course brought the entity there and back");
}

#[test]
#[should_panic(expected = "an old owner stays")]
fn the_check_finds_an_old_owner_that_stays() {
    explore(Fault::ReleasesAreIgnored);
}

#[test]
#[should_panic(expected = "damage was lost")]
fn the_check_finds_damage_that_is_dropped() {
    explore(Fault::HeldDamageIsDropped);
}
