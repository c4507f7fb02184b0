//! What a player may send in a time.

use super::Inner;
use crate::limits::Limits;
use crate::limits::rate::Bucket;
use crate::session::hub::Inbound;

/// The rates of a player. Other peers have none.
pub(super) struct PlayerRates {
    naia: Bucket,
    lane: Bucket,
    frames: Bucket,
    excess: Bucket,
}

impl PlayerRates {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            naia: Bucket::new(limits.player_naia_packets),
            lane: Bucket::new(limits.player_lane_datagrams),
            frames: Bucket::new(limits.player_frames),
            excess: Bucket::new(limits.player_excess),
        }
    }

    fn of(&mut self, way: Inbound) -> &mut Bucket {
        match way {
            Inbound::Naia => &mut self.naia,
            Inbound::Lane => &mut self.lane,
            Inbound::Stream | Inbound::Closed => &mut self.frames,
        }
    }
}

/// Whether received data may be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Read,
    /// Over its rate.
    Drop,
    /// Far over its rate.
    Flood,
}

impl Inner {
    pub(super) fn admission(&mut self, way: Inbound, now_ms: u64) -> Admission {
        let Some(rates) = &mut self.rates else { return Admission::Read };
        if rates.of(way).take(now_ms) {
            Admission::Read
        } else if rates.excess.take(now_ms) {
            Admission::Drop
        } else {
            Admission::Flood
        }
    }
}
