//! Deals on a shard: which ones it allows, and how it shelters a ship until the ledger decides.

mod common;

use common::{
    mesh::{EAST, Mesh, WEST},
    *,
};
use sidereal_protocol::{
    DVec2,
    frames::control::{ToServer, ToShard},
    record::{EntityKind, EntityRecord, OreLoad, Structure},
    rules::{
        economy::{Bargain, DOCKING_RANGE, DealKey, DealRefusal, Fitted, STATION_RADIUS, TRADING_RANGE, Weapon},
        flight::{Controls, HullKind},
        shot::{BEAM_DAMAGE, MISSILE_INTERVAL_TICKS},
    },
    world::{ids::EntityId, sector::SectorId, tick::SimTick},
};
use sidereal_shard::{docking::WITHDRAWAL_TICKS, ghosts::GhostNews};

type Verdict = Result<Option<Box<EntityRecord>>, DealRefusal>;

fn around() -> Vec<SectorId> {
    (-3..=3).flat_map(|x| (-3..=3).map(move |y| SectorId::new(x, y))).collect()
}

/// A shard with a station in the middle, and `records`.
fn port(records: Vec<EntityRecord>) -> Shard {
    Shard::with(1, &around(), [vec![station(9, middle())], records].concat())
}

fn middle() -> DVec2 {
    WEST.center()
}

/// A position from which a ship can dock.
fn near() -> DVec2 {
    middle() + DVec2::X * (STATION_RADIUS + DOCKING_RANGE - 1.0)
}

fn key(number: u128) -> DealKey {
    DealKey(EntityId::from_halves(7, number as u64).0)
}

fn ask(shard: &mut Shard, deal: u128, ship: u64, bargain: Bargain) -> Verdict {
    ask_about(shard, deal, ship, bargain, None)
}

fn ask_about(shard: &mut Shard, deal: u128, ship: u64, bargain: Bargain, partner: Option<u64>) -> Verdict {
    shard.send(ToShard::Deal { key: key(deal), ship: id(ship), bargain, partner: partner.map(id) });
    let answers = shard.answers();
    let [ToServer::Deal { key: about, ship: whose, verdict }] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((*about, *whose), (key(deal), id(ship)));
    verdict.clone()
}

fn settle(shard: &mut Shard, deal: u128, ship: u64, done: bool) {
    shard.send(ToShard::Settled { key: key(deal), ship: id(ship), done });
    assert_eq!(shard.answers(), vec![]);
}

/// Requests a deal that is allowed, and settles it; returns the record that it was settled with.
fn strike_deal(shard: &mut Shard, deal: u128, ship: u64, bargain: Bargain) -> EntityRecord {
    let after = ask(shard, deal, ship, bargain).expect("it passes").expect("it changes the ship");
    settle(shard, deal, ship, true);
    *after
}

#[test]
fn a_ship_docks_only_near_a_station_slowly_and_once() {
    let too_far = near() + DVec2::X * 2.0;
    for (ship, refusal) in [
        (ship(1, too_far), DealRefusal::NoStation),
        (moving(ship(1, near()), DVec2::Y * 61.0), DealRefusal::TooFast),
        (drone(1, near()), DealRefusal::NotMine),
        (ship(2, near()), DealRefusal::NotMine),
    ] {
        assert_eq!(ask(&mut port(vec![ship]), 1, 1, Bargain::Dock), Err(refusal));
    }
    let mut shard = port(vec![moving(ship(1, near()), DVec2::Y * 59.0)]);
    let after = strike_deal(&mut shard, 1, 1, Bargain::Dock);
    assert_eq!(after.validate(), Ok(()));
    assert_eq!((after.docked(), after.state.velocity), (Some(id(9)), DVec2::ZERO));
    assert!(after.version > 0 && after.state.position.distance(middle()) < STATION_RADIUS + 12.0);
    assert_eq!(ask(&mut shard, 2, 1, Bargain::Dock), Err(DealRefusal::Docked));
}

