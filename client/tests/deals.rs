//! Deals of the whole client library, against a world with one player over the in-memory network.

#![allow(clippy::unwrap_used)]

mod fake_world;

use bevy::math::DVec2;
use fake_world::{CRATE, Game, Mood, STATION, TICKET};
use sidereal_client::{
    economy::deals::DealBook,
    flight::{controls::PilotIntent, piloting::Piloting},
    session::{SessionState, stats::PlayStats},
    view::{Dock, NoticeKind, PurseShown, WorldView},
};
use sidereal_protocol::{
    frames::messages::TradeNews,
    rules::{
        economy::{Bargain, DealKey, Fitted, Goods, Weapon},
        flight::{Controls, HullKind},
    },
};
use sidereal_transport::network::memory::LinkConditions;
use std::collections::BTreeSet;

const GOOD: LinkConditions =
    LinkConditions { latency_ms: 20, jitter_ms: 4, loss: 0.0, duplication: 0.0, reordering: 0.0 };
const BAD: LinkConditions =
    LinkConditions { latency_ms: 60, jitter_ms: 50, loss: 0.08, duplication: 0.03, reordering: 0.1 };
const AHEAD: Controls = Controls { thrust: 127, turn: 0, buttons: 0 };

fn in_space(conditions: LinkConditions) -> Game {
    let mut game = Game::new(conditions, TICKET);
    game.until("in space", |game| *game.get::<SessionState>() == SessionState::InSpace);
    game
}

fn ask(game: &mut Game, bargain: Bargain) -> DealKey {
    game.client.world_mut().resource_mut::<DealBook>().ask(bargain).unwrap()
}

fn keys_asked(game: &mut Game) -> BTreeSet<DealKey> {
    game.world().asked.iter().map(|(key, _)| *key).collect()
}

#[test]
fn a_deal_is_answered_with_a_notice_and_the_purse_is_shown() {
    let mut game = in_space(GOOD);
    let sell = Bargain::Sell { ore: 5 };
    let key = ask(&mut game, sell);
    game.until("answered", |game| game.get::<DealBook>().counts().done == 1);
    assert_eq!(game.world().asked, [(key, sell)]);
    assert_eq!(game.get::<WorldView>().notices.back().unwrap().kind, NoticeKind::Info);
    let fitted = Fitted::default().with(Weapon::RapidGun);
    let purse = PurseShown { credits: 15, ore: 3, hold: 60, fitted, docked: None, stored: 0 };
    let interval = game.get::<Piloting>().fire_interval_ticks();
    game.world().purse = Some(purse);
    game.until("told", |game| game.get::<WorldView>().purse == Some(purse));
    assert!(game.get::<Piloting>().fire_interval_ticks() < interval, "the gun is quicker from now on");
    game.world().mood = Mood::Refused;
    ask(&mut game, sell);
    game.until("refused", |game| game.get::<DealBook>().counts().refused == 1);
    assert_eq!(game.get::<WorldView>().notices.back().unwrap().kind, NoticeKind::Warning);
    assert!(game.get::<DealBook>().open().is_empty());
    assert_eq!(game.get::<PlayStats>().violations(), 0);
}

#[test]
fn an_undecided_deal_is_asked_for_again_under_its_key_until_it_is_decided() {
    let mut game = in_space(BAD);
    game.world().mood = Mood::Undecided;
    let key = ask(&mut game, Bargain::Repair);
    game.until("requested twice", |game| game.world().asked.len() >= 2);
    let warnings = |game: &Game| {
        game.get::<WorldView>().notices.iter().filter(|notice| notice.kind == NoticeKind::Warning).count()
    };
    assert_eq!(warnings(&game), 1, "shown once");
    game.world().mood = Mood::Done;
    game.until("done", |game| game.get::<DealBook>().counts().done == 1);
    assert_eq!(keys_asked(&mut game), BTreeSet::from([key]));
}

#[test]
fn the_next_session_asks_for_what_is_open_under_the_same_keys() {
    let mut game = in_space(GOOD);
    game.world().mood = Mood::Silent;
    let key = ask(&mut game, Bargain::Dock);
    game.until("asked for", |game| !game.world().asked.is_empty());
    // It was done, and the answer was lost.
    game.world().done.insert(key);
    game.reconnect();
    game.until("in space again", |game| *game.get::<SessionState>() == SessionState::InSpace);
    game.until("answered", |game| game.get::<DealBook>().counts().done == 1);
    assert_eq!(keys_asked(&mut game), BTreeSet::from([key]));
    assert_eq!(game.get::<DealBook>().counts().repeated, 1);
}

