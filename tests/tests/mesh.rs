//! The first properties of the whole mesh. Every step of every test also checks the harness's
//! invariants: one authority, ids, finite positions, ghosts, inputs applied once.

use sidereal_client::session::SessionState;
use sidereal_protocol::{
    DVec2,
    frames::{control::ToServer, messages::TAKEN_OVER},
    record::{EntityKind, EntityRecord},
    rules::flight::{Controls, FlightState},
    world::sector::SectorId,
};
use sidereal_server::replication::{
    mirror::{Holder, Mirror},
    naia::rooms::Rooms,
};
use sidereal_shard::mailbox::Outbox;
use sidereal_tests::cluster::{Cluster, PERFECT};
use sidereal_transport::network::memory::LinkConditions;

const LOSSY: LinkConditions =
    LinkConditions { latency_ms: 8, jitter_ms: 6, loss: 0.05, duplication: 0.01, reordering: 0.02 };

const AHEAD: Controls = Controls { thrust: 127, turn: 0, buttons: Controls::BOOST };

fn heading(position: DVec2, toward: DVec2) -> FlightState {
    let angle = (toward - position).to_angle();
    FlightState { position, angle, ..FlightState::default() }
}

/// Flies a ship along a line with full thrust, from standstill; returns the sectors and the shards that it was in.
fn fly_line(cluster: &mut Cluster, player: usize, from: DVec2, to: DVec2) -> (Vec<SectorId>, Vec<usize>) {
    let ship = cluster.ship_of(player).expect("flying");
    cluster.steer(player, Controls::default());
    cluster.place(ship, heading(from, to));
    // It may have been placed in another shard's sectors: that handoff is not part of the flight.
    cluster.ticks(60);
    cluster.steer(player, AHEAD);
    let mut sectors = Vec::new();
    let mut shards = Vec::new();
    let way = (to - from).normalize();
    let length = from.distance(to);
    let mut last: Option<DVec2> = None;
    for _ in 0..1_500 {
        cluster.tick_once();
        let Some((shard, state)) = cluster.truth(ship) else { continue };
        // No teleport: never further than the fastest flight since it was last seen.
        if let Some(last) = last {
            let step = state.position.distance(last);
            assert!(step < 380.0 / 30.0 * 8.0, "a jump of {step} units");
        }
        last = Some(state.position);
        let sector = SectorId::containing(state.position);
        if sectors.last() != Some(&sector) {
            sectors.push(sector);
        }
        if shards.last() != Some(&shard) {
            shards.push(shard);
        }
        if (state.position - from).dot(way) > length {
            return (sectors, shards);
        }
    }
    panic!("did not arrive: {last:?} {sectors:?}");
}

#[test]
fn a_ship_flies_through_four_sectors_of_two_shards_and_back_under_loss() {
    let mut cluster = Cluster::new(1, LOSSY, 2);
    let player = cluster.join_and_fly("ada");
    let lane = cluster.clear_lane(1_600.0);
    let (west, east) = (DVec2::new(-1_500.0, lane), DVec2::new(1_500.0, lane));
    let (sectors, shards) = fly_line(&mut cluster, player, west, east);
    assert!(sectors.len() >= 4, "{sectors:?}");
    assert_eq!(shards.len(), 2, "{shards:?}");
    let (_, back) = fly_line(&mut cluster, player, east, west);
    assert_eq!(back, vec![shards[1], shards[0]]);
    assert!(cluster.tally().handoffs >= 2);
    let inputs = cluster.settle(player);
    assert_eq!((inputs.lost, inputs.doubled), (0, 0), "{inputs:?}");
    assert_eq!(inputs.sent, inputs.applied + inputs.given_up + inputs.void, "{inputs:?}");
}

#[test]
fn two_players_see_each_other_across_the_border_of_two_shards() {
    let mut cluster = Cluster::new(2, PERFECT, 2);
    let ada = cluster.join_and_fly("ada");
    let bob = cluster.join_and_fly("bob");
    let (ada_ship, bob_ship) = (cluster.ship_of(ada).expect("flying"), cluster.ship_of(bob).expect("flying"));
    cluster.place(ada_ship, heading(DVec2::new(-60.0, 80.0), DVec2::ZERO));
    cluster.place(bob_ship, heading(DVec2::new(60.0, 80.0), DVec2::ZERO));
    cluster.ticks(90);
    let holders = (cluster.holder(ada_ship), cluster.holder(bob_ship));
    assert_ne!(holders.0, holders.1, "one shard each");
    for (player, other) in [(ada, bob_ship), (bob, ada_ship)] {
        let truth = cluster.truth(other).expect("simulated").1.position;
        let view = cluster.view(player);
        let seen = view.others.values().find(|seen| seen.id == other).expect("in view");
        assert!(seen.state.position.distance(truth) < 2.0, "{seen:?} {truth:?}");
    }
}

