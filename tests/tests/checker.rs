//! The checker detects faults: each test plants one in a correct world, and waits until the checker reports it.

use bevy::{
    ecs::{query::With, system::RunSystemOnce},
    prelude::World,
};
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause},
    record::{EntityKind, EntityRecord, Pilot, Structure},
    rules::shot::ShotId,
    world::{
        ids::{AccountId, EntityId, NetId, ShardId},
        sector::SectorId,
        tick::SimTick,
    },
};
use sidereal_server::{
    audit::census::Audit,
    audit::journal::{Event as ServerEvent, Journal as ServerJournal},
    db::{Store, StoreConfig},
    replication::mirror::{Holder, Mirror},
    replication::space::{Space, Succession},
};
use sidereal_shard::{
    bodies::{self, Authority, Body, Flight},
    damage::Impacts,
    ghosts::Ghost,
    inputs::PilotInput,
    journal::{Event as ShardEvent, Journal as ShardJournal},
};
use sidereal_tests::{
    checker::{agreement::AGREE_TICKS, authority::PATIENCE_TICKS},
    cluster::{Cluster, Setup},
};

const STRANGER: EntityId = EntityId(uuid::Uuid::from_u128(77));

/// A correct world with a ship in it.
fn well() -> (Cluster, EntityId) {
    let rock = |number: u64| {
        let position = DVec2::new(100.0, 300.0 + 50.0 * number as f64);
        let mut rock =
            EntityRecord::at_rest(EntityId::from_halves(1, number), EntityKind::Asteroid, position, SimTick(0));
        rock.set(Structure::whole(5.0, 40));
        rock
    };
    let home = Some((1..=3).map(rock).collect());
    let mut cluster = Cluster::of(Setup { seed: 7, home, ..Setup::default() });
    let player = cluster.join_and_fly("ada");
    let ship = cluster.ship_of(player).expect("flying");
    cluster.ticks(40);
    (cluster, ship)
}

/// The checker's report, within its patience. The server's own audit is delayed, so that it is not first.
fn fault(cluster: &mut Cluster) -> String {
    for _ in 0..2 * PATIENCE_TICKS {
        cluster.server.insert_resource(Audit::default());
        if let Err(problem) = cluster.try_tick() {
            return problem;
        }
    }
    panic!("the fault was not seen");
}

/// Calls `look` with the world of the shard that has `id`.
fn at_shard<T>(cluster: &mut Cluster, id: EntityId, look: impl FnOnce(&mut World) -> T) -> T {
    let (shard, _) = cluster.truth(id).expect("simulated");
    look(cluster.shards[shard].as_mut().expect("it lives").world_mut())
}

fn own_body<T>(
    cluster: &mut Cluster,
    id: EntityId,
    change: impl FnOnce(&mut Body, &mut Authority, &mut Flight) -> T,
) -> T {
    at_shard(cluster, id, |world| {
        let mut bodies = world.query::<(&mut Body, &mut Authority, &mut Flight)>();
        let (mut body, mut authority, mut flight) =
            bodies.iter_mut(world).find(|(body, ..)| body.id == id).expect("it is its authority");
        change(&mut body, &mut authority, &mut flight)
    })
}

fn change_pilot<T>(cluster: &mut Cluster, id: EntityId, change: impl FnOnce(&mut Pilot) -> T) -> T {
    at_shard(cluster, id, |world| {
        let mut ships = world.query::<(&Body, &mut PilotInput)>();
        let (_, mut input) = ships.iter_mut(world).find(|(body, _)| body.id == id).expect("a player's");
        change(&mut input.pilot)
    })
}

fn shard_says(cluster: &mut Cluster, id: EntityId, event: ShardEvent) {
    at_shard(cluster, id, |world| world.resource_mut::<ShardJournal>().push(event));
}

fn server_says(cluster: &mut Cluster, event: ServerEvent) {
    cluster.server.world_mut().resource_mut::<ServerJournal>().push(event);
}

fn record_in_mirror(cluster: &Cluster, id: EntityId) -> EntityRecord {
    cluster.server.world().resource::<Mirror>().get(id).expect("in the mirror").record.clone()
}

fn change_record(cluster: &mut Cluster, id: EntityId, change: impl FnOnce(&mut EntityRecord)) {
    let mut mirror = cluster.server.world_mut().resource_mut::<Mirror>();
    change(&mut mirror.get_mut(id).expect("in the mirror").record);
}

fn bullet() -> ImpactCause {
    ImpactCause::Bullet(ShotId { shooter: NetId(1), tick: SimTick(5) })
}

fn assert_names(fault: &str, what: &str) {
    assert!(fault.contains(what), "{fault}");
}

