//! Deals in the whole mesh: both sides of a trade or none, on one shard or two, whatever dies meanwhile; and a
//! confirmed deal survives a restart of the server.

use bevy::math::DVec2;
use sidereal_client::economy::deals::DealBook;
use sidereal_protocol::{
    frames::messages::DealOutcome,
    record::{EntityKind, EntityRecord, Structure},
    rules::{
        economy::{Bargain, DealKey, Goods, STATION_RADIUS},
        flight::{FlightState, HullKind},
    },
    world::{ids::EntityId, tick::SimTick},
};
use sidereal_server::{
    db::{Commodity, Holder, Move, Store, tools},
    persistence::storage::Storage,
    replication::mirror::Mirror,
};
use sidereal_tests::cluster::{Cluster, PERFECT, Setup};
use sidereal_transport::network::memory::LinkConditions;
use std::collections::BTreeSet;
use uuid::Uuid;

const LOSSY: LinkConditions =
    LinkConditions { latency_ms: 8, jitter_ms: 6, loss: 0.05, duplication: 0.02, reordering: 0.02 };

/// Ticks within which a deal has certainly ended: a shard's verdict may take three seconds, and be requested again.
const LONG: u64 = 1_200;

fn store(cluster: &Cluster) -> &Store {
    cluster.server.world().resource::<Storage>().store().expect("the server runs")
}

fn ore(cluster: &Cluster, ship: EntityId) -> i64 {
    store(cluster).balance(Holder::entity(ship.0), Commodity::Ore).unwrap_or(0)
}

/// Moves ore into a hold, out of a rock that is then empty.
fn load(cluster: &Cluster, ship: EntityId, amount: i64) {
    store(cluster).move_goods(Move {
        from: Holder::entity(Uuid::new_v4()),
        to: Holder::entity(ship.0),
        commodity: Commodity::Ore,
        amount,
        room: 60,
        born_with: amount,
        links: Vec::new(),
    });
}

fn ask(cluster: &mut Cluster, player: usize, bargain: Bargain) -> DealKey {
    let mut book = cluster.players[player].app.world_mut().resource_mut::<DealBook>();
    book.ask(bargain).expect("the book is empty")
}

fn is_open(cluster: &Cluster, player: usize, key: DealKey) -> bool {
    cluster.players[player].app.world().resource::<DealBook>().is_open(key)
}

fn outcomes(cluster: &mut Cluster, player: usize) -> Vec<DealOutcome> {
    use sidereal_client::economy::deals::DealEvent;
    let mut book = cluster.players[player].app.world_mut().resource_mut::<DealBook>();
    let answered = |event| match event {
        DealEvent::Answered { outcome, .. } => Some(outcome),
        DealEvent::Asked { .. } => None,
    };
    book.take_events().into_iter().filter_map(answered).collect()
}

/// Amounts in the ledger are conserved, in memory and in the database.
#[track_caller]
fn is_sound(cluster: &Cluster) {
    store(cluster).flush();
    let report = tools::check(cluster.database()).expect("the database answers");
    // The rocks that `load` empties were never stored; everything else must be correct.
    assert!(report.is_clean(), "{report}");
}

/// Two players at rest on either side of a border of shards, in trading range, with 40 ore each.
fn across_the_border(conditions: LinkConditions) -> (Cluster, [EntityId; 2]) {
    let mut cluster = Cluster::of(Setup { seed: 11, conditions, shards: 2, ..Setup::default() });
    let ships = ["ada", "bob"].map(|name| {
        let player = cluster.join_and_fly(name);
        cluster.ship_of(player).expect("flying")
    });
    let place = |cluster: &mut Cluster, lane: f64| {
        for (ship, x) in ships.into_iter().zip([-140.0, 140.0]) {
            cluster.place(ship, FlightState { position: DVec2::new(x, lane), ..FlightState::default() });
        }
        cluster.ticks(90);
    };
    let lane = cluster.clear_lane(200.0);
    place(&mut cluster, lane);
    let shards = ships.map(|ship| cluster.truth(ship).expect("a shard simulates it").0);
    assert_ne!(shards[0], shards[1], "they are on two shards");
    for ship in ships {
        load(&cluster, ship, 40);
    }
    (cluster, ships)
}

fn offer(cluster: &mut Cluster, to: EntityId, give: u32, want: u32) -> DealKey {
    let to = cluster.server.world().resource::<Mirror>().get(to).expect("it is there").record.net_id;
    let goods = |ore| Goods { ore, credits: 0 };
    let key = ask(cluster, 0, Bargain::Offer { to, give: goods(give), want: goods(want) });
    cluster.until("the offer is received", LONG, |cluster| {
        !is_open(cluster, 0, key) && cluster.view(1).trades.iter().any(|trade| trade.key == key)
    });
    key
}

