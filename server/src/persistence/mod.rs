//! Writes to the database, its replies, and the removal of unused state.

pub mod answers;
pub mod forgetting;
pub mod hand_over;
pub mod retention;
pub mod storage;

use crate::schedule::{ServerSystems, ServerTick, TickSystems};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin, Update};

/// Access to the database. Its resource, [`storage::Storage`], is inserted with the running store.
pub struct PersistencePlugin;

impl Plugin for PersistencePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<hand_over::Progress>()
            .add_systems(Update, answers::take_answers.in_set(ServerSystems::Answers))
            .add_systems(ServerTick, hand_over::hand_over_changes.in_set(TickSystems::Store))
            .add_systems(ServerTick, forgetting::forget_what_is_over.in_set(TickSystems::Forget));
    }
}
