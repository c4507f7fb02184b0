//! Two shards and a server that passes messages on: no entity is lost or doubled at a border.

mod common;

use common::{
    mesh::{EAST, Mesh, WEST},
    *,
};
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause, RefuseReason, ToServer, ToShard},
    packets::motion::{EngineGlow, Motion, SectorUpdate},
    record::EntityRecord,
    rules::{
        flight::{self, Controls, FlightState, HullKind},
        shot::ShotId,
    },
    world::{ids::NetId, tick::SimTick},
};
use sidereal_shard::ghosts::GhostNews;

#[test]
fn a_ship_that_crosses_back_and_forth_flies_as_if_there_were_no_border() {
    for delay in [1, 2, 4] {
        let start = DVec2::new(940.0, 500.0);
        let mut mesh = Mesh::new(vec![ship(1, start)], vec![], delay);
        let spec = HullKind::Scout.spec();
        let mut expected = FlightState { position: start, ..Default::default() };
        let mut sent = Vec::new();
        for tick in 0..1500u64 {
            // Full thrust in circles across the border. The inputs are stamped so early that they arrive a tick before
            // they are due: with two ticks of slack the delay would fall, and two inputs would be merged.
            let turn = if tick % 400 < 250 { 70 } else { -50 };
            let next = input(mesh.now + delay - 1, 127, turn, 0);
            sent.push(next);
            mesh.input(id(1), next);
            mesh.tick();
        }
        let owner = mesh.owner(id(1));
        let pilot = owner.pilot(id(1));
        assert!(mesh.handoffs >= 4, "it crossed {} times", mesh.handoffs);
        for input in sent.iter().take(pilot.inputs_applied as usize) {
            expected = flight::step(&expected, input.controls, &spec);
        }
        let state = owner.state(id(1));
        assert_eq!(pilot.last_input, sent[pilot.inputs_applied as usize - 1].tick);
        assert_eq!(state, expected, "delay {delay}");
        let doubled: u64 = mesh.shards.iter().map(|shard| shard.totals().inputs_doubled).sum();
        assert_eq!(doubled, 0);
        let merged: u64 = mesh.shards.iter().map(|shard| shard.totals().inputs_merged).sum();
        assert_eq!(merged, 0);
    }
}

#[test]
fn a_body_is_never_missing_on_either_side_while_it_crosses() {
    let mut mesh = Mesh::new(vec![moving(rock(1, DVec2::new(960.0, 500.0), 20.0), DVec2::X * 60.0)], vec![], 2);
    let mut last = mesh.shards[0].state(id(1)).position;
    for _ in 0..10 {
        mesh.tick();
    }
    for _ in 0..90 {
        mesh.tick();
        for shard in &mesh.shards {
            let state = shard.state(id(1));
            assert!(state.position.x > last.x - 8.0, "{state:?}");
            assert!((state.velocity.x - 60.0).abs() < 0.2, "{state:?}");
        }
        last = mesh.owner(id(1)).state(id(1)).position;
    }
    assert_eq!(mesh.handoffs, 1);
    assert!(mesh.shards[0].is_ghost(id(1)) && mesh.shards[1].owns(id(1)));
}

/// A duel: two ships face each other and hold the trigger.
fn duel(border: f64) -> (Vec<EntityRecord>, Vec<EntityRecord>) {
    let west = ship(1, DVec2::new(border - 120.0, 500.0));
    let east = headed(ship(2, DVec2::new(border + 120.0, 500.0)), std::f64::consts::PI);
    (vec![west], vec![east])
}

fn fight(mesh: &mut Mesh, ticks: u64) {
    for _ in 0..ticks {
        for ship in [id(1), id(2)] {
            if mesh.authority.contains_key(&ship) {
                let next = input(mesh.now + mesh.delay, 0, 0, Controls::FIRE);
                mesh.input(ship, next);
            }
        }
        mesh.tick();
    }
}

#[test]
fn a_duel_across_the_border_comes_out_as_one_inside_a_shard() {
    let (west, east) = duel(1000.0);
    let mut across = Mesh::new(west, east, 2);
    fight(&mut across, 60);
    let (west, east) = duel(500.0);
    let mut inside = Mesh::new([west, east].concat(), vec![], 2);
    fight(&mut inside, 60);
    let hull = |mesh: &Mesh, ship| mesh.owner(ship).body(ship).hull;
    for ship in [id(1), id(2)] {
        let (one, other) = (hull(&across, ship), hull(&inside, ship));
        // One hit may be on its way between the shards.
        assert!(one.abs_diff(other) <= 10, "{one} across, {other} inside");
        assert!(other < 70, "they never hit: {other}");
    }
}