#[test]
fn an_input_is_applied_exactly_once_around_a_handoff() {
    for seed in 10..16 {
        let mut cluster = Cluster::new(seed, LOSSY, 2);
        let player = cluster.join_and_fly("ada");
        let ship = cluster.ship_of(player).expect("flying");
        cluster.place(ship, heading(DVec2::new(-150.0, 40.0), DVec2::new(500.0, 40.0)));
        let before = cluster.tally().handoffs;
        for tick in 0..240u64 {
            // Different every tick, so that a repeated or a missing input is visible in the flight too.
            let turn = if tick % 2 == 0 { 3 } else { -3 };
            cluster.steer(player, Controls { turn, ..AHEAD });
            cluster.tick_once();
        }
        assert!(cluster.tally().handoffs > before, "seed {seed}: no handoff");
        let inputs = cluster.settle(player);
        assert_eq!((inputs.lost, inputs.doubled), (0, 0), "seed {seed}: {inputs:?}");
        assert_eq!(inputs.sent, inputs.applied + inputs.given_up + inputs.void, "{inputs:?}");
        assert_eq!(inputs.given_up, 0, "seed {seed}: {inputs:?}");
    }
}

#[test]
fn a_restart_brings_every_ship_back_where_it_was() {
    let mut cluster = Cluster::new(3, PERFECT, 2);
    let names = ["ada", "bob", "cyd"];
    let mut before = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let player = cluster.join_and_fly(name);
        let ship = cluster.ship_of(player).expect("flying");
        let from = DVec2::new(-300.0 + 300.0 * index as f64, 700.0);
        cluster.place(ship, heading(from, from + DVec2::Y));
        cluster.steer(player, Controls { thrust: 127, ..Controls::default() });
    }
    cluster.ticks(60);
    for player in 0..names.len() {
        let ship = cluster.ship_of(player).expect("flying");
        before.push((ship, cluster.truth(ship).expect("simulated").1));
    }
    let entities = cluster.tally().entered - cluster.tally().left;
    cluster.restart();
    for (player, name) in names.iter().enumerate() {
        assert_eq!(cluster.join_and_fly(name), player);
        let (ship, was) = before[player];
        assert_eq!(cluster.ship_of(player), Some(ship), "the same ship");
        let is = cluster.truth(ship).expect("simulated").1;
        let second = was.velocity.length().max(is.velocity.length()) + 1.0;
        // It flew on until the server had ended, and drifts since it is back.
        let back = was.position.distance(is.position);
        assert!(back < 3.0 * second, "{name}: {back} units from where it was");
    }
    let again = cluster.tally().entered - cluster.tally().left;
    assert_eq!(entities, again, "as many entities as before");
}

#[test]
fn a_second_log_in_takes_the_ship_over_whenever_it_comes() {
    let mut cluster = Cluster::new(6, PERFECT, 2);
    let ships = |cluster: &Cluster| {
        let mirror = cluster.server.world().resource::<Mirror>();
        mirror.iter().filter(|(_, entry)| entry.record.owner.is_some()).count()
    };
    // From before the server has received the first session, over its ship's way into the world, to long in flight.
    for wait in (0..24).step_by(2).chain([40, 90]) {
        let name = format!("ada-{wait}");
        let first = cluster.join(&name);
        cluster.ticks(wait);
        let flown = cluster.ship_of(first);
        let second = cluster.join_and_fly(&name);
        assert_eq!(*cluster.session(first), SessionState::Lost(TAKEN_OVER.to_owned()), "{name}");
        let ship = cluster.ship_of(second).expect("flying");
        assert!(flown.is_none_or(|flown| flown == ship), "{name}: the same ship");
        // Longer than a ship without a player stays.
        cluster.ticks(200);
        assert_eq!((cluster.ship_of(second), cluster.ship_of(first)), (Some(ship), None), "{name}");
        assert!(cluster.truth(ship).is_some(), "{name}: it is simulated");
        assert_eq!(ships(&cluster), 1, "{name}");
        cluster.steer(second, AHEAD);
        cluster.ticks(30);
        let (_, flown) = cluster.truth(ship).expect("simulated");
        assert!(flown.velocity.length() > 20.0, "{name}: it obeys the second pilot");
        cluster.leave(second);
        cluster.until("the ship has left", 300, |cluster| ships(cluster) == 0);
        cluster.players.clear();
    }
}

