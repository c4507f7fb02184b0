//! `sidereal-server`: parses its configuration, runs the server or a database tool, and prints one line on failure.

use clap::Parser;
use sidereal_process::crash;
use sidereal_server::{
    run::config::Config,
    run::db_tool::{self, DbTool},
    run::{Failure, run},
};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == "db") {
        return look_after_database();
    }
    let config = Config::parse();
    crash::end_on_panic("sidereal-server");
    log("info,naia_shared=warn,naia_server=warn,naia_client=error");
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

fn look_after_database() -> ExitCode {
    let tool = DbTool::parse_from(std::env::args_os().skip(1));
    log("warn");
    match db_tool::run(&tool) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("sidereal-server db: {}", Failure::Start(error));
            ExitCode::from(2)
        }
    }
}

fn log(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
