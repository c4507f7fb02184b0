//! The order of everything in an update of the server: sets and their order, nothing else. Each capability's plugin puts its
//! systems into them.

use crate::clock::Clock;
use bevy::{
    ecs::schedule::{ExecutorKind, LogLevel, ScheduleBuildSettings, ScheduleLabel},
    prelude::{App, IntoScheduleConfigs, MessageReader, Res, ResMut, Resource, Schedule, SystemSet, Update, World},
};
use naia_bevy_server::{HandleTickEvents, HandleWorldEvents, WorldUpdate, events::TickEvent};
use naia_bevy_shared::{ReceivePackets, SendPackets};

/// What runs in an update, in this order, between naia's own sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SystemSet)]
pub enum ServerSystems {
    /// The stopwatch starts.
    Begin,
    /// Credentials are judged before naia reads its packets, so that who is admitted comes in at once.
    Admit,
    /// Frames first, since the last ones of a shard that has gone still count: handoffs take their next step as they
    /// come.
    Frames,
    /// What was said in the frames goes to those who hear it.
    Chat,
    /// Who has come and gone: naia has just told.
    Peers,
    /// The database's answers, as they come.
    Answers,
    /// Datagrams, as they come: inputs go on at once.
    Datagrams,
    /// Once a tick: [`ServerTick`].
    Tick,
    /// After naia has written its packets: everything leaves in one burst.
    Flush,
    /// The stopwatch ends, and what is shown outside is brought up to date.
    Report,
}

/// What runs once a tick. Two systems whose order is left open are an error here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ScheduleLabel)]
pub struct ServerTick;

/// The order in [`ServerTick`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SystemSet)]
pub enum TickSystems {
    /// The orderly end, before anything new begins.
    End,
    /// What shards fail at leaves the world before it is leased again.
    SetAside,
    /// Sessions whose program stands still.
    Silence,
    /// Wanted blocks find shards.
    Leases,
    /// Timeouts of handoffs, and new homes: in the blocks that were just leased.
    Handoffs,
    /// Waiting ships come in, ships without a player go out.
    Ships,
    /// Entities leave the rooms that they have left a while ago.
    Rooms,
    /// naia's entities are renewed before naia loses count of them.
    Renewals,
    /// Views follow ships and leases: all of this tick's have moved.
    Views,
    /// Own states and motion leave, to the views as they are now.
    Publish,
    /// Deals that the database has decided, and those that wait too long.
    Deals,
    /// Shards and players are told what has changed hands, by deals or otherwise.
    Holdings,
    /// Changed fields go into naia's components.
    Components,
    /// What changed goes to the store.
    Store,
    /// What is over is forgotten.
    Forget,
}

/// Whether this update has a new tick.
#[derive(Debug, Default, Resource)]
pub struct NewTick(bool);

fn advance_clock(mut ticks: MessageReader<TickEvent>, mut clock: ResMut<Clock>, mut new: ResMut<NewTick>) {
    new.0 = false;
    for TickEvent(tick) in ticks.read() {
        clock.advance(*tick);
        new.0 = true;
    }
}

/// Whether this update has a new tick, as a condition.
pub fn on_new_tick(new: Res<NewTick>) -> bool {
    new.0
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
    app.init_resource::<NewTick>()
        .add_schedule(tick)
        .configure_sets(Update, (ServerSystems::Begin, ServerSystems::Admit).chain().before(ReceivePackets))
        .configure_sets(
            Update,
            (ServerSystems::Frames, ServerSystems::Chat, ServerSystems::Peers).chain().in_set(HandleWorldEvents),
        )
        .configure_sets(
            Update,
            (ServerSystems::Answers, ServerSystems::Datagrams)
                .chain()
                .after(HandleWorldEvents)
                .before(HandleTickEvents),
        )
        .configure_sets(Update, ServerSystems::Tick.in_set(WorldUpdate).after(HandleTickEvents).run_if(on_new_tick))
        .configure_sets(Update, (ServerSystems::Flush, ServerSystems::Report).chain().after(SendPackets))
        .add_systems(Update, advance_clock.in_set(HandleTickEvents))
        .add_systems(Update, run_tick.in_set(ServerSystems::Tick));
}