#[test]
fn a_ship_that_docks_lets_go_of_its_controls_and_stays_where_it_is_held() {
    let mut game = in_space(GOOD);
    game.client.insert_resource(PilotIntent { controls: AHEAD, respawn: false });
    game.until("flying", |game| game.world().felt.len() > 20);
    game.world().mood = Mood::Undecided;
    let key = ask(&mut game, Bargain::Dock);
    game.until("asked for", |game| !game.world().asked.is_empty());
    let from = game.world().felt.len() + 10;
    game.until("its controls are applied", |game| game.world().felt.len() > from + 10);
    assert!(game.world().felt[from..].iter().all(|felt| *felt == Controls::default()), "not while it docks");
    game.world().docked = true;
    game.world().done.insert(key);
    game.until("docked", |game| game.get::<DealBook>().counts().done == 1);
    let docked = PurseShown { docked: Some(STATION), ..Default::default() };
    game.world().purse = Some(docked);
    game.until("shown", |game| matches!(game.get::<WorldView>().dock, Dock::Docked { station: STATION, .. }));
    // By then the corrections on the way to the station were blended.
    let from = game.world().felt.len();
    game.until("some ticks at the station", |game| game.world().felt.len() > from + 60);
    let truth = game.world().ship_state().unwrap().position;
    let shown = game.get::<WorldView>().own.as_ref().unwrap().state;
    assert!(shown.position.distance(truth) < 0.5 && shown.velocity == DVec2::ZERO, "{shown:?} {truth}");
    assert!(game.world().felt[from..].iter().all(|felt| *felt == Controls::default()), "not while it is docked");
    game.world().docked = false;
    game.world().purse = Some(PurseShown { docked: None, ..docked });
    game.until("away", |game| game.world().ship_state().unwrap().position.distance(truth) > 20.0);
    assert_eq!(game.get::<PlayStats>().violations(), 0);
}

#[test]
fn another_hull_is_shown_and_flown_by_its_own_rule() {
    let mut game = in_space(GOOD);
    game.world().refit = Some(HullKind::Hauler);
    game.until("shown", |game| {
        game.get::<WorldView>().own.as_ref().is_some_and(|own| own.hull_kind == HullKind::Hauler)
    });
    let own = game.get::<WorldView>().own.clone().unwrap();
    assert_eq!(own.radius as f32, HullKind::Hauler.spec().radius as f32);
    game.client.insert_resource(PilotIntent { controls: AHEAD, respawn: false });
    let from = game.world().felt.len();
    game.until("up to speed", |game| game.world().felt.len() > from + 30);
    let before = game.get::<PlayStats>().corrections;
    game.until("on the way", |game| game.world().felt.len() > from + 120);
    assert!(game.get::<PlayStats>().corrections <= before + 2, "{:?}", game.get::<PlayStats>());
}

#[test]
fn what_is_in_a_crate_is_shown_and_follows() {
    let mut game = in_space(GOOD);
    let ore = |game: &Game| game.get::<WorldView>().others.get(&CRATE).and_then(|found| found.ore);
    game.until("in sight", |game| ore(game) == Some(12));
    game.world().lode = Some(4);
    game.until("told", |game| ore(game) == Some(4));
}

#[test]
fn an_offer_waits_for_an_answer_and_is_answered_under_its_key() {
    let mut game = in_space(GOOD);
    let key = DealKey::random();
    let (key_high, key_low) = key.0.as_u64_pair();
    let news = |stage: u8, text: &str| TradeNews {
        key_high,
        key_low,
        stage,
        partner: "Ada".to_owned(),
        get_ore: 4,
        get_credits: 0,
        give_ore: 0,
        give_credits: 9,
        text: text.to_owned(),
    };
    game.world().news = Some(news(0, ""));
    game.until("offered", |game| !game.get::<WorldView>().trades.is_empty());
    let offer = game.get::<WorldView>().trades[0].clone();
    assert_eq!((offer.key, offer.partner.as_str()), (key, "Ada"));
    assert_eq!((offer.get, offer.give), (Goods { ore: 4, credits: 0 }, Goods { ore: 0, credits: 9 }));
    game.client.world_mut().resource_mut::<DealBook>().answer_offer(key, true).unwrap();
    game.until("taken up", |game| game.get::<DealBook>().counts().done == 1);
    assert_eq!(game.world().asked, [(key, Bargain::Accept)]);
    assert!(game.get::<WorldView>().trades.is_empty());
    // An expired offer is removed, with a notice.
    game.world().news = Some(news(0, ""));
    game.until("offered", |game| !game.get::<WorldView>().trades.is_empty());
    game.world().news = Some(news(2, "the offer has run out"));
    game.until("over", |game| game.get::<WorldView>().trades.is_empty());
    assert!(game.get::<WorldView>().notices.back().unwrap().text.contains("run out"));
}
