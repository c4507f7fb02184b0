//! Runs a whole Sidereal world on one machine: the library behind `sidereal-launcher` and `./run-local`.
//!
//! The launcher starts, supervises and ends the other processes: which ones, in which order, with which flags, and it
//! combines their reports. It uses none of their protocols except command lines, ready files, report files and two HTTP
//! calls (is the world ready; an account for the local player), and simulates nothing.
//!
//! [`run::run`] is the entry point; the other modules are its parts, from the command line ([`options`]) to the
//! judgement of the run ([`verdict`]).

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
