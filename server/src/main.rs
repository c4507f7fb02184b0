//! `sidereal-server`: parses its configuration, runs the server, and says in one line what went wrong.

use clap::Parser;
use sidereal_server::{
    config::Config,
    run::{Failure, run},
};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let config = Config::parse();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,naia_shared=warn,naia_server=warn,naia_client=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sidereal-server: {failure}");
            ExitCode::from(match failure {
                Failure::Start(_) => 2,
                Failure::Later(_) => 1,
            })
        }
    }
}
