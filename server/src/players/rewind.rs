//! Limits the rewind of a player's beams: by how late the player's measured link makes other ships appear.
//!
//! A pilot's beam contains the moment at which the pilot saw the others, and the shard rewinds them to it (`beams` in
//! the shard). The client's value must not exceed what its link explains, so the server measures the link and sends
//! the shard the limit, with the inputs and in the ship's record.

use crate::{clock::Clock, players::session::Players, traffic::link::Link};
use bevy::prelude::{Res, ResMut};
use naia_bevy_server::Server;
use sidereal_protocol::{
    rules::shot::MAX_REWIND_TICKS,
    world::tick::{TICK_DURATION, TICK_HZ},
};
use std::{net::SocketAddr, time::Duration};

/// Delay of an honest client on a link without latency, ticks, from the state that it draws to the tick in which its
/// beam is applied: the update waits for the server's tick (1), is drawn two late (the client's `MIN_DELAY_TICKS`),
/// the client's clock and its frames lead by up to two, and the input waits for its tick (2).
const PIPELINE_TICKS: f64 = 7.0;

/// Maximum allowance for jitter, ticks: a client that delays some of its answers gains no more than this.
const MAX_JITTER_TICKS: f64 = 2.0;

/// The limit for a link, quarters of a tick, as in [`Pilot::rewind`](sidereal_protocol::record::Pilot::rewind): the
/// common delay, the round trip, and the jitter of single answers. At most [`MAX_REWIND_TICKS`].
pub fn allowed(round_trip: Duration, jitter: Duration) -> u8 {
    let ticks = |time: Duration| time.as_secs_f64() / TICK_DURATION.as_secs_f64();
    let late = PIPELINE_TICKS + ticks(round_trip) + ticks(jitter).min(MAX_JITTER_TICKS);
    (late.min(MAX_REWIND_TICKS) * 4.0).round() as u8
}

/// The present limit for a player's link.
pub fn measured(link: &Link, naia: &Server, address: &SocketAddr) -> Option<u8> {
    let user = link.user_key(address)?;
    let ms = |ms: f32| Duration::try_from_secs_f32(ms / 1e3).unwrap_or_default();
    // Not its `connection_stats`, which panics unless naia also counts bandwidth.
    let (pinged, jitter) = (ms(naia.rtt(&user)?), ms(naia.jitter(&user)?));
    // QUIC's own measurement if there is one: the page cannot influence it.
    let round_trip = link.transport.round_trip(address).map_or(pinged, |measured| measured.min(pinged));
    Some(allowed(round_trip, jitter))
}

/// Measures each player's link once a second; shards get the limit with the next inputs.
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