#[test]
fn a_body_that_vanishes_from_its_shard_is_missed() {
    let (mut cluster, ship) = well();
    at_shard(&mut cluster, ship, |world| assert!(bodies::remove(world, ship)));
    assert_names(&fault(&mut cluster), "its authority does not simulate it");
}

#[test]
fn a_body_that_vanishes_from_its_shard_is_lost_by_the_servers_own_audit() {
    let (mut cluster, ship) = well();
    at_shard(&mut cluster, ship, |world| assert!(bodies::remove(world, ship)));
    let problem = (0..2 * PATIENCE_TICKS).find_map(|_| cluster.try_tick().err());
    assert_names(&problem.expect("it is seen"), "lost: 1");
}

#[test]
fn a_second_owner_under_the_same_epoch_is_seen() {
    let (mut cluster, ship) = well();
    let (shard, state) = cluster.truth(ship).expect("simulated");
    let record = EntityRecord { state, ..record_in_mirror(&cluster, ship) };
    let other = cluster.shards[1 - shard].as_mut().expect("it lives");
    bodies::spawn_owned(other.world_mut(), &record);
    assert_names(&fault(&mut cluster), "has begun before");
}

#[test]
fn an_owner_under_an_old_epoch_is_borne_with_only_for_a_while() {
    let (mut cluster, ship) = well();
    let (shard, _) = cluster.truth(ship).expect("simulated");
    let twin = record_in_mirror(&cluster, ship);
    let mut stranger = EntityRecord { id: STRANGER, net_id: NetId(9_999), owner: None, ..twin };
    stranger.remove::<Pilot>();
    bodies::spawn_owned(cluster.shards[shard].as_mut().expect("it lives").world_mut(), &stranger);
    let from = cluster.step;
    assert_names(&fault(&mut cluster), "after its end");
    assert!(cluster.step > from + PATIENCE_TICKS);
}

#[test]
fn a_position_that_is_no_number_is_seen() {
    let (mut cluster, _) = well();
    let rock = EntityId::from_halves(1, 2);
    own_body(&mut cluster, rock, |_, _, flight| flight.0.position.x = f64::NAN);
    assert_names(&fault(&mut cluster), "not finite");
}

#[test]
fn a_ghost_of_nobody_is_seen() {
    let (mut cluster, _) = well();
    let mut planted = false;
    for app in cluster.shards.iter_mut().flatten() {
        let world = app.world_mut();
        let mut ghosts = world.query_filtered::<&mut Body, With<Ghost>>();
        if let Some(mut body) = ghosts.iter_mut(world).next() {
            body.id = STRANGER;
            planted = true;
        }
    }
    assert!(planted, "there are ghosts across the border");
    assert_names(&fault(&mut cluster), "a ghost without an owner");
}

#[test]
fn somebody_who_leaves_the_mirror_without_a_reason_is_missed() {
    let (mut cluster, ship) = well();
    let leave = move |mut space: Space<'_, '_>| assert!(space.leave_mirror(ship).is_some());
    cluster.server.world_mut().run_system_once(leave).expect("a system runs");
    assert_names(&fault(&mut cluster), "missing in the mirror");
}

#[test]
fn somebody_who_enters_the_mirror_without_a_reason_is_seen() {
    let (mut cluster, ship) = well();
    let stranger = EntityRecord { id: STRANGER, net_id: NetId(9_999), ..record_in_mirror(&cluster, ship) };
    let enter = move |mut space: Space<'_, '_>| space.enter_mirror(stranger.clone(), Holder::Server);
    cluster.server.world_mut().run_system_once(enter).expect("a system runs");
    assert_names(&fault(&mut cluster), &format!("too much: [{STRANGER:?}]"));
}

