//! Ore in space: from rocks into holds, and out of wrecks.

mod common;

use common::{
    mesh::{EAST, Mesh, WEST},
    *,
};
use sidereal_protocol::{
    DVec2,
    frames::control::{ToServer, ToShard},
    packets::input::Input,
    record::{EntityKind, EntityRecord, ExpiresAt, OreLoad},
    rules::{
        economy::{CRATE_TICKS, MINING_BITE, MINING_INTERVAL_TICKS, MINING_RANGE, OreMove, SCOOP_RANGE},
        flight::{Controls, HullKind},
    },
    world::{sector::SectorId, tick::SimTick},
};

/// Ticks after which a ship that was just granted can mine.
const READY: u64 = MINING_INTERVAL_TICKS;

fn around() -> Vec<SectorId> {
    (-3..=3).flat_map(|x| (-3..=3).map(move |y| SectorId::new(x, y))).collect()
}

fn arena(records: Vec<EntityRecord>) -> Shard {
    let mut shard = Shard::with(1, &around(), records);
    shard.ticks(READY);
    shard.frames();
    shard
}

fn middle() -> DVec2 {
    WEST.center()
}

fn ore_rock(number: u32, position: DVec2, ore: u32) -> EntityRecord {
    rock(number, position, 20.0).with(OreLoad(ore))
}

fn laden(record: EntityRecord, ore: u32) -> EntityRecord {
    record.with(OreLoad(ore))
}

fn mine(shard: &mut Shard, ticks: u64) -> Vec<(u64, OreMove)> {
    moves(shard.hold(id(1), Controls::MINE, ticks))
}

fn moves(sent: Vec<(u64, ToServer)>) -> Vec<(u64, OreMove)> {
    let moves = sent.into_iter().filter_map(|(tick, frame)| match frame {
        ToServer::OreMove(asked) => Some((tick, asked)),
        _ => None,
    });
    moves.collect()
}

fn amounts(moves: &[(u64, OreMove)]) -> Vec<u32> {
    moves.iter().map(|(_, asked)| asked.ore).collect()
}

fn holdings(shard: &mut Shard, number: u64, ore: u32) {
    shard.send(ToShard::Holdings { id: id(number), ore });
}

#[test]
fn a_ship_that_mines_takes_a_bite_every_half_second() {
    let beside = middle() + DVec2::X * (MINING_RANGE + 15.0);
    let mut shard = arena(vec![ship(1, middle()), ore_rock(5, beside, 100)]);
    let bites = mine(&mut shard, 4 * MINING_INTERVAL_TICKS);
    assert_eq!(amounts(&bites), [MINING_BITE; 4]);
    assert!(bites.iter().all(|(_, asked)| (asked.from, asked.to) == (id(5), id(1))));
    assert!(bites.windows(2).all(|pair| pair[1].0 - pair[0].0 == MINING_INTERVAL_TICKS), "{bites:?}");
    // Rapid presses mine no more from a rock.
    let pressed: usize =
        (0..MINING_INTERVAL_TICKS).map(|_| mine(&mut shard, 1).len() + moves(shard.hold(id(1), 0, 1)).len()).sum();
    assert_eq!(pressed, 2);
}

#[test]
fn nothing_is_mined_without_room_without_ore_or_out_of_range() {
    let near = middle() + DVec2::X * 60.0;
    let far = middle() + DVec2::X * (MINING_RANGE + 25.0);
    let hold = HullKind::Scout.hold();
    for (ship, rock, bites) in [
        (laden(ship(1, middle()), hold - 3), ore_rock(5, near, 100), vec![3]),
        (laden(ship(1, middle()), hold), ore_rock(5, near, 100), vec![]),
        (ship(1, middle()), ore_rock(5, near, 2), vec![2]),
        (ship(1, middle()), ore_rock(5, near, 0), vec![]),
        (ship(1, middle()), ore_rock(5, far, 100), vec![]),
    ] {
        let (carried, held) = (ship.ore(), rock.ore());
        let mut shard = arena(vec![ship, rock]);
        let moves = mine(&mut shard, MINING_INTERVAL_TICKS - 1);
        assert_eq!(amounts(&moves), bites);
        // The ledger's answer ends that.
        for bite in bites {
            holdings(&mut shard, 1, carried + bite);
            holdings(&mut shard, 5, held - bite);
        }
        assert_eq!(mine(&mut shard, 3 * MINING_INTERVAL_TICKS), vec![]);
    }
}

