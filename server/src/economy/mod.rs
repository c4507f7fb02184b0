//! Holdings, and the deals and trades that move them.

pub mod dealing;
pub mod deals;
pub mod goods;
pub mod leaving;
pub mod ore;
pub mod trades;

use crate::replication::mirror::sync_vitals;
use crate::schedule::{ServerTick, TickSystems};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin};

/// Deals, trades and holdings.
pub struct EconomyPlugin;

impl Plugin for EconomyPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<goods::Goods>()
            .init_resource::<deals::Deals>()
            .init_resource::<trades::Trades>()
            .add_systems(ServerTick, dealing::update_deals.in_set(TickSystems::Deals))
            .add_systems(ServerTick, goods::send_balances.in_set(TickSystems::Holdings))
            .add_systems(ServerTick, goods::sync_lodes.after(sync_vitals).in_set(TickSystems::Components));
    }
}
