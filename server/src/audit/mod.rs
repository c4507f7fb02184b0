//! Checks and figures of the running world: censuses, entities that make shards fail, counters, the report.

pub mod aside;
pub mod census;
#[cfg(feature = "journal")]
pub mod journal;
pub mod report;
pub mod setting_aside;
pub mod suspicion;
pub mod tally;

use crate::schedule::{ServerSystems, ServerTick, TickSystems, on_new_tick};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin, Update};

/// Sets entities aside that make shards fail, counts, and reports.
pub struct AuditPlugin;

impl Plugin for AuditPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<aside::Aside>()
            .init_resource::<census::Audit>()
            .init_resource::<tally::Tally>()
            .init_resource::<report::TickStart>()
            .add_systems(Update, report::start_stopwatch.in_set(ServerSystems::Begin))
            .add_systems(ServerTick, setting_aside::update_aside.in_set(TickSystems::SetAside))
            .add_systems(
                Update,
                (report::stop_stopwatch, report::show_status).chain().in_set(ServerSystems::Report).run_if(on_new_tick),
            );
        #[cfg(feature = "journal")]
        app.init_resource::<journal::Journal>();
    }
}
