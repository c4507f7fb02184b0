//! The order of everything in an update of the server, in one place.

use crate::{
    announced::{despawn_leaving, mark_seen},
    aside::tend_aside,
    clock::Clock,
    deals::tend_deals,
    forgetting::forget_what_is_over,
    goods::{sync_lodes, tell_goods},
    granting::assign_leases,
    interest::{follow_ships, publish_motion},
    link::{end_silent_sessions, flush, judge_credentials, track_peers},
    mirror::{leave_rooms, sync_vitals},
    persist::{hand_over_changes, take_answers},
    players::tend_ships,
    renewal::renew_entities,
    report::{show_status, start_stopwatch},
    shards::{handle_frames, handle_lane},
    shutdown::tend_shutdown,
    transfers::tend_transfers,
};
use bevy::prelude::{App, IntoScheduleConfigs, MessageReader, Res, ResMut, Resource, SystemSet, Update};
use naia_bevy_server::{HandleTickEvents, HandleWorldEvents, WorldUpdate, events::TickEvent};
use naia_bevy_shared::{ReceivePackets, SendPackets};

/// What runs in an update, in this order, between naia's own sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SystemSet)]
pub enum ServerSystems {
    /// Credentials are judged before naia reads its packets, so that who is admitted comes in at once.
    Admit,
    /// Frames first, since the last ones of a shard that has gone still count: handoffs take their next step as they
    /// come. Then who has come and gone: naia has just told.
    Peers,
    /// Datagrams and the database's answers, as they come: inputs go on at once.
    Intake,
    /// Once a tick: leases, transfers, ships, interest, motion, deals, persistence.
    Tick,
    /// After naia has written its packets: everything leaves in one burst.
    Flush,
}

/// Whether this update has a new tick.
#[derive(Debug, Default, Resource)]
pub struct NewTick(bool);

fn advance_clock(
    mut ticks: MessageReader<'_, '_, TickEvent>,
    mut clock: ResMut<'_, Clock>,
    mut new: ResMut<'_, NewTick>,
) {
    new.0 = false;
    for TickEvent(tick) in ticks.read() {
        clock.advance(*tick);
        new.0 = true;
    }
}

fn on_new_tick(new: Res<'_, NewTick>) -> bool {
    new.0
}

/// Registers all systems of the server.
pub fn build(app: &mut App) {
    app.init_resource::<NewTick>()
        .configure_sets(Update, ServerSystems::Admit.before(ReceivePackets))
        .configure_sets(Update, ServerSystems::Peers.in_set(HandleWorldEvents))
        .configure_sets(Update, ServerSystems::Intake.after(HandleWorldEvents).before(HandleTickEvents))
        .configure_sets(Update, ServerSystems::Tick.in_set(WorldUpdate).after(HandleTickEvents).run_if(on_new_tick))
        .configure_sets(Update, ServerSystems::Flush.after(SendPackets))
        .add_systems(Update, (start_stopwatch, despawn_leaving, judge_credentials).chain().in_set(ServerSystems::Admit))
        .add_systems(Update, (handle_frames, track_peers).chain().in_set(ServerSystems::Peers))
        .add_systems(Update, (take_answers, handle_lane).chain().in_set(ServerSystems::Intake))
        .add_systems(Update, advance_clock.in_set(HandleTickEvents))
        .add_systems(
            Update,
            (
                tend_shutdown,
                tend_aside,
                end_silent_sessions,
                assign_leases,
                tend_transfers,
                tend_ships,
                leave_rooms,
                renew_entities,
                follow_ships,
                publish_motion,
                tend_deals,
                tell_goods,
                sync_vitals,
                sync_lodes,
                hand_over_changes,
                forget_what_is_over,
            )
                .chain()
                .in_set(ServerSystems::Tick),
        )
        .add_systems(Update, (mark_seen, flush, show_status.run_if(on_new_tick)).chain().in_set(ServerSystems::Flush));
}