#[test]
fn a_duel_across_the_border_ends_with_one_destroyed_once() {
    let (west, mut east) = duel(1000.0);
    east[0] = with_hull(east[0].clone(), 30);
    let mut mesh = Mesh::new(west, east, 2);
    fight(&mut mesh, 120);
    let destroyed: Vec<_> = mesh.destroyed.iter().map(|&(victim, _, by)| (victim, by)).collect();
    assert_eq!(destroyed, vec![(id(2), Some(id(1)))]);
    assert!(mesh.shards.iter().all(|shard| shard.entity(id(2)).is_none()));
}

#[test]
fn no_part_of_a_shots_path_is_judged_twice_or_not_at_all() {
    // Rocks just before, on and just beyond the border, each hit by a single shot.
    for x in [940.0, 990.0, 1000.0, 1010.0, 1060.0] {
        let target = rock(2, DVec2::new(x, 500.0), 12.0);
        let (mut west, mut east) = (vec![ship(1, DVec2::new(800.0, 500.0))], vec![]);
        if x < 1000.0 {
            west.push(target)
        } else {
            east.push(target)
        }
        let mut mesh = Mesh::new(west, east, 3);
        for _ in 0..10 {
            mesh.tick();
        }
        let next = input(mesh.now + 3, 0, 0, Controls::FIRE);
        mesh.input(id(1), next);
        let after = input(mesh.now + 4, 0, 0, 0);
        mesh.input(id(1), after);
        for _ in 0..60 {
            mesh.tick();
        }
        assert_eq!(mesh.owner(id(2)).body(id(2)).hull, 90, "rock at {x}");
        let hits: u64 = mesh.shards.iter().map(|shard| shard.totals().hits).sum();
        assert_eq!(hits, 1, "rock at {x}");
    }
}

#[test]
fn a_collision_across_the_border_is_about_what_it_is_inside_a_shard() {
    let pair = |border: f64| {
        let west = moving(rock(1, DVec2::new(border - 50.0, 500.0), 20.0), DVec2::X * 40.0);
        let east = moving(rock(2, DVec2::new(border + 50.0, 500.0), 20.0), -DVec2::X * 40.0);
        (west, east)
    };
    let (west, east) = pair(1000.0);
    let mut across = Mesh::new(vec![west], vec![east], 2);
    let (west, east) = pair(500.0);
    let mut inside = Mesh::new(vec![west, east], vec![], 2);
    for _ in 0..60 {
        across.tick();
        inside.tick();
    }
    for rock in [id(1), id(2)] {
        let one = across.owner(rock).state(rock).velocity;
        let other = inside.owner(rock).state(rock).velocity;
        assert!(one.distance(other) < 6.0, "{one} across, {other} inside");
        assert!(other.length() > 5.0);
    }
}

fn west_with(record: EntityRecord) -> Shard {
    Shard::with(1, &[WEST], vec![record])
}

fn until_prepared(shard: &mut Shard) -> (Box<EntityRecord>, u32) {
    for _ in 0..100 {
        shard.tick();
        for frame in shard.frames() {
            if let ToServer::Prepare { record, to, attempt } = frame {
                assert_eq!(to, EAST);
                return (record, attempt);
            }
        }
    }
    panic!("it never started a handoff: {:?}", shard.state(id(1)));
}

#[test]
fn an_aborted_handoff_goes_on_here_and_is_not_tried_again_for_a_second() {
    let mut shard = west_with(moving(ship(1, DVec2::new(990.0, 500.0)), DVec2::X * 60.0));
    let (_, attempt) = until_prepared(&mut shard);
    shard.send(ToShard::Impact(GhostImpact {
        target: id(1),
        source: None,
        cause: ImpactCause::Bullet(ShotId { shooter: NetId(9), tick: SimTick(shard.tick) }),
        impulse: DVec2::ZERO,
        damage: 30,
        tick: SimTick(shard.tick),
    }));
    shard.ticks(2);
    assert_eq!(shard.body(id(1)).hull, 100, "damage is held");
    shard.send(ToShard::Abort { id: id(1), attempt });
    shard.ticks(1);
    assert_eq!(shard.body(id(1)).hull, 70, "and applied here after all");
    assert!(shard.owns(id(1)));
    shard.frames();
    shard.ticks(28);
    assert!(!shard.frames().iter().any(|frame| matches!(frame, ToServer::Prepare { .. })));
    shard.ticks(3);
    assert!(shard.frames().iter().any(|frame| matches!(frame, ToServer::Prepare { .. })));
}

