//! The order of everything on a shard, in one place.
//!
//! Runs in the shard. [`ShardSystems`] run once an update: receive, handle control frames, simulate the due ticks,
//! send. [`SimSystems`] run in [`SimStep`], once a tick. avian runs in a schedule of its own inside
//! [`SimSystems::Physics`]. An undefined order between two systems of a tick is an error.
//!
//! It contains no systems of capabilities: each plugin puts its own into these sets.

use bevy::{
    ecs::schedule::{ExecutorKind, LogLevel, ScheduleBuildSettings, ScheduleLabel},
    prelude::*,
};

/// One tick of the world.
#[derive(ScheduleLabel, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SimStep;

/// The sets of an update, in order.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShardSystems {
    /// The link fills the inboxes. Empty without a link.
    Receive,
    /// Control frames are handled in every update, not only at ticks: a handoff waits for them.
    Control,
    /// The due ticks are simulated.
    Simulate,
    /// The link sends the outboxes. Empty without a link.
    Send,
}

/// The sets of a tick, in order.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimSystems {
    /// Ghosts move to their newest known states, before drones target them and bodies touch them.
    Ghosts,
    /// Controls: pilots' due inputs, then drones, then missiles.
    Helm,
    /// Controls become planned motion.
    Flight,
    /// avian steps; bodies that nothing touched keep their planned motion exactly. Then the states of own bodies are
    /// stored for rewinds.
    Physics,
    /// Shots and missiles are launched and judged at the present positions, beams at past ones. Ore is requested.
    Weapons,
    /// Impacts are applied.
    Damage,
    /// Empty or old crates end. Destroyed drones and rocks are replaced.
    Spawning,
    /// Entities change their logical sector, or start a handoff.
    Borders,
    /// The results of the tick are sent: motion, own states, records, census.
    Publish,
}

/// Order within [`ShardSystems::Control`].
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlSystems {
    /// naia's announcements of ghosts: frames may refer to them.
    Ghosts,
    /// Frames of the control stream.
    Frames,
    /// Entities that these frames brought are answered, with their first state.
    Adoptions,
}

/// Order within [`SimSystems::Helm`]: a body's kind decides which of these sets its controls.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HelmSystems {
    /// Pilots' inputs. Bodies without a pilot get neutral controls.
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
    /// The impacts of that step's contacts.
    Contacts,
    /// The states of own bodies are stored, after all motion.
    Past,
}

/// Order within [`SimSystems::Weapons`]: everything is launched before anything is judged.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeaponSystems {
    /// Bullets are fired.
    Fire,
    /// Missiles are launched.
    Launch,
    /// Beams are fired and judged.
    Beams,
    /// Paths of bullets are judged.
    JudgeShots,
    /// Paths of missiles are judged.
    JudgeMissiles,
    /// Tractor beams pull.
    Tractor,
    /// Rocks are mined.
    Mine,
    /// Crates are collected. A ship that has just requested the ore of a rock requests no more.
    Scoop,
}

/// Order within [`SimSystems::Spawning`].
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpawnSystems {
    /// Bodies whose time is over end, before their places are filled.
    End,
    /// Lost bodies are replaced.
    Replace,
}

/// Order within [`SimSystems::Borders`].
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BorderSystems {
    /// Own entities enter and leave sectors.
    Cross,
    /// Unanswered requests for a handoff are repeated.
    Handoffs,
    /// Ships with a deal that stays unsettled are withdrawn.
    Withdrawals,
}

/// Order within [`SimSystems::Publish`]: the order of the frames on the control stream.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishSystems {
    /// Motion, for all subscribers.
    Motion,
    /// The exact state of each ship, for its pilot.
    OwnStates,
    /// Records that changed.
    Records,
    /// The census, after all that it counts.
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
            (ControlSystems::Ghosts, ControlSystems::Frames, ControlSystems::Adoptions)
                .chain()
                .in_set(ShardSystems::Control),
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
            (PublishSystems::Motion, PublishSystems::OwnStates, PublishSystems::Records, PublishSystems::Census)
                .chain()
                .in_set(SimSystems::Publish),
        ),
    );
}