#[test]
fn business_is_for_who_is_docked_and_each_has_its_refusal() {
    let mut shard = port(vec![ship(1, near()).with(OreLoad(50))]);
    let all = [
        Bargain::Undock,
        Bargain::Sell { ore: 1 },
        Bargain::Store { ore: 1 },
        Bargain::Take { ore: 1 },
        Bargain::Repair,
        Bargain::BuyWeapon(Weapon::HeavyBeam),
        Bargain::BuyHull(HullKind::Hauler),
    ];
    for bargain in all {
        assert_eq!(ask(&mut shard, 1, 1, bargain), Err(DealRefusal::NotDocked), "{bargain:?}");
    }
    strike_deal(&mut shard, 1, 1, Bargain::Dock);
    assert_eq!(ask(&mut shard, 2, 1, Bargain::Repair), Err(DealRefusal::Whole));
    assert_eq!(ask(&mut shard, 2, 1, Bargain::BuyHull(HullKind::Scout)), Err(DealRefusal::HasIt));
    assert_eq!(ask(&mut shard, 2, 1, Bargain::BuyHull(HullKind::Gunship)), Err(DealRefusal::HoldTooSmall));
    strike_deal(&mut shard, 2, 1, Bargain::BuyWeapon(Weapon::HeavyBeam));
    assert_eq!(ask(&mut shard, 3, 1, Bargain::BuyWeapon(Weapon::HeavyBeam)), Err(DealRefusal::HasIt));
    // An invalid request, which no server sends, is rejected and counted.
    assert_eq!(ask(&mut shard, 3, 1, Bargain::Sell { ore: 0 }), Err(DealRefusal::NotMine));
    assert_eq!(shard.totals().frames_refused, 1);
}

#[test]
fn a_docked_ship_stays_where_it_is_does_nothing_and_nothing_is_done_to_it() {
    let rammer = moving(ship(2, near() + DVec2::X * 250.0), DVec2::X * -200.0);
    let mut shard =
        port(vec![ship(1, near()), headed(rammer, std::f64::consts::PI), drone(3, near() + DVec2::Y * 90.0)]);
    let docked = strike_deal(&mut shard, 1, 1, Bargain::Dock);
    shard.datagrams();
    for _ in 0..60 {
        let wants = Controls::FIRE | Controls::LAUNCH | Controls::BEAM | Controls::MINE | Controls::BOOST;
        shard.inputs(id(1), vec![input(shard.tick - 1, 127, 90, wants)]);
        shard.inputs(id(2), vec![input(shard.tick - 1, 0, 0, Controls::FIRE)]);
        shard.strike(id(1), 5);
        shard.tick();
        assert_eq!(shard.state(id(1)), docked.state);
    }
    assert_eq!(shard.body(id(1)).hull, 100);
    let totals = shard.totals();
    assert_eq!((totals.missiles, totals.beams, totals.ore_moves), (0, 0, 0));
    // Its pilot's inputs are acknowledged anyway.
    let told = own_states(&shard.datagrams());
    let last = told.iter().rfind(|state| state.net_id.0 == 1).expect("its state is sent");
    assert_eq!(last.input_tick, SimTick(shard.tick - 2));
}

#[test]
fn a_deal_that_is_asked_for_twice_has_one_answer_and_another_one_waits() {
    let mut shard = port(vec![ship(1, near())]);
    let first = ask(&mut shard, 1, 1, Bargain::Dock);
    shard.ticks(5);
    shard.frames();
    assert_eq!(ask(&mut shard, 1, 1, Bargain::Dock), first);
    assert_eq!(ask(&mut shard, 2, 1, Bargain::Dock), Err(DealRefusal::Busy));
    assert_eq!(shard.own_record(id(1)).docked(), None, "nothing has happened yet");
    // The settlement of another deal does not settle this one.
    settle(&mut shard, 2, 1, true);
    assert_eq!(ask(&mut shard, 3, 1, Bargain::Dock), Err(DealRefusal::Busy));
    settle(&mut shard, 1, 1, true);
    assert_eq!(shard.own_record(id(1)).docked(), Some(id(9)));
    assert_eq!(shard.own_record(id(1)).version, first.expect("it passed").expect("it changes").version);
}