#[test]
fn an_authority_moves_in_one_piece() {
    let (mut cluster, ship) = well();
    let moves = move |mut space: Space<'_, '_>| {
        let before = space.mirror.get(ship).expect("it is in the world");
        let (net_id, issued) = (before.record.net_id, before.issued_epoch);
        let record = space.move_authority(ship, Holder::Server, Succession::NextEpoch).expect("it is in the world");
        let held = space.mirror.get(ship).expect("it stays in the world");
        assert_eq!((held.holder, held.record.epoch, held.issued_epoch), (Holder::Server, issued + 1, issued + 1));
        assert_eq!((record.epoch, record.version), (issued + 1, 0));
        assert_eq!(space.motion.authority_of(net_id), None, "no shard's motion counts");
        let from = record.sector;
        let to = SectorId { x: from.x + 1, ..from };
        let prepared = EntityRecord { sector: to, epoch: issued + 2, ..record };
        space.move_authority(ship, Holder::Shard(ShardId(7)), Succession::Committed(Box::new(prepared)));
        let taken = space.mirror.get(ship).expect("it stays in the world");
        assert_eq!((taken.holder, taken.record.epoch), (Holder::Shard(ShardId(7)), issued + 2));
        assert_eq!(taken.record.sector, to);
        assert_eq!((space.motion.authority_of(net_id), space.motion.sector_of(net_id)), (Some(ShardId(7)), Some(to)));
        assert_eq!(space.replicas.rooms_of(ship, to), [to, from], "the room before is left a while later");
        space.move_authority(ship, Holder::Server, Succession::Orphaned);
        let orphan = space.mirror.get(ship).expect("it stays in the world");
        assert_eq!((orphan.holder, orphan.record.epoch, orphan.record.sector), (Holder::Server, issued + 2, to));
        assert_eq!(space.motion.authority_of(net_id), None);
        assert!(space.move_authority(STRANGER, Holder::Server, Succession::NextEpoch).is_none());
    };
    cluster.server.world_mut().run_system_once(moves).expect("a system runs");
}

#[test]
fn somebody_who_comes_twice_is_seen() {
    let (mut cluster, ship) = well();
    server_says(&mut cluster, ServerEvent::Created { id: ship, hull: 1 });
    assert_names(&fault(&mut cluster), "it is in the world since");
}

#[test]
fn somebody_who_comes_back_from_the_dead_is_seen() {
    let (mut cluster, _) = well();
    let rock = EntityId::from_halves(1, 2);
    at_shard(&mut cluster, rock, |world| {
        world.resource_mut::<Impacts>().push(GhostImpact {
            target: rock,
            source: None,
            cause: bullet(),
            impulse: DVec2::ZERO,
            damage: 1_000,
            tick: SimTick(0),
        });
    });
    cluster.until("it is destroyed", 30, |cluster| cluster.holder(rock).is_none());
    server_says(&mut cluster, ServerEvent::Loaded { id: rock, hull: 40, stored: true });
    assert_names(&fault(&mut cluster), "but it was destroyed");
}

#[test]
fn somebody_who_is_destroyed_with_a_whole_hull_is_seen() {
    let (mut cluster, _) = well();
    server_says(&mut cluster, ServerEvent::Destroyed { id: EntityId::from_halves(1, 2), epoch: 1 });
    assert_names(&fault(&mut cluster), "[40] left");
}

#[test]
fn a_new_ship_for_a_player_whose_old_one_lives_is_seen() {
    let (mut cluster, ship) = well();
    let account: AccountId = record_in_mirror(&cluster, ship).owner.expect("a player's");
    server_says(&mut cluster, ServerEvent::ShipMade { account, id: STRANGER });
    assert_names(&fault(&mut cluster), "was not destroyed");
}

#[test]
fn hull_points_that_come_from_nowhere_or_go_without_a_word_are_seen() {
    for change in [5i32, -5] {
        let (mut cluster, ship) = well();
        own_body(&mut cluster, ship, |body, _, _| body.hull = (i32::from(body.hull) + change) as u16);
        assert_names(&fault(&mut cluster), "by the books");
    }
}

#[test]
fn a_hull_that_a_handoff_heals_is_seen() {
    let (mut cluster, ship) = well();
    let record = record_in_mirror(&cluster, ship);
    let (kind, epoch, hull) = (record.kind, record.epoch + 1, record.hull() - 1);
    let boarding = record.pilot().expect("a player's").boarding;
    let began = ShardEvent::Began { id: ship, kind, epoch, hull, boarding, inputs: 0 };
    shard_says(&mut cluster, ship, began);
    assert_names(&fault(&mut cluster), "begins at shard");
}

#[test]
fn a_repair_by_a_shard_that_does_not_have_it_or_knows_other_points_is_seen() {
    for (later, fewer) in [(1, 0), (0, 1)] {
        let (mut cluster, ship) = well();
        let record = record_in_mirror(&cluster, ship);
        let (epoch, before) = (record.epoch + later, record.hull() - fewer);
        shard_says(&mut cluster, ship, ShardEvent::Remade { id: ship, epoch, before, hull: record.hull() });
        assert_names(&fault(&mut cluster), "remade at shard");
    }
}

#[test]
fn an_impact_that_is_felt_twice_is_seen() {
    let (mut cluster, ship) = well();
    let record = record_in_mirror(&cluster, ship);
    let cause = bullet();
    for before in [record.hull(), record.hull() - 10] {
        let hit = ShardEvent::Damaged { id: ship, epoch: record.epoch, before, amount: 10, cause };
        shard_says(&mut cluster, ship, hit);
    }
    assert_names(&fault(&mut cluster), "again");
}

