//! Single crossings of a border, with a mishap at every step.

use sidereal_client::{flight::controls::PilotIntent, session::SessionState};
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause},
    record::{EntityKind, EntityRecord, Structure},
    rules::{
        flight::{Controls, FlightState, wrap_angle},
        shot::ShotId,
    },
    world::{
        ids::{EntityId, NetId, ShardId},
        tick::{SimTick, TICK_HZ},
    },
};
use sidereal_server::{
    handoff::transfers::HandoffState,
    replication::mirror::{Holder, Mirror},
};
use sidereal_shard::{damage::Impacts, handoff::Handoffs};
use sidereal_tests::cluster::{Cluster, PERFECT, Setup};
use sidereal_transport::network::memory::LinkConditions;
use std::{collections::BTreeSet, time::Duration};

/// Every message takes longer than a tick, so that each step of a handoff can be reached by stepping.
const FAR: LinkConditions = LinkConditions { latency_ms: 40, ..PERFECT };

const LOSSY: LinkConditions =
    LinkConditions { latency_ms: 8, jitter_ms: 6, loss: 0.05, duplication: 0.01, reordering: 0.02 };

const AHEAD: Controls = Controls { thrust: 127, turn: 0, buttons: Controls::BOOST };

/// Empty space around the centre.
fn empty(seed: u64, conditions: LinkConditions, shards: usize) -> Setup {
    let idle_timeout = Duration::from_secs(2);
    Setup { seed, conditions, shards, idle_timeout, home: Some(Vec::new()), ..Setup::default() }
}

fn heading(position: DVec2, toward: DVec2) -> FlightState {
    FlightState { position, angle: (toward - position).to_angle(), ..FlightState::default() }
}

/// Controls that fly from `state` towards `goal`: the engine pushes along the difference to the wanted velocity.
fn towards(state: &FlightState, goal: DVec2) -> Controls {
    let missing = (goal - state.position).normalize_or_zero() * 150.0 - state.velocity;
    let error = wrap_angle(missing.to_angle() - state.angle - 0.2 * state.angular_velocity);
    let thrust = if error.abs() < 0.6 { missing.length().min(127.0) as i8 } else { 0 };
    Controls { thrust, turn: (error * 200.0).clamp(-127.0, 127.0) as i8, buttons: 0 }
}

/// Every input of a player was applied once.
fn assert_inputs_exact(cluster: &mut Cluster, player: usize) {
    let inputs = cluster.settle(player);
    assert_eq!((inputs.lost, inputs.doubled), (0, 0), "{inputs:?}");
    // Inputs that were given up in an outage may have been applied or not.
    assert_eq!(inputs.sent, inputs.acknowledged + inputs.given_up + inputs.void, "{inputs:?}");
    assert!((inputs.acknowledged..=inputs.sent).contains(&inputs.applied), "{inputs:?}");
}

/// A ship that is about to cross from one shard's sectors to another's.
struct Crossing {
    cluster: Cluster,
    player: usize,
    ship: EntityId,
    source: usize,
    target: usize,
    target_id: ShardId,
}

/// The visible state of a handoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sight {
    /// The source has sent its prepare.
    leaving: bool,
    /// The server has received it, and waits for an answer.
    under_way: bool,
    /// The mirror names the target.
    moved: bool,
    source_owns: bool,
    target_owns: bool,
}

impl Crossing {
    fn new() -> Self {
        let mut cluster = Cluster::of(empty(21, FAR, 2));
        let player = cluster.join_and_fly("ada");
        let ship = cluster.ship_of(player).expect("flying");
        cluster.place(ship, heading(DVec2::new(-120.0, 40.0), DVec2::new(500.0, 40.0)));
        cluster.ticks(60);
        let (source, _) = cluster.truth(ship).expect("simulated");
        cluster.steer(player, AHEAD);
        let target = 1 - source;
        let target_id = cluster.shard_id(target);
        Self { cluster, player, ship, source, target, target_id }
    }

    fn owns(&mut self, shard: usize) -> bool {
        let ship = self.ship;
        let Some(app) = &mut self.cluster.shards[shard] else { return false };
        sidereal_shard::bodies::owned_epoch(app.world(), ship).is_some()
    }

    fn sight(&mut self) -> Sight {
        let leaving = self.cluster.shards[self.source]
            .as_ref()
            .is_some_and(|app| app.world().resource::<Handoffs>().is_leaving(self.ship));
        let machine = &self.cluster.server.world().resource::<HandoffState>().machine;
        let under_way = machine.is_under_way(self.ship);
        Sight {
            leaving,
            under_way,
            moved: self.cluster.holder(self.ship) == Some(Holder::Shard(self.target_id)),
            source_owns: self.owns(self.source),
            target_owns: self.owns(self.target),
        }
    }

