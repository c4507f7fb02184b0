//! The order of everything on a shard, in one place.
//!
//! Runs in the shard. Once an update, [`ShardSystems`]: what came in, what it asks for, the ticks that
//! are due, what goes out. Once a tick of the world, [`SimStep`] with [`SimSystems`]. avian runs in a
//! schedule of its own inside [`SimSystems::Physics`]. Two systems of a tick whose order is left open
//! are an error.

use crate::{
    beams, borders, census, clock, contacts, control, crates, damage, docking, drones, flight, ghosts, handoff, inputs,
    mining, missiles, past, physics, publish, spawner, weapons,
};
use bevy::{
    ecs::schedule::{ExecutorKind, LogLevel, ScheduleBuildSettings, ScheduleLabel},
    prelude::*,
};

/// One tick of the world.
#[derive(ScheduleLabel, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SimStep;

/// What happens in an update, in order.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShardSystems {
    /// What the link brought is put into the inboxes. Empty without a link.
    Receive,
    /// Control frames are handled in every update, not only at ticks: a handoff waits for them.
    Control,
    /// The ticks that are due are simulated.
    Simulate,
    /// The outboxes are handed to the link. Empty without a link.
    Send,
}

/// What happens in a tick, in order.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimSystems {
    /// Ghosts follow the newest that is known of them: minds look at them, bodies meet them.
    Ghosts,
    /// Inputs that are due, then drones' and missiles' minds: all end as controls at the helm.
    Helm,
    /// Controls become the tick's planned motion.
    Flight,
    /// avian steps; what nothing touched keeps its planned motion exactly. Then where everybody is now is
    /// known, and is noted for those who see it late.
    Physics,
    /// Shots and missiles are launched and judged where the bodies are now, beams where they were. Ore is asked for.
    Weapons,
    /// What was hit pays for it.
    Damage,
    /// Crates that are empty or old end. What was destroyed some time ago is replaced.
    Spawning,
    /// Entities change their logical sector, or ask to leave.
    Borders,
    /// The tick is told: motion, own states, records, census.
    Publish,
}

/// Puts every system of the simulation in its place.
pub(crate) fn configure(app: &mut App) {
    app.init_schedule(SimStep);
    app.edit_schedule(SimStep, |schedule| {
        schedule
            .set_executor_kind(ExecutorKind::SingleThreaded)
            .set_build_settings(ScheduleBuildSettings { ambiguity_detection: LogLevel::Error, ..default() });
    });
    app.edit_schedule(Update, |schedule| {
        schedule.set_executor_kind(ExecutorKind::SingleThreaded);
    });
    app.configure_sets(
        Update,
        (ShardSystems::Receive, ShardSystems::Control, ShardSystems::Simulate, ShardSystems::Send).chain(),
    );
    app.configure_sets(
        SimStep,
        (
            SimSystems::Ghosts,
            SimSystems::Helm,
            SimSystems::Flight,
            SimSystems::Physics,
            SimSystems::Weapons,
            SimSystems::Damage,
            SimSystems::Spawning,
            SimSystems::Borders,
            SimSystems::Publish,
        )
            .chain(),
    );
    app.add_systems(
        Update,
        (
            (ghosts::hear_news, control::handle_frames).chain().in_set(ShardSystems::Control),
            clock::run_due_ticks.in_set(ShardSystems::Simulate),
        ),
    );
    #[cfg(feature = "planted-faults")]
    app.add_systems(SimStep, crate::suspect::planted::take_poison.after(SimSystems::Helm).before(SimSystems::Flight));
    app.add_systems(
        SimStep,
        (
            ghosts::follow_ghosts.in_set(SimSystems::Ghosts),
            (inputs::apply_inputs, drones::fly_drones, missiles::steer_missiles).chain().in_set(SimSystems::Helm),
            flight::plan_motion.in_set(SimSystems::Flight),
            (
                physics::write_bodies,
                physics::step_physics,
                physics::read_bodies,
                contacts::feel_contacts,
                past::remember,
            )
                .chain()
                .in_set(SimSystems::Physics),
            (
                weapons::fire_weapons,
                missiles::launch_missiles,
                beams::fire_beams,
                weapons::judge_shots,
                missiles::judge_missiles,
                mining::mine_rocks,
                crates::scoop_crates,
            )
                .chain()
                .in_set(SimSystems::Weapons),
            damage::apply_impacts.in_set(SimSystems::Damage),
            (crates::end_crates, spawner::replace_the_lost).chain().in_set(SimSystems::Spawning),
            (borders::cross_borders, handoff::watch_the_time, docking::watch_withdrawals)
                .chain()
                .in_set(SimSystems::Borders),
            (
                publish::publish_motion,
                publish::publish_own_states,
                publish::publish_adoptions,
                publish::publish_records,
                census::take_census,
            )
                .chain()
                .in_set(SimSystems::Publish),
        ),
    );
}