#[test]
fn a_ship_whose_deal_is_not_settled_is_locked_and_goes_on_when_it_comes_to_nothing() {
    let station = station(9, DVec2::new(900.0, 500.0));
    let leaver = moving(ship(1, DVec2::new(975.0, 500.0)), DVec2::X * 55.0);
    let mut shard = Shard::with(1, &[WEST], vec![station, leaver]);
    let after = ask(&mut shard, 1, 1, Bargain::Dock).expect("it passes").expect("it changes");
    let sent = shard.hold(id(1), Controls::BOOST | Controls::FIRE, 60);
    shard.strike(id(1), 50);
    shard.tick();
    assert!(shard.state(id(1)).position.x > 1030.0, "it coasts over the border: {:?}", shard.state(id(1)));
    assert_eq!((shard.body(id(1)).hull, shard.totals().shots), (100, 0));
    let told = |frame: &ToServer| matches!(frame, ToServer::Prepare { .. } | ToServer::Record(_));
    assert!(!sent.iter().any(|(_, frame)| told(frame)));
    settle(&mut shard, 1, 1, false);
    shard.strike(id(1), 50);
    shard.tick();
    let frames = shard.frames();
    let prepared = frames.iter().find_map(|frame| match frame {
        ToServer::Prepare { record, .. } => Some(record),
        _ => None,
    });
    let prepared = prepared.expect("it leaves now");
    assert!(prepared.version > after.version);
    assert_eq!((prepared.docked(), prepared.hull()), (None, 50));
}

#[test]
fn what_is_told_of_a_ship_while_its_deal_is_open_is_older_than_the_deal() {
    let mut shard = port(vec![ship(1, near())]);
    let after = ask(&mut shard, 1, 1, Bargain::Dock).expect("it passes").expect("it changes");
    shard.send(ToShard::Drain);
    let frames = shard.answers();
    let drained = frames.iter().find_map(|frame| match frame {
        ToServer::Record(record) if record.id == id(1) => Some(record),
        _ => None,
    });
    let drained = drained.expect("a drain sends every record");
    assert!(drained.fence() < after.fence() && drained.version > 0);
    assert_eq!(drained.docked(), None);
}

#[test]
fn a_ship_that_is_wanted_back_waits_for_its_deal_but_not_for_ever() {
    for (settled, docked) in [(Some(true), true), (Some(false), false), (None, false)] {
        let mut shard = port(vec![ship(1, near())]);
        let after = ask(&mut shard, 1, 1, Bargain::Dock).expect("it passes").expect("it changes");
        shard.send(ToShard::Withdraw { id: id(1) });
        shard.ticks(WITHDRAWAL_TICKS - 1);
        let withdrawn = |frames: Vec<ToServer>| {
            let mut withdrawn = frames.into_iter().filter_map(|frame| match frame {
                ToServer::Withdrawn { record } => Some(*record),
                _ => None,
            });
            withdrawn.next()
        };
        assert_eq!(withdrawn(shard.frames()), None);
        match settled {
            Some(done) => shard.send(ToShard::Settled { key: key(1), ship: id(1), done }),
            None => shard.tick(),
        }
        shard.app.update();
        let record = withdrawn(shard.frames()).expect("it is withdrawn");
        assert_eq!(record.docked().is_some(), docked);
        assert_eq!(record.fence() > after.fence(), settled.is_some());
        assert!(shard.entity(id(1)).is_none());
        // An answer that arrives too late finds no ship.
        settle(&mut shard, 1, 1, true);
        assert!(shard.entity(id(1)).is_none());
    }
}

#[test]
fn a_docked_ship_that_its_player_leaves_is_given_back_and_comes_back_docked() {
    let mut shard = port(vec![ship(1, near())]);
    let docked = strike_deal(&mut shard, 1, 1, Bargain::Dock);
    shard.send(ToShard::Withdraw { id: id(1) });
    let frames = shard.answers();
    let [ToServer::Withdrawn { record }] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((record.docked(), record.state), (Some(id(9)), docked.state));
    let mut again = (**record).clone();
    (again.epoch, again.version) = (again.epoch + 1, 0);
    shard.send(ToShard::Commit { record: Box::new(again), inputs: vec![] });
    shard.ticks(30);
    assert_eq!((shard.own_record(id(1)).docked(), shard.state(id(1))), (Some(id(9)), docked.state));
}

