//! Packets that no honest client sends.

use crate::{audit::tally::Tally, players::session::Players, traffic::link::Link};
use sidereal_process::log_limited;
use sidereal_protocol::DecodeError;
use std::net::SocketAddr;

/// Number of rejected packets after which a session is closed.
const MAX_VIOLATIONS: u32 = 100;

/// Counts a rejected packet. A session that sends too many is closed.
pub(super) fn refuse_packet(
    players: &mut Players,
    link: &Link,
    tally: &mut Tally,
    address: SocketAddr,
    problem: &DecodeError,
) {
    tally.bad_packets += 1;
    let Some(player) = players.by_address.get_mut(&address) else { return };
    player.violations += 1;
    if player.violations == 1 || player.violations == MAX_VIOLATIONS {
        log_limited!(warn, name = %player.name, %problem, count = player.violations, "packet refused");
    }
    if player.violations == MAX_VIOLATIONS {
        link.transport.close(&address, "too many malformed packets");
    }
}