fn accept(cluster: &mut Cluster, key: DealKey) {
    let mut book = cluster.players[1].app.world_mut().resource_mut::<DealBook>();
    book.answer_offer(key, true).expect("the book is empty");
}

#[test]
fn a_trade_between_two_shards_has_both_sides() {
    for conditions in [PERFECT, LOSSY] {
        let (mut cluster, ships) = across_the_border(conditions);
        let key = offer(&mut cluster, ships[1], 30, 10);
        accept(&mut cluster, key);
        cluster.until("the trade has ended", LONG, |cluster| !is_open(cluster, 1, key));
        assert_eq!(outcomes(&mut cluster, 1).last(), Some(&DealOutcome::Done));
        assert_eq!(ships.map(|ship| ore(&cluster, ship)), [20, 60]);
        cluster.ticks(30);
        assert_eq!(cluster.view(0).purse.map(|purse| purse.ore), Some(20), "both have received it");
        assert_eq!(cluster.view(1).purse.map(|purse| purse.ore), Some(60));
        is_sound(&cluster);
        // A repeated request with the same key only repeats the answer.
        accept(&mut cluster, key);
        cluster.until("it is answered again", LONG, |cluster| !is_open(cluster, 1, key));
        assert_eq!(outcomes(&mut cluster, 1).last(), Some(&DealOutcome::Done));
        assert_eq!(ships.map(|ship| ore(&cluster, ship)), [20, 60], "and not done again");
    }
}

#[test]
fn a_trade_that_one_side_cannot_keep_has_no_side() {
    let (mut cluster, ships) = across_the_border(PERFECT);
    for (give, want) in [(41, 0), (0, 41), (30, 5)] {
        let key = offer(&mut cluster, ships[1], give, want);
        accept(&mut cluster, key);
        cluster.until("the trade has ended", LONG, |cluster| !is_open(cluster, 1, key));
        assert_eq!(outcomes(&mut cluster, 1).last(), Some(&DealOutcome::Refused), "{give} for {want}");
        assert_eq!(ships.map(|ship| ore(&cluster, ship)), [40, 40], "{give} for {want}");
    }
    is_sound(&cluster);
}

/// A station on one side of the border, where the second player is docked with 40 ore in a hold of 60 and credits; the
/// first one is on the other side, with 40 ore. A verdict of the first one's shard takes `far_ms` to the server.
fn at_the_station(far_ms: u32) -> (Cluster, [EntityId; 2]) {
    let id = EntityId(Uuid::from_u128(5));
    let station = EntityRecord::at_rest(id, EntityKind::Station, DVec2::new(150.0, 200.0), SimTick(0))
        .with(Structure::whole(STATION_RADIUS, u16::MAX));
    let home = Some(vec![station.clone()]);
    let mut cluster = Cluster::of(Setup { seed: 12, shards: 2, home, ..Setup::default() });
    let ships = ["ada", "bob"].map(|name| {
        let player = cluster.join_and_fly(name);
        cluster.ship_of(player).expect("flying")
    });
    for (ship, x) in ships.into_iter().zip([-140.0, 240.0]) {
        cluster.place(ship, FlightState { position: DVec2::new(x, 200.0), ..FlightState::default() });
    }
    cluster.ticks(90);
    let shards = ships.map(|ship| cluster.truth(ship).expect("a shard simulates it").0);
    assert_ne!(shards[0], shards[1], "they are on two shards");
    for ship in ships {
        load(&cluster, ship, 40);
    }
    let owner = cluster.server.world().resource::<Mirror>().get(ships[1]).and_then(|entry| entry.record.owner);
    store(&cluster).move_goods(Move {
        from: Holder::entity(Uuid::new_v4()),
        to: Holder::wallet(owner.expect("a player's").0),
        commodity: Commodity::Credits,
        amount: 1_000,
        room: i64::MAX,
        born_with: 1_000,
        links: Vec::new(),
    });
    let key = ask(&mut cluster, 1, Bargain::Dock);
    cluster.until("docked", LONG, |cluster| !is_open(cluster, 1, key));
    assert_eq!(outcomes(&mut cluster, 1).last(), Some(&DealOutcome::Done));
    cluster.set_shard_link(shards[0], LinkConditions { latency_ms: far_ms, ..PERFECT });
    cluster.ticks(10);
    (cluster, ships)
}

