//! The own ship: the player's controls, the inputs made of them, and the prediction of their effect.

pub mod controls;
pub mod inputs;
pub mod piloting;
pub mod prediction;
