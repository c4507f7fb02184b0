//! Chat of the whole client library, against a world with one player over the in-memory network.

#![allow(clippy::unwrap_used)]

mod fake_world;

use fake_world::{Game, TICKET};
use sidereal_client::{chat::ChatBook, session::SessionState};
use sidereal_protocol::frames::chat::Scope;
use sidereal_transport::network::memory::LinkConditions;

const BAD: LinkConditions =
    LinkConditions { latency_ms: 60, jitter_ms: 50, loss: 0.08, duplication: 0.03, reordering: 0.1 };

fn say(game: &mut Game, scope: Scope, text: &str) {
    game.client.world_mut().resource_mut::<ChatBook>().write(scope, text);
}

fn heard(game: &Game) -> Vec<String> {
    game.get::<ChatBook>().lines().iter().map(|line| line.text.clone()).collect()
}

#[test]
fn what_is_said_arrives_once_and_in_order_over_a_bad_link_and_outlives_the_session() {
    let mut game = Game::new(BAD, TICKET);
    say(&mut game, Scope::World, "  before there was a session ");
    game.until("in space", |game| *game.get::<SessionState>() == SessionState::InSpace);
    game.until("the first is sent back", |game| heard(game).len() == 1);
    for text in ["one", "two", "/mute nobody", "three"] {
        say(&mut game, Scope::Sector, text);
    }
    let said = ["before there was a session", "one", "two", "three"];
    game.until("all are sent back", |game| heard(game).len() == said.len() + 1);
    assert_eq!(game.world().said, said);
    let lines = game.get::<ChatBook>().lines().clone();
    assert_eq!(lines[0].scope, Some(Scope::World));
    let (own, notes): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.own);
    assert_eq!((own.len(), notes.len()), (4, 1));
    game.reconnect();
    say(&mut game, Scope::Sector, "back again");
    game.until("said in the next session", |game| game.world().said.len() == 5);
    game.until("sent back", |game| heard(game).len() == 6);
    assert!(game.get::<ChatBook>().is_muted("Nobody"), "muted players outlive it, too");
}
