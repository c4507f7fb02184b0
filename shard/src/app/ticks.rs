//! Due ticks. The only place that starts a tick.
//!
//! Runs in the shard. The link says which ticks are due; each is simulated once.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    authority::drain::Draining,
    link::mailbox::Inbox,
    schedule::{ShardSystems, SimStep},
};
use bevy::prelude::*;
use sidereal_protocol::world::tick::SimTick;
use std::time::Instant;

/// Missed ticks that are simulated one by one after the clock jumped ahead (the process was held up, or the clock was
/// resynchronised). More are skipped: they would take the time of the next ticks.
pub const MAX_CATCH_UP_TICKS: u64 = 5;

/// The clock and the system that runs due ticks.
pub(crate) struct TicksPlugin;

impl Plugin for TicksPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<SimClock>().add_systems(Update, run_due_ticks.in_set(ShardSystems::Simulate));
    }
}

/// Simulates the ticks that are due.
pub(crate) fn run_due_ticks(world: &mut World) {
    while let Some(due) = world.resource_mut::<Inbox<SimTick>>().pop() {
        if world.contains_resource::<Draining>() {
            continue;
        }
        for tick in ticks_to_run(world, due) {
            let start = Instant::now();
            world.resource_mut::<SimClock>().tick = tick;
            let simulating = suspect::simulating();
            world.run_schedule(SimStep);
            drop(simulating);
            world.resource_mut::<Totals>().tick_took(start.elapsed());
        }
    }
}

/// The ticks up to `due` that must be simulated now.
fn ticks_to_run(world: &mut World, due: SimTick) -> impl Iterator<Item = SimTick> + use<> {
    let mut clock = world.resource_mut::<SimClock>();
    let last = if clock.running { clock.tick } else { SimTick(due.0.saturating_sub(1)) };
    clock.running = true;
    let missed = due.since(last);
    let skipped = missed.saturating_sub(MAX_CATCH_UP_TICKS);
    if skipped > 0 {
        world.resource_mut::<Totals>().ticks_skipped += skipped;
        tracing::warn!(skipped, %due, "the clock ran ahead: ticks were skipped");
    }
    (last.0 + skipped + 1..=due.0).map(SimTick)
}
