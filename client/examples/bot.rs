//! A bot: it logs in, flies to whatever is nearest, and shoots when it points at it.
//!
//! `./run-local --headless` in one terminal, then `cargo run -p sidereal-client --no-default-features --example bot`.

use sidereal_client::{
    account::AccountApi, flight::controls::PilotIntent, run::Pace, session::player::Player, view::WorldView,
};
use sidereal_protocol::rules::flight::{Controls, wrap_angle};
use sidereal_transport::ClientNetwork;
use std::sync::Arc;

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7779".to_owned());
    let api = AccountApi::new(&address)?;
    // The account is made the first time.
    let login = api.enter("example-bot", "correct horse battery", true)?;
    let mut player = Player::new(Arc::new(ClientNetwork::new()?), api, login, None, 0);
    let mut pace = Pace::new(60.0);
    while player.now_s() < 20.0 && !player.state().is_over() {
        let controls = decide(player.resource::<WorldView>());
        player.app_mut().insert_resource(PilotIntent { controls, respawn: true });
        player.update(pace.wait());
    }
    let (view, stats) = (player.resource::<WorldView>(), player.stats());
    println!("{:?} in sector {}, {} others in sight", player.state(), view.sector, view.others.len());
    println!("flew {:.0} units, fired {} shots", stats.distance_flown, stats.shots_fired);
    player.close();
    player.update(0.0);
    sidereal_client::run::wait_for_close(&[player.handle()]);
    Ok(())
}

fn decide(view: &WorldView) -> Controls {
    let Some(own) = &view.own else { return Controls::default() };
    let away = |other: &sidereal_client::view::Other| other.state.position.distance(own.state.position);
    let Some(nearest) = view.others.values().min_by(|one, other| away(one).total_cmp(&away(other))) else {
        return Controls { thrust: 127, ..Controls::default() };
    };
    let towards = nearest.state.position - own.state.position;
    let error = wrap_angle(towards.to_angle() - own.state.angle);
    let is_close = away(nearest) < 150.0;
    let fire = if is_close && error.abs() < 0.1 { Controls::FIRE } else { 0 };
    Controls { thrust: if is_close { 0 } else { 100 }, turn: (error * 100.0).clamp(-127.0, 127.0) as i8, buttons: fire }
}