    /// All visible states of a handoff without mishaps, from the first step to the last.
    fn course() -> Vec<Sight> {
        let mut crossing = Self::new();
        let first = crossing.sight();
        let mut seen = vec![first];
        for _ in 0..200 {
            crossing.cluster.tick_once();
            let sight = crossing.sight();
            if seen.last() != Some(&sight) {
                seen.push(sight);
            }
            if sight.target_owns && !sight.under_way {
                // Before it began there can be no mishap.
                return seen.split_off(1);
            }
        }
        panic!("no handoff: {seen:?}");
    }

    /// A crossing that has reached `sight`.
    fn at(sight: Sight) -> Self {
        let mut crossing = Self::new();
        for _ in 0..200 {
            crossing.cluster.tick_once();
            if crossing.sight() == sight {
                return crossing;
            }
        }
        panic!("never seen: {sight:?}");
    }

    /// The ship survives `deed` at each step of a handoff: it is there once, and follows its player's inputs.
    fn survives(deed: impl Fn(&mut Self)) {
        let course = Self::course();
        assert!(course.len() >= 4, "{course:?}");
        for sight in course {
            let mut crossing = Self::at(sight);
            deed(&mut crossing);
            crossing.flies_on(sight);
        }
    }

    fn flies_on(mut self, sight: Sight) {
        let cluster = &mut self.cluster;
        cluster.quiesce();
        cluster.until_flying(self.player);
        assert_eq!(cluster.ship_of(self.player), Some(self.ship), "{sight:?}");
        let (_, is) = cluster.truth(self.ship).expect("simulated");
        cluster.steer(self.player, AHEAD);
        cluster.ticks(90);
        let (_, flown) = cluster.truth(self.ship).expect("simulated");
        assert!(flown.position.distance(is.position) > 100.0, "{sight:?}: it does not obey: {is:?} {flown:?}");
        assert_inputs_exact(cluster, self.player);
    }

    /// The ship's hull points in the mirror.
    fn hull(&self) -> u16 {
        let mirror = self.cluster.server.world().resource::<Mirror>();
        mirror.get(self.ship).expect("it is in the world").record.hull()
    }

    /// Hits the ship at `shard` so that it is destroyed.
    fn destroy_at(&mut self, shard: usize) {
        let app = self.cluster.shards[shard].as_mut().expect("it lives");
        app.world_mut().resource_mut::<Impacts>().push(GhostImpact {
            target: self.ship,
            source: None,
            cause: ImpactCause::Bullet(ShotId { shooter: NetId(77_777), tick: SimTick(1) }),
            impulse: DVec2::ZERO,
            damage: 10_000,
            tick: SimTick(1),
        });
    }
}

#[test]
fn a_source_that_dies_at_any_step_loses_nothing() {
    Crossing::survives(|crossing| crossing.cluster.kill_shard(crossing.source));
    Crossing::survives(|crossing| crossing.cluster.silence_shard(crossing.source));
}

#[test]
fn a_target_that_dies_at_any_step_loses_nothing() {
    Crossing::survives(|crossing| crossing.cluster.kill_shard(crossing.target));
    Crossing::survives(|crossing| crossing.cluster.silence_shard(crossing.target));
}

#[test]
fn both_that_die_at_any_step_lose_nothing() {
    Crossing::survives(|crossing| {
        crossing.cluster.kill_shard(crossing.source);
        crossing.cluster.silence_shard(crossing.target);
        crossing.cluster.start_shard();
    });
}

#[test]
fn a_server_that_dies_at_any_step_loses_nothing() {
    Crossing::survives(|crossing| crossing.cluster.kill_server());
}

#[test]
fn a_player_who_leaves_at_any_step_finds_the_ship_again() {
    for sight in Crossing::course() {
        let Crossing { mut cluster, player, ship, .. } = Crossing::at(sight);
        cluster.leave(player);
        cluster.until("the ship is out of the world", 400, |cluster| cluster.holder(ship).is_none());
        assert_eq!((cluster.tally().stored, cluster.tally().destroyed), (1, 0), "{sight:?}");
        cluster.players.clear();
        let player = cluster.join_and_fly("ada");
        assert_eq!(cluster.ship_of(player), Some(ship), "{sight:?}");
        cluster.quiesce();
    }
}

