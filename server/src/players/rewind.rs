//! How far back a player's beams may be judged: as far as the measured link makes the player see the others late.
//!
//! A pilot tells with a beam at which moment it saw the others, and the shard puts them back to where they were then
//! (`beams` in the shard). What the pilot tells is not to be trusted with more than its link explains, so the server
//! measures the link and tells the shard the bound, with the inputs and in the ship's record.

use crate::{clock::Clock, players::session::Players, traffic::link::Link};
use bevy::prelude::{Res, ResMut};
use naia_bevy_server::Server;
use sidereal_protocol::{
    shot::MAX_REWIND_TICKS,
    tick::{TICK_DURATION, TICK_HZ},
};
use std::{net::SocketAddr, time::Duration};

/// What an honest client on a link without any length is late by, ticks, from the moment that it draws to the tick that
/// its beam is judged in: the update waits for the server's tick (1), is drawn two late (the client's
/// `MIN_DELAY_TICKS`), the client's clock and its frames lead by up to two, and the input waits for its tick (2).
const PIPELINE_TICKS: f64 = 7.0;

/// How much of the jitter is allowed for, ticks, however uneven the answers come: a client that holds some of them back
/// gets no more than this by it.
const MAX_JITTER_TICKS: f64 = 2.0;

/// The bound for a link, quarters of a tick, as [`Pilot::rewind`](sidereal_protocol::record::Pilot::rewind) tells it:
/// what all are late by, the way there and back, and what single answers were later than most. At most
/// [`MAX_REWIND_TICKS`].
pub fn allowed(round_trip: Duration, jitter: Duration) -> u8 {
    let ticks = |time: Duration| time.as_secs_f64() / TICK_DURATION.as_secs_f64();
    let late = PIPELINE_TICKS + ticks(round_trip) + ticks(jitter).min(MAX_JITTER_TICKS);
    (late.min(MAX_REWIND_TICKS) * 4.0).round() as u8
}

/// The bound for a player's link as it is now.
pub fn measured(link: &Link, naia: &Server, address: &SocketAddr) -> Option<u8> {
    let user = link.user_key(address)?;
    let ms = |ms: f32| Duration::try_from_secs_f32(ms / 1e3).unwrap_or_default();
    // Not its `connection_stats`: it panics unless naia counts bandwidth as well.
    let (pinged, jitter) = (ms(naia.rtt(&user)?), ms(naia.jitter(&user)?));
    // QUIC's own measure where there is one: the page has no hand in it.
    let round_trip = link.transport.round_trip(address).map_or(pinged, |measured| measured.min(pinged));
    Some(allowed(round_trip, jitter))
}

/// Measures once a second how long the way to each player is; shards are told with the next inputs.
pub fn measure_links(clock: Res<Clock>, link: Res<Link>, naia: Server, mut players: ResMut<Players>) {
    if !clock.tick.0.is_multiple_of(u64::from(TICK_HZ)) {
        return;
    }
    for (address, player) in &mut players.by_address {
        if let Some(rewind) = measured(&link, &naia, address) {
            player.rewind = rewind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_with_the_link_up_to_the_bound_of_all() {
        let at =
            |round_trip_ms, jitter_ms| allowed(Duration::from_millis(round_trip_ms), Duration::from_millis(jitter_ms));
        assert_eq!((at(0, 0), at(8, 0)), (28, 29), "quarters of a tick");
        assert!(at(8, 0) < at(150, 0));
        assert_eq!(at(8, 9), 30);
        for far in [(17, 0), (150, 0), (0, 20), (60_000, 60_000)] {
            assert_eq!(f64::from(at(far.0, far.1)), MAX_REWIND_TICKS * 4.0);
        }
    }
}