#[test]
fn damage_under_an_epoch_that_is_over_is_seen() {
    let (mut cluster, ship) = well();
    let record = record_in_mirror(&cluster, ship);
    let cause = bullet();
    let hit = ShardEvent::Damaged { id: ship, epoch: record.epoch - 1, before: record.hull(), amount: 10, cause };
    shard_says(&mut cluster, ship, hit);
    assert_names(&fault(&mut cluster), "the damage is lost");
}

#[test]
fn a_version_that_falls_in_the_mirror_is_seen() {
    let (mut cluster, ship) = well();
    change_record(&mut cluster, ship, |record| record.epoch -= 1);
    assert_names(&fault(&mut cluster), "in the mirror fell");
}

#[test]
fn an_epoch_that_falls_in_a_shard_is_seen() {
    let (mut cluster, ship) = well();
    own_body(&mut cluster, ship, |_, authority, _| authority.epoch -= 1);
    assert_names(&fault(&mut cluster), "but began");
}

#[test]
fn a_mirror_that_does_not_follow_its_shards_is_seen() {
    let (mut cluster, ship) = well();
    cluster.try_settle(AGREE_TICKS).expect("all is well");
    change_record(&mut cluster, ship, |record| record.set(one_point_less(record)));
    let problem = cluster.try_settle(AGREE_TICKS).expect_err("nothing mends it");
    assert_names(&problem, "(epoch, hull)");
}

fn one_point_less(record: &EntityRecord) -> Structure {
    let structure = record.structure();
    Structure { hull: structure.hull - 1, ..structure }
}

fn pilot_of(cluster: &mut Cluster, ship: EntityId) -> Pilot {
    change_pilot(cluster, ship, |pilot| *pilot)
}

#[test]
fn hands_that_nobody_put_to_the_helm_are_seen() {
    let (mut cluster, ship) = well();
    change_pilot(&mut cluster, ship, |pilot| pilot.boarding += 1);
    assert_names(&fault(&mut cluster), "has the helm");
}

#[test]
fn an_input_that_is_applied_twice_is_seen() {
    let (mut cluster, ship) = well();
    let epoch = record_in_mirror(&cluster, ship).epoch;
    let pilot = pilot_of(&mut cluster, ship);
    let (boarding, stamp, total) = (pilot.boarding, pilot.last_input, pilot.inputs_applied);
    assert!(total > 0);
    let twice = ShardEvent::Inputs { id: ship, epoch, boarding, stamps: vec![stamp], total: total + 1 };
    shard_says(&mut cluster, ship, twice);
    assert_names(&fault(&mut cluster), &format!("input {stamp} is applied after input {stamp}"));
}

#[test]
fn an_input_that_is_passed_over_is_seen() {
    let (mut cluster, ship) = well();
    let epoch = record_in_mirror(&cluster, ship).epoch;
    let pilot = pilot_of(&mut cluster, ship);
    let (boarding, stamp, total) = (pilot.boarding, pilot.last_input + 2, pilot.inputs_applied + 1);
    shard_says(&mut cluster, ship, ShardEvent::Inputs { id: ship, epoch, boarding, stamps: vec![stamp], total });
    assert_names(&fault(&mut cluster), "passed over");
}

#[test]
fn inputs_that_are_counted_wrongly_are_seen() {
    let (mut cluster, ship) = well();
    change_pilot(&mut cluster, ship, |pilot| pilot.inputs_applied += 1);
    assert_names(&fault(&mut cluster), "inputs are counted");
}

#[test]
#[should_panic(expected = "lives, but not in the database")]
fn a_ship_that_a_dying_server_loses_is_missed() {
    let (mut cluster, ship) = well();
    let store = Store::start(cluster.database().clone(), StoreConfig::default());
    store.tombstone(ship.0, 1_000, 0, 0);
    store.flush();
    cluster.kill_server();
}

#[test]
#[should_panic(expected = "units from wherever it was")]
fn a_ship_that_a_dying_server_puts_elsewhere_is_seen() {
    let (mut cluster, ship) = well();
    let mut stored = cluster.database().entity(ship.0).expect("it answers").expect("it is stored");
    let mut record = EntityRecord::decode(&stored.record).expect("the server has written it");
    record.state.position += DVec2::new(50.0, 0.0);
    record.sector = SectorId::containing(record.state.position);
    stored.record = record.encode().expect("it is small");
    let store = Store::start(cluster.database().clone(), StoreConfig::default());
    store.put(stored);
    store.flush();
    cluster.kill_server();
}