/// The player takes over with another session, which is no way out of a fight: the ship is in the world in every tick,
/// is hit meanwhile, and follows the new session's inputs, each of which is applied once.
fn taken_over_in_place(mut crossing: Crossing, sight: Sight) {
    let before = (crossing.cluster.tally().admitted, crossing.cluster.tally().stored);
    let hull = crossing.hull();
    let Crossing { cluster, ship, .. } = &mut crossing;
    let ship = *ship;
    let player = cluster.join("ada");
    let mut struck = false;
    for tick in 0..200 {
        assert!(cluster.holder(ship).is_some(), "{sight:?}: lifted out of the world");
        // Once, as soon as a shard simulates it: between two shards none does.
        struck = struck || tick >= 2 && cluster.strike(ship, 7);
        cluster.tick_once();
    }
    assert_eq!(cluster.ship_of(player), Some(ship), "{sight:?}");
    assert_eq!((cluster.tally().admitted, cluster.tally().stored), before, "{sight:?}");
    assert_eq!(cluster.tally().takeovers, 1, "{sight:?}");
    crossing.player = player;
    crossing.cluster.quiesce();
    assert_eq!(crossing.hull(), hull - 7, "{sight:?}: it was under fire meanwhile");
    crossing.flies_on(sight);
}

#[test]
fn a_second_log_in_at_any_step_takes_the_helm_of_the_ship_where_it_is() {
    for sight in Crossing::course() {
        let crossing = Crossing::at(sight);
        let first = crossing.player;
        let cluster = &crossing.cluster;
        assert_eq!(*cluster.session(first), SessionState::InSpace);
        taken_over_in_place(crossing, sight);
    }
}

#[test]
fn a_player_who_comes_back_in_time_at_any_step_finds_the_ship_where_it_is() {
    for sight in Crossing::course() {
        let mut crossing = Crossing::at(sight);
        crossing.cluster.leave(crossing.player);
        crossing.cluster.ticks(60);
        taken_over_in_place(crossing, sight);
    }
}

#[test]
fn who_comes_back_when_the_ship_is_being_given_back_gets_it_from_there() {
    let mut ways = BTreeSet::new();
    // The grace time is over after 150 ticks, every message takes more than one, and connecting takes some.
    for moment in (100..164).step_by(3) {
        let Crossing { mut cluster, player, ship, .. } = Crossing::new();
        cluster.steer(player, Controls::default());
        cluster.leave(player);
        cluster.ticks(moment);
        let player = cluster.join_and_fly("ada");
        assert_eq!(cluster.ship_of(player), Some(ship), "{moment}");
        let way = (cluster.tally().takeovers, cluster.tally().stored);
        assert!([(1, 0), (0, 1)].contains(&way), "{moment}: one way or the other: {way:?}");
        ways.insert(way);
        assert_inputs_exact(&mut cluster, player);
        cluster.quiesce();
    }
    assert_eq!(ways.len(), 2, "{ways:?}");
}

#[test]
fn who_comes_back_to_a_ship_whose_shard_has_died_finds_it_where_it_is() {
    for asked in [false, true] {
        let Crossing { mut cluster, player, ship, source, .. } = Crossing::new();
        cluster.steer(player, Controls::default());
        cluster.leave(player);
        if asked {
            // The shard dies before it can answer the withdrawal.
            cluster.ticks(150);
            cluster.until("it is to be given back", 20, |cluster| cluster.is_given_back(ship));
        } else {
            cluster.ticks(30);
        }
        cluster.silence_shard(source);
        let player = cluster.join_and_fly("ada");
        assert_eq!(cluster.ship_of(player), Some(ship), "{asked}");
        assert_eq!((cluster.tally().takeovers, cluster.tally().stored), (1, 0), "{asked}");
        assert_inputs_exact(&mut cluster, player);
        cluster.quiesce();
    }
}

#[test]
fn a_ship_that_is_destroyed_at_any_step_is_destroyed_once() {
    for sight in Crossing::course() {
        for at_source in [true, false] {
            if !(if at_source { sight.source_owns } else { sight.target_owns }) {
                continue;
            }
            let mut crossing = Crossing::at(sight);
            crossing.destroy_at(if at_source { crossing.source } else { crossing.target });
            let Crossing { mut cluster, player, ship, .. } = crossing;
            cluster.until("the ship is destroyed", 200, |cluster| *cluster.session(player) == SessionState::Destroyed);
            assert_eq!(cluster.tally().destroyed, 1, "{sight:?}");
            assert!(cluster.holder(ship).is_none(), "{sight:?}");
            cluster.players[player].app.insert_resource(PilotIntent { respawn: true, ..PilotIntent::default() });
            cluster.until_flying(player);
            assert_ne!(cluster.ship_of(player), Some(ship), "{sight:?}");
            cluster.quiesce();
        }
    }
}