#[test]
fn a_shard_that_dies_takes_nothing_with_it() {
    let mut cluster = Cluster::new(4, PERFECT, 2);
    let player = cluster.join_and_fly("ada");
    let ship = cluster.ship_of(player).expect("flying");
    let (shard, was) = cluster.truth(ship).expect("simulated");
    let entities = cluster.tally().entered - cluster.tally().left;
    cluster.kill_shard(shard);
    let lost = cluster.holder(ship);
    cluster.until("another shard has the ship", 600, |cluster| {
        matches!(cluster.holder(ship), Some(Holder::Shard(_))) && cluster.holder(ship) != lost
    });
    cluster.until("it is simulated again", 120, |cluster| cluster.truth(ship).is_some());
    let (_, is) = cluster.truth(ship).expect("simulated");
    assert!(was.position.distance(is.position) < 5.0, "at rest before and after");
    assert_eq!(entities, cluster.tally().entered - cluster.tally().left);
    cluster.steer(player, AHEAD);
    cluster.ticks(120);
    let (_, flown) = cluster.truth(ship).expect("simulated");
    assert!(flown.position.distance(is.position) > 100.0, "it obeys its pilot again");
}

#[test]
fn a_border_is_not_felt_by_the_pilot() {
    let mut cluster = Cluster::new(5, PERFECT, 2);
    let player = cluster.join_and_fly("ada");
    let lane = cluster.clear_lane(700.0);
    let ship = cluster.ship_of(player).expect("flying");
    cluster.place(ship, heading(DVec2::new(-600.0, lane), DVec2::new(600.0, lane)));
    cluster.ticks(60);
    cluster.steer(player, AHEAD);
    // Accelerated first, so that only the border can be visible.
    cluster.ticks(30);
    let before = cluster.stats(player).correction_sizes().len();
    let from = cluster.holder(ship);
    cluster.ticks(90);
    assert_ne!(cluster.holder(ship), from, "it has crossed");
    let sizes = &cluster.stats(player).correction_sizes()[before..];
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    assert!(largest < 0.5, "corrections at the border: {sizes:?}");
}

#[test]
fn rooms_that_nobody_looks_into_are_closed_and_opened_again() {
    let mut cluster = Cluster::new(5, PERFECT, 2);
    cluster.join_and_fly("ada");
    cluster.ticks(120);
    let rooms = |cluster: &Cluster| cluster.server.world().resource::<Rooms>().len();
    let full = rooms(&cluster);
    // The rooms beyond the edge of the leased sectors exist for the shards' ghosts.
    (0..2).for_each(|shard| cluster.kill_shard(shard));
    cluster.until("the rooms beyond the edge are closed", 600, |cluster| rooms(cluster) < full);
    cluster.ticks(120);
    let home = rooms(&cluster);
    assert!(home < full, "{home} of {full}");
    for _ in 0..2 {
        cluster.start_shard();
    }
    cluster.settle_world(900);
    cluster.until("all rooms are there again", 600, |cluster| rooms(cluster) == full);
}

#[test]
fn a_record_of_another_kind_than_its_entitys_is_rejected() {
    let mut cluster = Cluster::new(3, PERFECT, 1);
    let player = cluster.join_and_fly("ada");
    let ship = cluster.ship_of(player).expect("flying");
    let known = cluster.server.world().resource::<Mirror>().get(ship).expect("in the mirror").record.clone();
    // Valid as a drone's, newer, and from the ship's authority.
    let drone = EntityRecord {
        net_id: known.net_id,
        owner: known.owner,
        epoch: known.epoch,
        version: known.version + 1_000,
        sector: known.sector,
        state: known.state,
        ..EntityRecord::at_rest(ship, EntityKind::Drone, known.state.position, known.tick)
    };
    assert_eq!(drone.validate(), Ok(()));
    let shard = cluster.shards[0].as_mut().expect("it lives");
    shard.world_mut().resource_mut::<Outbox<ToServer>>().push(ToServer::Record(Box::new(drone)));
    cluster.ticks(30);
    assert_eq!(cluster.tally().violations, 1);
    let record = &cluster.server.world().resource::<Mirror>().get(ship).expect("in the mirror").record;
    assert_eq!((record.kind, record.pilot().is_some()), (EntityKind::Ship, true));
}
