//! `sidereal-launcher`: starts a whole world on this machine, as `./run-local` calls it.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use clap::Parser;
use sidereal_launcher::log::{Label, Log};
use sidereal_launcher::options::Options;
use sidereal_launcher::run::run;
use sidereal_launcher::world::World;

fn main() -> ExitCode {
    let started = Instant::now();
    let options = Options::parse();
    sidereal_process::crash::end_on_panic("sidereal-launcher");

    let stdout = std::io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let width = World::names(&options).map(|name| name.len()).fold(Label::launcher().name().len(), usize::max);
    let log = Arc::new(Log::new(Box::new(stdout), width, colour));

    // The second interrupt ends by force; more need no room.
    let (interrupt, interrupts) = sync_channel(2);
    let handler = ctrlc::set_handler(move || {
        let _ = interrupt.try_send(());
    });
    if let Err(error) = handler {
        return fail(&format!("Ctrl-C cannot be handled: {error}"), 1);
    }
    let Some(programs) = std::env::current_exe().ok().and_then(|path| path.parent().map(ToOwned::to_owned)) else {
        return fail("the path of this program is unknown", 1);
    };
    match run(&options, &programs, &log, interrupts, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure.to_string(), failure.exit_code()),
    }
}

/// The reason as the last line. Not by `eprintln!`, which panics when the reader is gone.
fn fail(reason: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "sidereal: {reason}");
    ExitCode::from(code)
}
