//! What several processes must compute alike: flight, shots, tools, the causes of impacts, prices.

pub mod cause;
pub mod economy;
pub mod flight;
pub mod playback;
pub mod shot;
pub mod tool;
pub mod tractor;