#[test]
fn a_leaving_ship_holds_its_fire() {
    let mut shard = west_with(moving(ship(1, DVec2::new(990.0, 500.0)), DVec2::X * 100.0));
    until_prepared(&mut shard);
    for _ in 0..20 {
        let next = input(shard.tick, 0, 0, Controls::FIRE);
        shard.inputs(id(1), vec![next]);
        shard.tick();
    }
    assert_eq!(shard.totals().shots, 0);
    assert_eq!(shard.pilot(id(1)).inputs_applied, 19, "its inputs go on");
}

#[test]
fn a_released_body_nobody_announces_goes_after_a_second() {
    let mut shard = west_with(moving(rock(1, DVec2::new(990.0, 500.0), 20.0), DVec2::X * 60.0));
    let (record, _) = until_prepared(&mut shard);
    shard.send(ToShard::Release { id: id(1), epoch: record.epoch + 1 });
    shard.ticks(1);
    assert!(shard.is_ghost(id(1)));
    shard.ticks(29);
    assert!(shard.is_ghost(id(1)));
    shard.ticks(2);
    assert!(shard.entity(id(1)).is_none());
}

#[test]
fn an_offer_out_of_place_is_refused() {
    let mut shard = west_with(rock(1, DVec2::splat(500.0), 20.0));
    let offer = |record: EntityRecord| ToShard::Offer { record: Box::new(record) };
    shard.send(offer(rock(1, DVec2::splat(500.0), 20.0)));
    shard.send(offer(rock(2, DVec2::new(1500.0, 500.0), 20.0)));
    shard.app.update();
    let reasons: Vec<_> = shard
        .frames()
        .into_iter()
        .filter_map(|frame| match frame {
            ToServer::Refuse { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, vec![RefuseReason::AlreadyOwned, RefuseReason::NoLease]);
}

#[test]
fn a_record_from_a_clock_ahead_waits_for_its_tick() {
    let mut shard = Shard::with(1, &[WEST], vec![]);
    let mut record = moving(ship(1, DVec2::splat(500.0)), DVec2::X * 90.0);
    record.tick = SimTick(START + 3);
    shard.send(ToShard::Offer { record: Box::new(record.clone()) });
    shard.send(ToShard::Commit { record: Box::new(record.clone()), inputs: vec![] });
    shard.ticks(3);
    assert_eq!(shard.state(id(1)), record.state);
    shard.tick();
    let next = flight::step(&record.state, Controls::default(), &HullKind::Scout.spec());
    assert_eq!(shard.state(id(1)), next);
}

#[test]
fn an_admitted_ship_is_adopted_as_it_was_stored() {
    let mut shard = Shard::with(1, &[WEST], vec![]);
    let mut record = ship(1, DVec2::splat(500.0));
    record.tick = SimTick(10);
    record.epoch = 9;
    shard.send(ToShard::Offer { record: Box::new(record.clone()) });
    shard.app.update();
    assert_eq!(shard.frames(), vec![ToServer::Accept { id: id(1), epoch: 9 }]);
    shard.send(ToShard::Commit { record: Box::new(record), inputs: vec![] });
    shard.tick();
    let adopted = shard.frames().into_iter().any(|frame| match frame {
        ToServer::Adopted { id: who, epoch, tick, .. } => (who, epoch, tick) == (id(1), 9, SimTick(START)),
        _ => false,
    });
    assert!(adopted);
    assert_eq!(shard.state(id(1)).position, DVec2::splat(500.0));
    shard.inputs(id(1), vec![input(START, 0, 0, 0)]);
    shard.ticks(2);
    assert_eq!(shard.pilot(id(1)).inputs_applied, 1);
}

#[test]
fn the_first_state_of_an_adopted_ship_leaves_with_the_update_that_adopted_it() {
    let mut shard = Shard::with(1, &[WEST], vec![]);
    shard.ticks(10);
    shard.datagrams();
    let mut record = moving(ship(1, DVec2::splat(500.0)), DVec2::X * 60.0);
    (record.epoch, record.tick) = (9, SimTick(START + 7));
    shard.send(ToShard::Commit { record: Box::new(record.clone()), inputs: vec![] });
    // No tick is due.
    let answers = shard.answers();
    let now = SimTick(START + 10);
    assert!(matches!(answers[..], [ToServer::Adopted { epoch: 9, tick, .. }] if tick == now), "{answers:?}");
    let state = shard.state(id(1));
    assert!(state.position.x > 505.0, "it is advanced by three ticks: {state:?}");
    let datagrams = shard.datagrams();
    let updates = sector_updates(&datagrams);
    assert_eq!((updates.len(), updates[0].sector, updates[0].tick), (1, WEST, now));
    assert!(updates[0].motions[0].state.position.distance(state.position) < 0.05, "{updates:?}");
    let own = own_states(&datagrams);
    assert_eq!((own.len(), own[0].tick, own[0].state), (1, now, state));
    // The same commit again: it is answered, and nothing else.
    shard.send(ToShard::Commit { record: Box::new(record), inputs: vec![] });
    assert!(matches!(shard.answers()[..], [ToServer::Adopted { epoch: 9, .. }]));
    assert!(shard.datagrams().is_empty());
}

#[test]
fn a_ship_from_a_shard_that_is_ahead_is_answered_without_an_older_state() {
    let mut shard = Shard::with(1, &[WEST], vec![]);
    shard.ticks(1);
    shard.datagrams();
    let mut record = ship(1, DVec2::splat(500.0));
    (record.epoch, record.tick) = (9, SimTick(START + 3));
    shard.send(ToShard::Commit { record: Box::new(record), inputs: vec![] });
    assert!(matches!(shard.answers()[..], [ToServer::Adopted { epoch: 9, .. }]));
    assert!(shard.datagrams().is_empty());
}

fn ghost_update(tick: u64, position: DVec2, velocity: DVec2) -> SectorUpdate {
    let state = FlightState { position, velocity, ..Default::default() };
    let net_id = NetId(7);
    SectorUpdate {
        sector: EAST,
        tick: SimTick(tick),
        motions: vec![Motion { net_id, state, glow: EngineGlow::default() }],
        shots: vec![],
        hits: vec![],
        beams: vec![],
    }
}

#[test]
fn a_ghost_is_carried_on_for_half_a_second_and_goes_after_three() {
    let mut shard = Shard::with(1, &[WEST], vec![]);
    let position = DVec2::new(1100.0, 500.0);
    shard.update_from(ghost_update(START, position, DVec2::X * 30.0));
    shard.tick();
    assert!(shard.entity(id(7)).is_none(), "motion without an announcement spawns no ghost");
    let body = sidereal_shard::bodies::Body::of(&ship(7, position));
    shard.news(GhostNews::Appeared(Box::new(body)));
    shard.update_from(ghost_update(START + 1, position, DVec2::X * 30.0));
    shard.ticks(10);
    assert!(shard.is_ghost(id(7)));
    assert!((shard.state(id(7)).position.x - 1110.0).abs() < 1e-3, "{:?}", shard.state(id(7)));
    shard.ticks(60);
    assert!((shard.state(id(7)).position.x - 1115.0).abs() < 1.1, "{:?}", shard.state(id(7)));
    shard.ticks(30);
    assert!(shard.entity(id(7)).is_none());
}

#[test]
fn a_ghost_that_is_out_of_sight_goes_and_an_own_body_stays() {
    let mut shard = west_with(rock(1, DVec2::splat(500.0), 20.0));
    let body = sidereal_shard::bodies::Body::of(&ship(7, DVec2::new(1100.0, 500.0)));
    shard.news(GhostNews::Appeared(Box::new(body)));
    shard.update_from(ghost_update(START, DVec2::new(1100.0, 500.0), DVec2::ZERO));
    shard.tick();
    assert!(shard.is_ghost(id(7)));
    shard.news(GhostNews::Gone(id(7)));
    shard.news(GhostNews::Gone(id(1)));
    shard.tick();
    assert!(shard.entity(id(7)).is_none());
    assert!(shard.owns(id(1)));
}