#[test]
fn two_that_swap_their_shards_in_the_same_tick_do_so() {
    let rock = |number: u64, side: f64| {
        let position = DVec2::new(side * 150.0, 200.0 + 100.0 * side);
        let mut rock =
            EntityRecord::at_rest(EntityId::from_halves(1, number), EntityKind::Asteroid, position, SimTick(0));
        rock.set(Structure::whole(5.0, 40));
        rock
    };
    let home = Some(vec![rock(1, 1.0), rock(2, -1.0)]);
    let mut cluster = Cluster::of(Setup { home, ..empty(22, PERFECT, 2) });
    let ids = [EntityId::from_halves(1, 1), EntityId::from_halves(1, 2)];
    cluster.ticks(60);
    let before = ids.map(|id| cluster.holder(id));
    assert_ne!(before[0], before[1], "one shard each");
    for (id, side) in ids.into_iter().zip([1.0, -1.0]) {
        let (_, at) = cluster.truth(id).expect("simulated");
        cluster.place(id, FlightState { velocity: DVec2::new(-side * 100.0, 0.0), ..at });
    }
    // Both at the same distance from the border, at the same tick.
    for (id, side) in ids.into_iter().zip([1.0, -1.0]) {
        let state = FlightState {
            position: DVec2::new(side * 100.0, 200.0 + 100.0 * side),
            velocity: DVec2::new(-side * 100.0, 0.0),
            ..FlightState::default()
        };
        let (shard, _) = cluster.truth(id).expect("simulated");
        let app = cluster.shards[shard].as_mut().expect("it lives");
        assert!(sidereal_shard::bodies::set_state(app.world_mut(), id, state));
    }
    let mut moved = [None; 2];
    for _ in 0..90 {
        cluster.tick_once();
        for (index, id) in ids.into_iter().enumerate() {
            if moved[index].is_none() && cluster.holder(id) == before[1 - index] {
                moved[index] = Some(cluster.step);
            }
        }
    }
    assert!(moved[0].is_some() && moved[0] == moved[1], "{moved:?}");
    cluster.quiesce();
}

#[test]
fn a_ship_that_circles_the_corner_of_four_shards_visits_them_all() {
    let mut cluster = Cluster::of(empty(23, LOSSY, 4));
    let player = cluster.join_and_fly("ada");
    let ship = cluster.ship_of(player).expect("flying");
    let corners = [(180.0, 180.0), (-180.0, 180.0), (-180.0, -180.0), (180.0, -180.0)].map(DVec2::from);
    cluster.place(ship, heading(corners[3], corners[0]));
    let before = cluster.tally().handoffs;
    let (mut visited, mut corner) = (BTreeSet::new(), 0);
    for _ in 0..3_000 {
        if corner == 4 * corners.len() {
            break;
        }
        let goal = corners[corner % corners.len()];
        if let Some(own) = &cluster.view(player).own {
            let state = own.state;
            corner += usize::from(state.position.distance(goal) < 110.0);
            cluster.steer(player, towards(&state, goal));
        }
        cluster.tick_once();
        visited.extend(cluster.holder(ship).map(|holder| format!("{holder:?}")));
    }
    assert_eq!(corner, 4 * corners.len(), "four times round");
    assert_eq!(visited.len(), 4, "{visited:?}");
    assert!(cluster.tally().handoffs >= before + 12, "{}", cluster.tally().handoffs - before);
    assert_inputs_exact(&mut cluster, player);
    cluster.quiesce();
}

#[test]
fn a_ship_that_dances_on_a_border_for_ten_minutes_changes_shards_once_a_second_at_most() {
    const TICKS: u64 = 18_000;
    let mut cluster = Cluster::of(empty(24, LOSSY, 2));
    let player = cluster.join_and_fly("ada");
    let ship = cluster.ship_of(player).expect("flying");
    cluster.place(ship, heading(DVec2::new(-30.0, 60.0), DVec2::new(500.0, 60.0)));
    let (mut changes, mut holder) = (Vec::new(), cluster.holder(ship));
    let mut ahead = true;
    for _ in 0..TICKS {
        if let Some(own) = &cluster.view(player).own {
            let state = own.state;
            // As fast back and forth as possible.
            if state.position.x.abs() > 22.0 {
                ahead = state.position.x < 0.0;
            }
            let error = wrap_angle(-state.angle - 0.25 * state.angular_velocity);
            let turn = (error * 200.0).clamp(-127.0, 127.0) as i8;
            cluster.steer(player, Controls { thrust: if ahead { 127 } else { -127 }, turn, buttons: 0 });
        }
        cluster.tick_once();
        let now = cluster.holder(ship);
        if now != holder {
            changes.push(cluster.step);
            holder = now;
        }
    }
    let shortest = changes.windows(2).map(|pair| pair[1] - pair[0]).min();
    assert!(shortest >= Some(u64::from(TICK_HZ)), "{shortest:?}");
    assert!(changes.len() as u64 > TICKS / 150, "it hardly dances: {}", changes.len());
    let inputs = cluster.settle(player);
    assert_eq!((inputs.lost, inputs.doubled, inputs.given_up, inputs.void), (0, 0, 0, 0), "{inputs:?}");
    assert_eq!(inputs.sent, inputs.applied, "{inputs:?}");
    cluster.quiesce();
}
