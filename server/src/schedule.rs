//! The order of everything in an update of the server: sets and their order, nothing else. Each capability's plugin
//! adds its systems to them.

use crate::clock::Clock;
use bevy::{
    ecs::schedule::{ExecutorKind, LogLevel, ScheduleBuildSettings, ScheduleLabel},
    prelude::{App, IntoScheduleConfigs, MessageReader, Res, ResMut, Resource, Schedule, SystemSet, Update, World},
};
use naia_bevy_server::{HandleTickEvents, HandleWorldEvents, WorldUpdate, events::TickEvent};
use naia_bevy_shared::{ReceivePackets, SendPackets};

/// The sets of an update, in this order, between naia's own sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SystemSet)]
pub enum ServerSystems {
    /// Starts the stopwatch.
    Begin,
    /// Checks credentials before naia reads its packets, so that an admitted peer connects in the same update.
    Admit,
    /// Handles what has arrived: [`Arrivals`]. Before the peers, because the last frames of a shard that has gone still
    /// count.
    Arrivals,
    /// Handles peers that have connected or gone, right after naia has reported them.
    Peers,
    /// Handles the database's replies.
    Answers,
    /// Once a tick: [`ServerTick`].
    Tick,
    /// After naia has written its packets: sends everything in one burst.
    Flush,
    /// Stops the stopwatch and updates the published status.
    Report,
}

/// The schedule that handles what has arrived on streams and lanes. It runs in every update, and between updates whenever
/// something arrives: an update costs naia a walk over all its users, and neither inputs nor handoffs wait for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ScheduleLabel)]
pub struct Arrivals;

/// The order in [`Arrivals`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SystemSet)]
pub enum ArrivalSystems {
    /// Handles frames: handoffs advance at once.
    Frames,
    /// Delivers the chat texts of these frames.
    Chat,
    /// Handles datagrams: inputs are forwarded at once.
    Datagrams,
}

/// The schedule that runs once a tick. Ambiguous system order is an error in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ScheduleLabel)]
pub struct ServerTick;

/// The order in [`ServerTick`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SystemSet)]
pub enum TickSystems {
    /// The shutdown, before anything new starts.
    End,
    /// Entities that make shards fail leave the world before it is leased again.
    SetAside,
    /// Ends sessions whose program is frozen.
    Silence,
    /// Assigns requested blocks to shards.
    Leases,
    /// Timeouts of handoffs, and new holders for orphans: in the blocks that were just leased.
    Handoffs,
    /// Admits waiting ships, and withdraws ships without a player.
    Ships,
    /// Entities leave the rooms that they moved out of a while ago.
    Rooms,
    /// Renews naia's entities before its counter wraps around them.
    Renewals,
    /// Updates views after all ships and leases of this tick have moved.
    Views,
    /// Sends own states and motion to the views of this tick.
    Publish,
    /// Handles the ledger's results of deals, and deals past their time limits.
    Deals,
    /// Sends changed holdings to shards and players, by deals or otherwise.
    Holdings,
    /// Writes changed fields into naia's components.
    Components,
    /// Passes changes to the store.
    Store,
    /// Frees unused state.
    Forget,
}

/// Whether this update has a new tick.
#[derive(Debug, Default, Resource)]
pub struct NewTick(bool);

impl NewTick {
    /// Whether it has.
    pub fn is_new(&self) -> bool {
        self.0
    }
}

fn advance_clock(mut ticks: MessageReader<TickEvent>, mut clock: ResMut<Clock>, mut new: ResMut<NewTick>) {
    new.0 = false;
    for TickEvent(tick) in ticks.read() {
        clock.advance(*tick);
        new.0 = true;
    }
}

/// The same as a run condition.
pub fn on_new_tick(new: Res<NewTick>) -> bool {
    new.is_new()
}

fn run_arrivals(world: &mut World) {
    world.run_schedule(Arrivals);
}

fn run_tick(world: &mut World) {
    world.run_schedule(ServerTick);
}

/// Configures the order.
pub fn build(app: &mut App) {
    let mut tick = Schedule::new(ServerTick);
    tick.set_executor_kind(ExecutorKind::SingleThreaded)
        .set_build_settings(ScheduleBuildSettings { ambiguity_detection: LogLevel::Error, ..Default::default() })
        .configure_sets(
            (
                TickSystems::End,
                TickSystems::SetAside,
                TickSystems::Silence,
                TickSystems::Leases,
                TickSystems::Handoffs,
                TickSystems::Ships,
                TickSystems::Rooms,
                TickSystems::Renewals,
                TickSystems::Views,
                TickSystems::Publish,
                TickSystems::Deals,
                TickSystems::Holdings,
                TickSystems::Components,
                TickSystems::Store,
                TickSystems::Forget,
            )
                .chain(),
        );
    let mut arrivals = Schedule::new(Arrivals);
    arrivals
        .set_executor_kind(ExecutorKind::SingleThreaded)
        .set_build_settings(ScheduleBuildSettings { ambiguity_detection: LogLevel::Error, ..Default::default() })
        .configure_sets((ArrivalSystems::Frames, ArrivalSystems::Chat, ArrivalSystems::Datagrams).chain());
    app.init_resource::<NewTick>()
        .add_schedule(tick)
        .add_schedule(arrivals)
        .configure_sets(Update, (ServerSystems::Begin, ServerSystems::Admit).chain().before(ReceivePackets))
        .configure_sets(Update, (ServerSystems::Arrivals, ServerSystems::Peers).chain().in_set(HandleWorldEvents))
        .configure_sets(Update, ServerSystems::Answers.after(HandleWorldEvents).before(HandleTickEvents))
        .configure_sets(Update, ServerSystems::Tick.in_set(WorldUpdate).after(HandleTickEvents).run_if(on_new_tick))
        .configure_sets(Update, (ServerSystems::Flush, ServerSystems::Report).chain().after(SendPackets))
        .add_systems(Update, run_arrivals.in_set(ServerSystems::Arrivals))
        .add_systems(Update, advance_clock.in_set(HandleTickEvents))
        .add_systems(Update, run_tick.in_set(ServerSystems::Tick));
}
