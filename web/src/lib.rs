//! The browser client: the functions that the page calls.
//!
//! Runs in the page, as WebAssembly. The page (`page/`) logs in and passes the server's answer on; the game is
//! `sidereal-client`, the same as in the native window. On other targets this crate is empty.

#![cfg(target_family = "wasm")]

mod console;

use serde_json::json;
use sidereal_client::{
    account::AccountApi,
    chat::ChatBook,
    flight::inputs::InputCounts,
    session::{player::Player, reconnect::Patience},
    view::{Dock, WorldView},
    window::web::{Cockpit, open},
};
use sidereal_protocol::record::EntityKind;
use sidereal_transport::ClientNetwork;
use std::{cell::RefCell, sync::Arc};
use wasm_bindgen::prelude::*;

thread_local! {
    static COCKPIT: RefCell<Option<Cockpit>> = const { RefCell::new(None) };
}

/// Starts the game: connects with `answer`, the body of the server's answer to a login, and draws into the canvas that
/// the CSS selector `canvas` names. `origin` is the page's, for tickets to reconnect with. `seed` makes this player's
/// reconnect delays differ from others'. Called once in a page's life.
///
/// # Errors
/// When the answer is not a valid one, or the page has no such canvas. Later failures are reported by the event
/// `sidereal-state`.
#[wasm_bindgen]
pub fn fly(answer: &str, origin: &str, canvas: &str, seed: f64) -> Result<(), JsError> {
    console::start_log();
    let api = AccountApi::new(origin);
    let login = api.read_ticket(answer).map_err(|error| JsError::new(&error.to_string()))?;
    let network = ClientNetwork::new().map_err(|error| JsError::new(&error.to_string()))?;
    let player = Player::new(Arc::new(network), api, login, Some(Patience::default()), seed.to_bits());
    let cockpit = open(player, canvas).map_err(|error| JsError::new(&error))?;
    COCKPIT.with(|place| place.replace(Some(cockpit)));
    Ok(())
}

/// The player's view and the state of the link, as JSON; empty before [`fly`].
#[wasm_bindgen]
pub fn look() -> String {
    COCKPIT.with(|cockpit| cockpit.borrow().as_ref()?.look(describe)).unwrap_or_default()
}

fn describe(player: &Player, view: &WorldView) -> String {
    let own = view.own.as_ref().map(|own| {
        json!({
            "id": own.id.to_string(),
            "name": &*own.name,
            "x": own.state.position.x, "y": own.state.position.y,
            "speed": own.state.velocity.length(), "angle": own.state.angle,
            "hull": own.hull, "hull_max": own.hull_max,
        })
    });
    let docked = match &view.dock {
        Dock::Docked { name, .. } => Some(&**name),
        _ => None,
    };
    let stations = view.others.values().filter(|other| other.kind == EntityKind::Station);
    let stations: Vec<_> = stations
        .map(|station| json!({ "name": &*station.name, "x": station.state.position.x, "y": station.state.position.y }))
        .collect();
    let players = view.others.values().filter(|other| other.is_player());
    let players: Vec<_> = players
        .map(|other| {
            json!({
                "name": &*other.name,
                "x": other.state.position.x, "y": other.state.position.y,
                "speed": other.state.velocity.length(), "angle": other.state.angle,
            })
        })
        .collect();
    let chat = player.resource::<ChatBook>().lines().iter().map(|line| json!([&line.speaker, &line.text]));
    let stats = player.stats();
    let (InputCounts { sent, applied, lost, doubled, .. }, waiting) = player.inputs();
    json!({
        "state": format!("{:?}", player.state()),
        "seconds": player.now_s(),
        "own": own,
        "sector": view.sector.to_string(),
        "sectors_visited": stats.sectors.len(),
        "others": view.others.len(),
        "players_near": view.players_near,
        "shots": view.shots.len(),
        // Those that the shard has confirmed.
        "own_shots": view.shots.iter().filter(|shot| shot.own && !shot.predicted).count(),
        "players": players,
        "stations": stations,
        "docked": docked,
        "in_reach": matches!(view.dock, Dock::InReach { .. }),
        "credits": view.purse.map(|purse| purse.credits),
        "notices": view.notices.iter().map(|notice| &notice.text).collect::<Vec<_>>(),
        "chat": chat.collect::<Vec<_>>(),
        "inputs": { "sent": sent, "applied": applied, "lost": lost, "doubled": doubled, "waiting": waiting },
        "corrections_per_min": stats.corrections_per_min(),
        "jumps": stats.jumps, "teleports": stats.teleports, "violations": stats.violations(),
        "ping_ms": view.link.ping_ms,
        "sessions_lost": player.losses(), "returns": player.returns(),
    })
    .to_string()
}
