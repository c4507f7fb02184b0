//! What the player trades and mines: the deal book, its requests and the balances, and the selected rock.

pub mod dealing;
pub mod deals;
pub mod mining;