#[test]
fn another_hull_is_whole_bare_and_of_its_own_size() {
    let fitted = Fitted::default().with(Weapon::RapidGun);
    let mut shard = port(vec![with_hull(ship(1, near()), 7).with(fitted)]);
    strike_deal(&mut shard, 1, 1, Bargain::Dock);
    let repaired = strike_deal(&mut shard, 2, 1, Bargain::Repair);
    assert_eq!((repaired.hull(), repaired.fitted()), (100, fitted));
    let hauler = strike_deal(&mut shard, 3, 1, Bargain::BuyHull(HullKind::Hauler));
    let spec = HullKind::Hauler.spec();
    let body = shard.body(id(1));
    assert_eq!(
        (body.hull_kind, body.radius, body.hull, body.hull_max),
        (Some(HullKind::Hauler), 15.0, spec.hull, spec.hull)
    );
    assert_eq!(body.fitted, Fitted::default());
    assert_eq!(hauler.validate(), Ok(()));
    assert!(hauler.state.position.distance(middle()) > STATION_RADIUS + spec.radius, "it does not touch the station");
    strike_deal(&mut shard, 4, 1, Bargain::Undock);
    shard.ticks(30);
    let state = shard.state(id(1));
    assert!(state.velocity.length() < 1e-9 && shard.own_record(id(1)).docked().is_none(), "{state:?}");
    // It collides again, with its full size.
    let from = state.position + DVec2::new(200.0, 22.0);
    shard.grant(&[], vec![moving(ship(2, from), DVec2::X * -200.0)]);
    shard.ticks(60);
    assert!(shard.state(id(1)).velocity.length() > 1.0, "22 apart, 15 and 9 in size: they met");
}

#[test]
fn ships_that_docked_at_one_place_undock_to_places_of_their_own() {
    let mut shard = port((1..=4).map(|number| ship(number, near())).collect());
    for number in 1..=4u64 {
        strike_deal(&mut shard, u128::from(number), number, Bargain::Dock);
    }
    assert_eq!(shard.state(id(1)).position, shard.state(id(4)).position);
    for number in 1..=4u64 {
        strike_deal(&mut shard, u128::from(number) + 10, number, Bargain::Undock);
    }
    shard.ticks(60);
    for number in 1..=4 {
        assert_eq!((shard.state(id(number)).velocity, shard.body(id(number)).hull), (DVec2::ZERO, 100));
    }
}

#[test]
fn ships_trade_in_space_or_at_stations_within_range() {
    let far = near() + DVec2::X * (TRADING_RANGE + 1.0);
    let mut shard = port(vec![ship(1, near()), ship(2, middle() + DVec2::Y * 120.0), ship(3, far)]);
    let accept = |shard: &mut Shard, partner| ask_about(shard, 1, 1, Bargain::Accept, partner);
    assert_eq!(accept(&mut shard, Some(2)), Ok(None));
    assert_eq!(accept(&mut shard, Some(3)), Err(DealRefusal::TooFar));
    assert_eq!(accept(&mut shard, Some(4)), Err(DealRefusal::TooFar));
    assert_eq!(accept(&mut shard, None), Err(DealRefusal::TooFar));
    // A trade changes no ship: it shelters none.
    settle(&mut shard, 1, 1, true);
    strike_deal(&mut shard, 2, 1, Bargain::Dock);
    assert_eq!(accept(&mut shard, Some(2)), Err(DealRefusal::Docked));
    assert_eq!(ask_about(&mut shard, 1, 2, Bargain::Accept, Some(1)), Err(DealRefusal::NotDocked));
    strike_deal(&mut shard, 3, 2, Bargain::Dock);
    assert_eq!(accept(&mut shard, Some(2)), Ok(None));
}

