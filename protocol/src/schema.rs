//! naia's protocol: its components, registered in the same order in every process. Player messages and requests are
//! frames of the stream ([`crate::frames::messages`]), so there are neither channels nor messages.

use crate::{
    components::{Identity, OreDeposit, Vitals},
    world::tick::TICK_DURATION,
};
use naia_bevy_shared::Protocol;

/// naia's protocol. Both ends must build the same one.
pub fn protocol() -> Protocol {
    Protocol::builder()
        .tick_interval(TICK_DURATION)
        .add_component::<Identity>()
        .add_component::<Vitals>()
        .add_component::<OreDeposit>()
        .build()
}
