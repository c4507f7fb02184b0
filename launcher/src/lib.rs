//! Runs a whole Sidereal world on one machine: the library behind `sidereal-launcher` and `./run-local`.
//!
//! The launcher process owns the other processes' lives: which are started, in which order, with which flags, how
//! they end, and what their reports say together. It speaks no protocol of theirs beyond command lines, ready files,
//! report files and two HTTP calls (is the world ready; an account for the local pilot), and simulates nothing.
//!
//! [`run::run`] is the whole of it; the other modules are its parts, from the command line ([`options`]) to the
//! judgement ([`verdict`]).

pub mod binaries;
pub mod child;
pub mod database;
pub mod log;
pub mod network;
pub mod options;
pub mod pilot;
pub mod ports;
pub mod process_reports;
pub mod report;
pub mod run;
pub mod supervisor;
pub mod verdict;
pub mod world;
