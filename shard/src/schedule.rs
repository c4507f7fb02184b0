//! The order of everything on a shard, in one place.
//!
//! Runs in the shard. Once an update, [`ShardSystems`]: what came in, what it asks for, the ticks that
//! are due, what goes out. Once a tick of the world, [`SimStep`] with [`SimSystems`]. avian runs in a
//! schedule of its own inside [`SimSystems::Physics`]. Two systems of a tick whose order is left open
//! are an error.
//!
//! No system stands here: each capability's plugin puts its own into these sets.

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

/// Order within [`ShardSystems::Control`].
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlSystems {
    /// What naia says of ghosts: frames may ask for them.
    Ghosts,
    /// Frames of the control stream.
    Frames,
}

/// Order within [`SimSystems::Helm`]: one helm, and whose it is is decided by what the body is.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HelmSystems {
    /// Inputs of pilots. What has no pilot has its helm cleared.
    Pilots,
    /// Drones decide.
    Drones,
    /// Missiles are steered.
    Missiles,
}

/// Order within [`SimSystems::Physics`].
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PhysicsSystems {
    /// avian's step, and what it made of the plans.
    Step,
    /// What the contacts of that step cost.
    Contacts,
    /// Where own bodies are now is noted, after everything has moved.
    Past,
}

/// Order within [`SimSystems::Weapons`]: what is launched in a tick is there before anything is judged in it.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeaponSystems {
    /// Bullets leave.
    Fire,
    /// Missiles leave.
    Launch,
    /// Beams are fired and judged.
    Beams,
    /// Paths of bullets are judged.
    JudgeShots,
    /// Ways of missiles are judged.
    JudgeMissiles,
    /// Tractor beams pull.
    Tractor,
    /// Bites are taken out of rocks.
    Mine,
    /// Crates are taken in. A hold that has just asked for ore of a rock asks for no more.
    Scoop,
}

/// Order within [`SimSystems::Spawning`].
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpawnSystems {
    /// What is over ends, and leaves its place.
    End,
    /// What was lost is replaced.
    Replace,
}

/// Order within [`SimSystems::Borders`].
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BorderSystems {
    /// Sectors are entered and left.
    Cross,
    /// Handoffs without an answer are asked for again.
    Handoffs,
    /// Ships that waited for a deal for too long are given back.
    Withdrawals,
}

/// Order within [`SimSystems::Publish`]: the order of the frames on the control stream.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishSystems {
    /// Motion, for everybody.
    Motion,
    /// Exact states, for each pilot its own.
    OwnStates,
    /// Entities that had their first tick here.
    Adoptions,
    /// Records that changed.
    Records,
    /// The census, of all that was sent before.
    Census,
}

/// The sets, their order, and the rule that ambiguity is an error.
pub(crate) struct SchedulePlugin;

impl Plugin for SchedulePlugin {
    fn build(&self, app: &mut App) {
        configure_schedules(app);
        configure_update(app);
        configure_tick(app);
    }
}

fn configure_schedules(app: &mut App) {
    app.init_schedule(SimStep);
    app.edit_schedule(SimStep, |schedule| {
        schedule
            .set_executor_kind(ExecutorKind::SingleThreaded)
            .set_build_settings(ScheduleBuildSettings { ambiguity_detection: LogLevel::Error, ..default() });
    });
    app.edit_schedule(Update, |schedule| {
        schedule.set_executor_kind(ExecutorKind::SingleThreaded);
    });
}

fn configure_update(app: &mut App) {
    app.configure_sets(
        Update,
        (
            (ShardSystems::Receive, ShardSystems::Control, ShardSystems::Simulate, ShardSystems::Send).chain(),
            (ControlSystems::Ghosts, ControlSystems::Frames).chain().in_set(ShardSystems::Control),
        ),
    );
}

fn configure_tick(app: &mut App) {
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
    app.configure_sets(
        SimStep,
        (
            (HelmSystems::Pilots, HelmSystems::Drones, HelmSystems::Missiles).chain().in_set(SimSystems::Helm),
            (PhysicsSystems::Step, PhysicsSystems::Contacts, PhysicsSystems::Past).chain().in_set(SimSystems::Physics),
            (
                WeaponSystems::Fire,
                WeaponSystems::Launch,
                WeaponSystems::Beams,
                WeaponSystems::JudgeShots,
                WeaponSystems::JudgeMissiles,
                WeaponSystems::Tractor,
                WeaponSystems::Mine,
                WeaponSystems::Scoop,
            )
                .chain()
                .in_set(SimSystems::Weapons),
            (SpawnSystems::End, SpawnSystems::Replace).chain().in_set(SimSystems::Spawning),
            (BorderSystems::Cross, BorderSystems::Handoffs, BorderSystems::Withdrawals)
                .chain()
                .in_set(SimSystems::Borders),
            (
                PublishSystems::Motion,
                PublishSystems::OwnStates,
                PublishSystems::Adoptions,
                PublishSystems::Records,
                PublishSystems::Census,
            )
                .chain()
                .in_set(SimSystems::Publish),
        ),
    );
}