#[test]
fn who_mines_is_seen_to_and_who_stops_is_not() {
    let mut shard = arena(vec![ship(1, middle()), ore_rock(5, middle() + DVec2::X * 60.0, 100)]);
    let seen = |shard: &mut Shard| {
        let updates = sector_updates(&shard.datagrams());
        let last = updates.iter().flat_map(|update| &update.motions).rfind(|motion| motion.net_id.0 == 1).copied();
        last.map(|motion| motion.glow.mining)
    };
    mine(&mut shard, 2);
    assert_eq!(seen(&mut shard), Some(true));
    shard.hold(id(1), 0, 2);
    assert_eq!(seen(&mut shard), Some(false));
    mine(&mut shard, 2);
    holdings(&mut shard, 5, 0);
    mine(&mut shard, 2);
    assert_eq!(seen(&mut shard), Some(false));
}

fn hold(mesh: &mut Mesh, ship: u64, buttons: u8, ticks: u64) {
    for _ in 0..ticks {
        let stamp = mesh.now + mesh.delay - 1;
        mesh.input(id(ship), Input { view_lag: 0, ..input(stamp, 0, 0, buttons) });
        mesh.tick();
    }
}

#[test]
fn a_rock_over_the_border_is_mined_until_it_is_empty() {
    for delay in [1, 2, 4] {
        let rock = ore_rock(5, DVec2::new(1050.0, 500.0), 10);
        let mut mesh = Mesh::new(vec![ship(1, DVec2::new(940.0, 500.0))], vec![rock], delay);
        mesh.ticks(READY);
        hold(&mut mesh, 1, Controls::MINE, 10 * MINING_INTERVAL_TICKS);
        let asked: Vec<u32> = mesh.ore_moves.iter().map(|asked| asked.ore).collect();
        assert_eq!(asked, [4, 4, 2], "delay {delay}");
        assert_eq!((mesh.ore[&id(1)], mesh.ore[&id(5)]), (10, 0));
        assert_eq!(mesh.owner(id(1)).own_record(id(1)).ore(), 10);
        assert_eq!(mesh.owner(id(5)).own_record(id(5)).ore(), 0);
    }
}

/// The deaths that were sent, with their crates.
fn deaths(frames: &[ToServer]) -> Vec<(sidereal_protocol::world::ids::EntityId, Option<EntityRecord>)> {
    let deaths = frames.iter().filter_map(|frame| match frame {
        ToServer::Destroyed { id, wreck, .. } => Some((*id, wreck.as_deref().cloned())),
        _ => None,
    });
    deaths.collect()
}

#[test]
fn a_ship_that_dies_leaves_its_cargo_in_the_same_tick() {
    let victim = moving(laden(ship(1, middle()), 37), DVec2::X * 100.0);
    let mut shard = arena(vec![victim]);
    shard.datagrams();
    shard.strike(id(1), 200);
    shard.tick();
    let frames = shard.frames();
    let [(dead, Some(wreck))] = &deaths(&frames)[..] else { panic!("{frames:?}") };
    assert_eq!((*dead, wreck.kind, wreck.ore()), (id(1), EntityKind::Crate, 37));
    assert_eq!(wreck.validate(), Ok(()));
    assert_eq!(wreck.get(), Some(ExpiresAt(SimTick(shard.tick) + CRATE_TICKS)));
    assert!(!frames.iter().any(|frame| matches!(frame, ToServer::Record(_))));
    assert!(shard.owns(wreck.id) && shard.entity(id(1)).is_none());
    let told = sector_updates(&shard.datagrams());
    assert!(told.iter().flat_map(|update| &update.motions).any(|motion| motion.net_id == wreck.net_id));
    // It drifts ever slower, to rest.
    assert!(wreck.state.velocity.x > 20.0);
    shard.ticks(400);
    let state = shard.state(wreck.id);
    assert!(state.position.x > wreck.state.position.x + 20.0 && state.velocity == DVec2::ZERO, "{state:?}");
}

#[test]
fn a_ship_without_cargo_and_a_drone_leave_nothing() {
    let mut shard = arena(vec![ship(1, middle()), drone(2, middle() + DVec2::Y * 900.0)]);
    shard.strike(id(1), 200);
    shard.strike(id(2), 200);
    shard.tick();
    let frames = shard.frames();
    assert_eq!(deaths(&frames), [(id(1), None), (id(2), None)]);
}

