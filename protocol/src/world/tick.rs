//! Simulation time: one count of ticks for the whole world.

use serde::{Deserialize, Serialize};
use std::{fmt, ops::Add, time::Duration};

/// Ticks per second of the simulation and of naia.
pub const TICK_HZ: u32 = 30;

/// Length of a tick, seconds.
pub const TICK_SECONDS: f64 = 1.0 / TICK_HZ as f64;

/// Length of a tick. Whole milliseconds, because naia counts in them: 33 ms are 30.3 Hz of wall
/// time; the simulation's step is [`TICK_SECONDS`].
pub const TICK_DURATION: Duration = Duration::from_millis(33);

/// A tick of the world, counted from its creation. After a restart it continues where it stopped. It does not wrap (in
/// 10^10 years).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct SimTick(pub u64);

impl SimTick {
    /// Ticks from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: SimTick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for SimTick {
    type Output = SimTick;

    fn add(self, ticks: u64) -> SimTick {
        SimTick(self.0.saturating_add(ticks))
    }
}

impl fmt::Display for SimTick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// Follows naia's wrapping 16-bit tick with a [`SimTick`]. The only place that converts.
///
/// ```
/// use sidereal_protocol::world::tick::{SimTick, TickSync};
/// let mut sync = TickSync::new(65_534, SimTick(1_000_000));
/// assert_eq!(sync.sim_tick(65_535), SimTick(1_000_001));
/// assert_eq!(sync.sim_tick(1), SimTick(1_000_003));
/// assert_eq!(sync.sim_tick(0), SimTick(1_000_002));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickSync {
    naia: u16,
    sim: SimTick,
}

impl TickSync {
    /// A sync at the moment when naia's tick `naia` is the world's tick `sim`.
    pub fn new(naia: u16, sim: SimTick) -> Self {
        Self { naia, sim }
    }

    /// The world's tick for naia's tick `naia`: the one nearest to the result of the last call. It must be called at
    /// least every 18 minutes (half of naia's range). A tick before the world's first counts as the first.
    pub fn sim_tick(&mut self, naia: u16) -> SimTick {
        let step = naia.wrapping_sub(self.naia) as i16;
        let sim = SimTick(self.sim.0.saturating_add_signed(i64::from(step)));
        // A step that was cut off at the world's first tick does not move the pair: every later tick would be wrong by
        // that amount.
        if self.sim.0.checked_add_signed(i64::from(step)).is_some() {
            *self = Self { naia, sim };
        }
        sim
    }
}