#[test]
fn a_trade_and_another_hull_at_once_never_overfill_the_hold() {
    let mut ends = BTreeSet::new();
    for far_ms in (2..50).step_by(4) {
        for hull_after in [0, 1, 2] {
            let (mut cluster, ships) = at_the_station(far_ms);
            let key = offer(&mut cluster, ships[1], 20, 0);
            accept(&mut cluster, key);
            cluster.ticks(hull_after);
            // The hold has room for the present cargo, but not for the ore of the trade.
            let hull = ask(&mut cluster, 1, Bargain::BuyHull(HullKind::Gunship));
            cluster.until("both have ended", LONG, |cluster| !is_open(cluster, 1, key) && !is_open(cluster, 1, hull));
            cluster.ticks(10);
            let has = ore(&cluster, ships[1]);
            let flies =
                cluster.server.world().resource::<Mirror>().get(ships[1]).and_then(|entry| entry.record.hull_kind());
            let hold = i64::from(flies.expect("a ship").hold());
            assert!(
                has <= hold,
                "{has} ore in a hold of {hold}: the word took {far_ms} ms, the hull {hull_after} ticks"
            );
            ends.insert((has, hold));
        }
    }
    assert_eq!(ends, BTreeSet::from([(60, 60), (40, 40)]), "either came first, and the other came to nothing");
}

#[test]
fn a_trade_is_whole_or_not_at_all_when_a_shard_dies_at_any_moment_of_it() {
    let mut ends = [0, 0];
    for (victim, moment) in (0..2).flat_map(|victim| (0..5).map(move |moment| (victim, moment))) {
        let (mut cluster, ships) = across_the_border(PERFECT);
        let key = offer(&mut cluster, ships[1], 30, 10);
        accept(&mut cluster, key);
        cluster.ticks(moment);
        let shard = cluster.truth(ships[victim]).expect("a shard simulates it").0;
        cluster.kill_shard(shard);
        cluster.until("the trade has ended", LONG, |cluster| !is_open(cluster, 1, key));
        let done = outcomes(&mut cluster, 1).last() == Some(&DealOutcome::Done);
        let wanted = if done { [20, 60] } else { [40, 40] };
        assert_eq!(ships.map(|ship| ore(&cluster, ship)), wanted, "shard of {victim} died at {moment}");
        ends[usize::from(done)] += 1;
        cluster.until("another shard simulates it", LONG, |cluster| cluster.truth(ships[victim]).is_some());
        is_sound(&cluster);
    }
    assert!(ends.iter().all(|count| *count > 0), "both ends were seen: {ends:?}");
}

#[test]
fn a_trade_is_done_once_when_the_server_dies_at_any_moment_of_it() {
    let mut ends = [0, 0];
    for moment in 0..6 {
        let (mut cluster, ships) = across_the_border(PERFECT);
        // The holds' content is in the database.
        store(&cluster).flush();
        let key = offer(&mut cluster, ships[1], 30, 10);
        accept(&mut cluster, key);
        cluster.ticks(moment);
        let told = outcomes(&mut cluster, 1).last() == Some(&DealOutcome::Done);
        cluster.kill_server();
        let stored = cluster.database().deal(key.0).expect("the database answers").is_some();
        assert!(stored || !told, "a confirmed deal is stored");
        let wanted = if stored { [20, 60] } else { [40, 40] };
        let kept = ships.map(|ship| {
            cluster.database().balance(Holder::entity(ship.0), Commodity::Ore).expect("the database answers")
        });
        assert_eq!(kept, wanted.map(Some), "died at {moment}");
        ends[usize::from(stored)] += 1;
    }
    assert!(ends.iter().all(|count| *count > 0), "both ends were seen: {ends:?}");
}

#[test]
fn what_a_player_has_leaves_memory_with_the_player_and_comes_back_with_it() {
    let mut cluster = Cluster::of(Setup { seed: 11, conditions: PERFECT, shards: 2, ..Setup::default() });
    let ada = cluster.join_and_fly("ada");
    let ship = cluster.ship_of(ada).expect("flying");
    for round in 0..3 {
        load(&cluster, ship, 10);
        assert_eq!(ore(&cluster, ship), 10 * (round + 1));
        cluster.leave(ada);
        let known = |cluster: &Cluster| store(cluster).balance(Holder::entity(ship.0), Commodity::Ore);
        cluster.until("the ship is stored", 600, |cluster| {
            cluster.server.world().resource::<Mirror>().get(ship).is_none()
        });
        cluster.ticks(60);
        store(&cluster).flush();
        assert_eq!(known(&cluster), None, "it is in the database");
        is_sound(&cluster);
        cluster.rejoin(ada);
        cluster.until_flying(ada);
        cluster.ticks(60);
        assert_eq!(cluster.ship_of(ada), Some(ship));
        assert_eq!(ore(&cluster, ship), 10 * (round + 1), "read again with the ship");
    }
    // Left and back before the ship has left the world: nothing is read again, so nothing may be removed.
    cluster.leave(ada);
    cluster.ticks(60);
    cluster.rejoin(ada);
    cluster.until_flying(ada);
    cluster.ticks(300);
    store(&cluster).flush();
    cluster.ticks(60);
    assert_eq!(ore(&cluster, ship), 30);
    is_sound(&cluster);
}