#[test]
fn a_crate_nearby_is_taken_in_as_far_as_there_is_room_and_ends_when_it_is_empty() {
    let hold = HullKind::Scout.hold();
    let pilot = laden(ship(1, middle()), hold - 10);
    let mut shard = Shard::with(1, &around(), vec![pilot, cargo(6, middle() + DVec2::X * (SCOOP_RANGE - 1.0), 37)]);
    let asked = moves(shard.hold(id(1), 0, READY + 1));
    assert_eq!(amounts(&asked), [10]);
    assert_eq!((asked[0].1.from, asked[0].1.to), (id(6), id(1)));
    holdings(&mut shard, 1, hold);
    holdings(&mut shard, 6, 27);
    assert_eq!(moves(shard.hold(id(1), 0, 2 * MINING_INTERVAL_TICKS)), vec![]);
    holdings(&mut shard, 1, 0);
    assert_eq!(amounts(&moves(shard.hold(id(1), 0, 1))), [27]);
    holdings(&mut shard, 6, 0);
    shard.tick();
    assert_eq!(deaths(&shard.frames()), [(id(6), None)]);
    assert!(shard.entity(id(6)).is_none());
    assert_eq!(moves(shard.hold(id(1), 0, 2 * MINING_INTERVAL_TICKS)), vec![]);
}

#[test]
fn a_crate_out_of_reach_stays_until_its_time_is_over() {
    let mut lost = cargo(6, middle() + DVec2::X * (SCOOP_RANGE + 1.0), 5);
    lost.set(ExpiresAt(SimTick(START + 90)));
    let mut shard = Shard::with(1, &around(), vec![ship(1, middle()), lost]);
    shard.ticks(89);
    assert!(shard.owns(id(6)));
    assert_eq!(shard.totals().ore_moves, 0);
    shard.frames();
    shard.tick();
    assert_eq!(deaths(&shard.frames()), [(id(6), None)]);
}

#[test]
fn nothing_touches_a_crate_and_nothing_aims_at_it() {
    let full = HullKind::Scout.hold();
    let flyer = moving(laden(ship(1, middle()), full), DVec2::X * 100.0);
    let in_the_way = cargo(6, middle() + DVec2::X * 60.0, 5);
    let mut shard = arena(vec![flyer, in_the_way, ship(2, middle() + DVec2::X * 400.0)]);
    shard.hold(id(1), Controls::FIRE | Controls::LAUNCH | Controls::BEAM, 1);
    shard.hold(id(1), 0, 1);
    let missiles: Vec<_> = shard.owned().into_iter().filter(|&id| shard.body(id).kind == EntityKind::Missile).collect();
    let [missile] = missiles[..] else { panic!("{missiles:?}") };
    assert_eq!(shard.own_record(missile).warhead().and_then(|warhead| warhead.target), Some(id(2)));
    shard.ticks(60);
    assert_eq!(shard.state(id(6)).velocity, DVec2::ZERO);
    assert!(shard.state(id(1)).position.x > middle().x + 80.0 && shard.state(id(1)).velocity.y == 0.0);
    assert!(shard.body(id(2)).hull < 100 - 40, "shot, beam and missile passed through: {}", shard.body(id(2)).hull);
    assert!(shard.owns(id(6)));
}

#[test]
fn a_crate_crosses_a_border_with_what_is_in_it_and_is_taken_in_on_the_other_side() {
    let drifting = moving(cargo(6, DVec2::new(985.0, 500.0), 9), DVec2::X * 80.0);
    let taker = ship(2, DVec2::new(1130.0, 500.0));
    let mut mesh = Mesh::with([vec![WEST], vec![EAST]], vec![drifting, taker], 2);
    while mesh.handoffs == 0 && mesh.now < START + 200 {
        mesh.tick();
    }
    mesh.ticks(6);
    let crate_now = mesh.shards[1].own_record(id(6));
    assert_eq!((crate_now.ore(), crate_now.get()), (9, Some(ExpiresAt(SimTick(START + 1800)))));
    mesh.ticks(300);
    assert_eq!((mesh.ore.get(&id(2)), mesh.lives(id(6))), (Some(&9), false));
}

#[test]
fn a_ship_that_crosses_a_border_keeps_its_cargo_and_its_weapons() {
    use sidereal_protocol::rules::economy::{Fitted, Weapon};
    let fitted = Fitted::default().with(Weapon::RapidGun);
    let trader = moving(ship(1, DVec2::new(960.0, 500.0)), DVec2::X * 150.0).with(fitted).with(OreLoad(21));
    let mut mesh = Mesh::new(vec![trader], vec![], 2);
    mesh.ticks(60);
    assert_eq!(mesh.handoffs, 1);
    assert_eq!(mesh.shards[1].own_record(id(1)).ore(), 21);
    assert_eq!(mesh.shards[1].body(id(1)).fitted, fitted);
}
