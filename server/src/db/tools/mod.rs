//! What an operator does with a database: look whether it is sound, move it, see what is in it.
//!
//! Behind `sidereal-server db …`. All of it reads the database as it was at one moment and holds a page of it at a time;
//! none of it needs the server, and all but the import may run beside one.

mod check;
mod dump;
mod rows;
mod stats;

pub use check::{CheckReport, check};
pub use dump::{DumpError, export, import};
pub use stats::{DatabaseStats, stats};