#[test]
fn a_station_does_not_give_way_to_what_rams_it_on_either_side_of_a_border() {
    for x in [500.0, 990.0] {
        let at = DVec2::new(x, 500.0);
        let rammer = moving(ship(1, at + DVec2::X * 150.0), DVec2::X * -300.0);
        let boulder = moving(rock(2, at - DVec2::X * 200.0, 30.0), DVec2::X * 90.0);
        let mut mesh = Mesh::with([vec![WEST], vec![EAST]], vec![station(9, at), rammer, boulder], 2);
        mesh.ticks(90);
        for shard in mesh.shards.iter().filter(|shard| shard.entity(id(9)).is_some()) {
            assert!(shard.state(id(9)).position.distance(at) < 0.02, "{:?}", shard.state(id(9)));
        }
        assert_eq!((mesh.owner(id(9)).state(id(9)).position, mesh.owner(id(9)).body(id(9)).hull), (at, 100));
        let owner = mesh.owner(id(1));
        assert!(owner.state(id(1)).position.x > x + STATION_RADIUS, "{:?}", owner.state(id(1)));
        assert!(owner.body(id(1)).hull < 100 && mesh.lives(id(1)), "a ram hurts");
        assert!(mesh.owner(id(2)).state(id(2)).velocity.x < 0.0, "the rock bounced");
    }
}

#[test]
fn a_station_stops_shots_and_takes_no_damage() {
    let shooter = headed(ship(1, near()), std::f64::consts::PI);
    let behind = ship(2, middle() - DVec2::X * 80.0);
    let mut shard = port(vec![shooter, behind]);
    shard.hold(id(1), Controls::FIRE | Controls::BEAM | Controls::LAUNCH, 150);
    assert!(shard.totals().hits > 10);
    assert_eq!((shard.body(id(9)).hull, shard.body(id(2)).hull), (100, 100));
    assert_eq!(shard.state(id(9)).velocity, DVec2::ZERO);
}

#[test]
fn what_is_fitted_has_its_effect() {
    let everything = Weapon::ALL.into_iter().fold(Fitted::default(), Fitted::with);
    let target = rock(2, middle() + DVec2::new(0.0, 300.0), 20.0).with(Structure::whole(20.0, 1000));
    let figures = |fitted, button, ticks| {
        let pilot = headed(ship(1, middle()).with(fitted), std::f64::consts::FRAC_PI_2);
        let mut shard = Shard::with(1, &around(), vec![pilot, target.clone()]);
        shard.ticks(2);
        shard.hold(id(1), button, ticks);
        (shard.totals().shots, 1000 - shard.body(id(2)).hull, shard.totals().missiles)
    };
    assert_eq!(figures(Fitted::default(), Controls::FIRE, 24).0, 4);
    assert_eq!(figures(everything, Controls::FIRE, 24).0, 6);
    assert_eq!(figures(Fitted::default(), Controls::BEAM, 20).1, BEAM_DAMAGE);
    assert_eq!(figures(everything, Controls::BEAM, 20).1, 2 * BEAM_DAMAGE);
    assert_eq!(figures(Fitted::default(), Controls::LAUNCH, MISSILE_INTERVAL_TICKS).2, 1);
    assert_eq!(figures(everything, Controls::LAUNCH, MISSILE_INTERVAL_TICKS).2, 2);
}

#[test]
fn a_ghost_that_gets_another_hull_is_of_its_new_size() {
    let neighbour = ship(7, DVec2::new(1010.0, 500.0));
    let passer = moving(ship(1, DVec2::new(990.0, 400.0)), DVec2::Y * 100.0);
    let mut mesh = Mesh::new(vec![passer], vec![neighbour], 1);
    mesh.ticks(15);
    let refitted = |radius| GhostNews::Refitted { id: id(7), hull_kind: Some(HullKind::Hauler), radius };
    for absurd in [0.0, f64::NAN, 1e9] {
        mesh.shards[0].news(refitted(absurd));
    }
    mesh.shards[0].news(refitted(15.0));
    mesh.tick();
    let ghost = mesh.shards[0].body(id(7));
    assert_eq!((ghost.kind, ghost.hull_kind, ghost.radius), (EntityKind::Ship, Some(HullKind::Hauler), 15.0));
    mesh.ticks(90);
    // 20 apart with radii of 9 and 9 before: they would not have touched.
    assert!(mesh.shards[0].state(id(1)).velocity.x < -1.0, "{:?}", mesh.shards[0].state(id(1)));
}
