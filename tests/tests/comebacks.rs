//! Reconnects: client processes and bots whose connection dies, whose server is restarted, or whose account is taken
//! over, over real sockets.
//!
//! They need the programs built before (see `world::process`), without the feature `test-clock`.

#[allow(dead_code, unused_imports, reason = "the other tests of processes use the rest")]
mod world;

use std::path::Path;
use tempfile::TempDir;
use world::{ANY, Process, Server, World, text};

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

fn client(server: &Server, user: &str, more: &[&str]) -> Process {
    let url = server.url();
    let flags = ["--http", &url, "--user", user, "--password", "correct horse", "--register", "--headless"];
    Process::start("sidereal-client", &[&flags[..], &["--die-with-stdin"], more].concat())
}

/// The ship in the last line that it printed, if it has one.
fn ship(client: &Process, from_line: usize) -> Option<String> {
    let line = client.printed().get(from_line..)?.iter().rev().find(|line| line.contains("  ship "))?;
    Some(line.split("  ship ").nth(1)?.split_whitespace().next()?.to_owned())
}

fn flies(client: &mut Process, from_line: usize) -> String {
    client.wait_until("a ship", |client| ship(client, from_line))
}

fn says(client: &mut Process, what: &str) {
    client.wait_until(what, |client| client.seen().iter().any(|line| line.contains(what)).then_some(()));
}

fn report(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).expect("it was written")).expect("JSON")
}

/// A relay that listens at `listen`, and its address.
fn relay(folder: &Path, listen: &str, to: &str) -> (Process, String) {
    let ready = folder.join("relay.ready");
    let _ = std::fs::remove_file(&ready);
    let target = folder.join("relay.to");
    if to.is_empty() {
        let _ = std::fs::remove_file(&target);
    } else {
        std::fs::write(&target, format!("{to}\n")).expect("written");
    }
    let flags = ["--listen", listen, "--to-file", &text(&target), "--ready-file", &text(&ready), "--die-with-stdin"];
    let mut process = Process::start("sidereal-relay", &flags);
    process.wait_for_file(&ready);
    let address = report(&ready)["listen_addr"].as_str().expect("an address").to_owned();
    (process, address)
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn a_client_whose_connection_dies_comes_back_to_its_ship() {
    let folder = folder();
    let files = folder.path().to_owned();
    // Between client and server, so that the connection can die while both live.
    let (line, address) = relay(&files, ANY, "");
    let world = World::start_with(folder, 1, &[("--advertise-player-addr", &address)]);
    let target = world.server.player_addr.to_string();
    std::fs::write(files.join("relay.to"), format!("{target}\n")).expect("written");
    let report_file = files.join("client.json");
    let mut ada = client(&world.server, "ada", &["--report", &text(&report_file)]);
    let flown = flies(&mut ada, 0);
    line.kill();
    says(&mut ada, "the session was lost");
    let from_line = ada.printed().len();
    let (line, _) = relay(&files, &address, &target);
    assert_eq!(flies(&mut ada, from_line), flown, "the same ship");
    says(&mut ada, "back in space");
    let ended = ada.stop();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let report = report(&report_file);
    assert_eq!((&report["sessions_lost"], &report["reconnects"]), (&1.into(), &1.into()), "{report}");
    for name in ["inputs_lost", "inputs_doubled", "violations"] {
        assert_eq!(report[name], 0, "{report}");
    }
    let mut world = world;
    world.is_well();
    world.stop();
    drop(line);
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn players_and_bots_come_back_after_the_server_was_started_again() {
    let world = World::start(folder(), 1);
    let http = world.server.http_addr.to_string();
    let old_hash = world.server.certificate_hash;
    let mut ada = client(&world.server, "ada", &[]);
    let flown = flies(&mut ada, 0);
    let bots_file = world.folder.path().join("bots.json");
    let url = world.server.url();
    let flags = ["--http", &url, "--count", "2", "--report", &text(&bots_file), "--die-with-stdin"];
    let mut bots = Process::start("sidereal-bots", &flags);
    says(&mut bots, "all are in space");
    let mut world = world;
    world
        .server
        .wait_until("everybody's ship in the database", |server| server.metric("sidereal_store_rows_total") > 1_000);

    let World { server, shards, folder } = world;
    server.process.kill();
    drop(shards);
    let from_line = ada.printed().len();
    let mut world = World::start_with(folder, 1, &[("--http-addr", &http)]);
    assert_ne!(world.server.certificate_hash, old_hash, "players get the new one with their ticket");
    says(&mut ada, "back in space");
    assert_eq!(flies(&mut ada, from_line), flown, "the same ship");
    bots.wait_until("both bots", |bots| {
        (bots.seen().iter().filter(|line| line.contains("back in space")).count() == 2).then_some(())
    });
    world.play_on(3, 5);
    // The reconnects hide nothing: a session was dropped.
    let ended = bots.stop();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.iter().any(|line| line.contains("2 sessions dropped")), "{ended:#?}");
    let report = report(&bots_file);
    assert_eq!((&report["sessions_dropped"], &report["reconnects"]), (&2.into(), &2.into()), "{report}");
    for name in ["inputs_lost", "inputs_doubled", "violations"] {
        assert_eq!(report[name], 0, "{report}");
    }
    assert_eq!(ada.stop().code, Some(0));
    world.is_well();
    world.stop();
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn who_is_taken_over_by_a_second_log_in_stays_away() {
    let mut world = World::start(folder(), 1);
    let mut first = client(&world.server, "ada", &[]);
    let flown = flies(&mut first, 0);
    let mut second = client(&world.server, "ada", &[]);
    assert_eq!(flies(&mut second, 0), flown, "the same ship");
    let ended = first.end();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let complaint = ended.stderr.last().expect("it prints the reason");
    assert_eq!(complaint, "sidereal-client: this account has logged in elsewhere");
    let from_line = second.printed().len();
    assert_eq!(flies(&mut second, from_line), flown);
    assert_eq!(second.stop().code, Some(0));
    world.is_well();
    world.stop();
}
