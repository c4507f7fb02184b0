//! Child processes of this program, and what the system says about them.
//!
//! The program starts itself: each child runs one [role](crate::roles). A child that serves the parent answers each line
//! of its standard input with one line of JSON, and ends when its standard input does.

pub mod conversation;
pub mod spawned;
pub mod threads;
