//! Sessions: one app per connection, one after the other, until the process is asked to end.
//!
//! Runs in the shard. All state of a shard comes from its current connection, so a new connection is a new app. Tests
//! use [`build_app`] as well, over the in-memory link.

use crate::{
    app::{config::ShardConfig, report::Totals},
    authority::drain::{self, Draining},
    link::{
        mailbox::Outbox,
        naia::{self, LinkPlugin, LinkState},
    },
    sim::SimPlugin,
};
use bevy::prelude::*;
use sidereal_protocol::frames::control::ToServer;
use sidereal_transport::{ClientHandle, ClientSocket};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// The longest sleep of the loop while nothing arrives: ticks are due every 33 ms and must not wait.
const MAX_SLEEP: Duration = Duration::from_millis(5);

/// How long the shard retries to connect.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// The wait before the first retry; each next one is twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// How long the last records may take to reach the server.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// How long the link stays open after the last record was sent: a server that detects the end of the session before it
/// has received the last frames discards them. A server that ends closes the link sooner.
const LINGER: Duration = Duration::from_millis(500);

/// Why the shard ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A signal or the server asked for it, and everything was sent.
    Cleanly,
    /// The server rejected the shard, or its certificate was rejected here; a retry would not help.
    Refused(String),
    /// No connection to a server for [`GIVE_UP_AFTER`].
    Alone(String),
}

/// The app of one session: the simulation and its link. It connects in its first update.
pub fn build_app(config: &ShardConfig, handle: ClientHandle, socket: ClientSocket) -> App {
    let mut app = App::new();
    app.add_plugins((SimPlugin, LinkPlugin::new(handle, socket, &config.credential())));
    app.finish();
    app.cleanup();
    app
}

/// Runs sessions until `stop` is set or a retry makes no sense. `connector` makes the link of each. Returns the reason
/// and the totals of all sessions.
pub fn run(
    config: &ShardConfig,
    mut connector: impl FnMut() -> (ClientHandle, ClientSocket),
    stop: &AtomicBool,
) -> (Ended, Totals) {
    let mut totals = Totals::default();
    let mut alone_since = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let (handle, socket) = connector();
        let mut app = build_app(config, handle.clone(), socket);
        app.insert_resource(std::mem::take(&mut totals));
        let session = run_session(&mut app, &handle, stop);
        totals = app.world_mut().remove_resource::<Totals>().unwrap_or_default();
        drop(app);
        let reason = match session {
            Session::Ended => return (Ended::Cleanly, totals),
            Session::Refused(reason) => return (Ended::Refused(reason), totals),
            Session::Lost { reason, joined } => {
                if joined {
                    totals.connections_lost += 1;
                    alone_since = Instant::now();
                    wait = FIRST_WAIT;
                }
                reason
            }
        };
        if alone_since.elapsed() + wait > GIVE_UP_AFTER {
            return (Ended::Alone(reason), totals);
        }
        tracing::warn!(%reason, wait_ms = wait.as_millis() as u64, "no connection; retrying");
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if stop.load(Ordering::Relaxed) {
                return (Ended::Cleanly, totals);
            }
            std::thread::sleep(MAX_SLEEP);
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

enum Session {
    Ended,
    Refused(String),
    Lost { reason: String, joined: bool },
}

fn run_session(app: &mut App, handle: &ClientHandle, stop: &AtomicBool) -> Session {
    let waker = handle.waker();
    let mut joined = false;
    loop {
        sidereal_process::crash::fault_point("main");
        naia::update(app);
        match app.world().resource::<LinkState>() {
            LinkState::Connecting => {}
            LinkState::Joined => joined = true,
            LinkState::Refused(reason) => return Session::Refused(reason.clone()),
            LinkState::Lost(reason) => {
                let reason = reason.clone();
                // A server that ends drains its shards first: it has this shard's records by then.
                if stop.load(Ordering::Relaxed) || app.world().contains_resource::<Draining>() {
                    return Session::Ended;
                }
                return Session::Lost { reason, joined };
            }
        }
        if stop.load(Ordering::Relaxed) {
            if joined {
                drain::drain(app.world_mut());
            } else {
                handle.close("the shard was asked to end");
                return Session::Ended;
            }
        }
        if app.world().contains_resource::<Draining>() {
            finish_drain(app, handle);
            return Session::Ended;
        }
        waker.wait(MAX_SLEEP);
    }
}

/// Sends what is left, gives the server time to receive it, and closes; all within [`DRAIN_TIME`].
fn finish_drain(app: &mut App, handle: &ClientHandle) {
    let waker = handle.waker();
    let deadline = Instant::now() + DRAIN_TIME;
    let mut handed_over: Option<Instant> = None;
    loop {
        naia::update(app);
        let over = matches!(app.world().resource::<LinkState>(), LinkState::Lost(_) | LinkState::Refused(_));
        if over || Instant::now() > deadline {
            break;
        }
        // Only after an update, which passes the outbox to the transport.
        if app.world().resource::<Outbox<ToServer>>().is_empty()
            && handed_over.get_or_insert_with(Instant::now).elapsed() > LINGER
        {
            break;
        }
        waker.wait(MAX_SLEEP);
    }
    handle.close("the shard has ended");
    while !handle.is_finished() && Instant::now() < deadline {
        waker.wait(MAX_SLEEP);
    }
    if !handle.is_finished() {
        tracing::warn!("the server did not take the last records in time");
    }
}
