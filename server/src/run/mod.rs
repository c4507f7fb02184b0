//! Starts the server process, runs it until it is asked to end, and shuts it down.

pub mod certificate;
pub mod config;
pub mod db_tool;
pub mod door;
pub mod pace;
pub mod player_ports;
pub mod shutdown;

use crate::{
    ServerParts,
    accounts::hex,
    accounts::sessions::Sessions,
    accounts::supabase::Supabase,
    accounts::tickets::TicketOffice,
    accounts::{Accounts, HashCost},
    audit::report::{Readings, Report, Shown},
    audit::tally::Tally,
    build_app,
    db::{Database, DatabaseLock, META_SEED, META_TICK, Store, StoreConfig},
    handle_arrivals,
    http::{HttpLimits, HttpServer, HttpState, PlayerDoor, PlayerDoors, ServerStatus, WebFiles},
    persistence::storage::Storage,
    run::certificate::{CertificateKeeper, KeeperThread},
    run::config::Config,
    run::pace::Pace,
    run::shutdown::Shutdown,
    schedule::NewTick,
};
use anyhow::{Context, bail};
use bevy::{ecs::system::SystemState, prelude::App};
use sidereal_process::crash;
use sidereal_protocol::{
    frames::secret::check_shard_secret,
    limits::PROTOCOL_VERSION,
    world::tick::{SimTick, TICK_HZ},
};
use sidereal_transport::{Identity, ListenerConfig, PeerKind, ServerConfig, ServerHandle, TransportError, bind};
use std::{
    fmt,
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tracing::info;

/// Minimum time between two looks at what has arrived: what arrives within it is handled together. A crowd's inputs
/// arrive thousands of times a second.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// Time limit of the final flush.
const FLUSH_DEADLINE: Duration = Duration::from_secs(20);

/// The remedy for a database with an invalid value.
const REPAIR: &str = "restore a backup, or use another database with --database-url";

/// Everything that runs beside the App.
struct Running {
    app: App,
    transport: ServerHandle,
    http: HttpServer,
    operations: HttpServer,
    status: Arc<ServerStatus>,
    _certificate: KeeperThread,
    /// Dropped last: until then the store may write.
    _lock: DatabaseLock,
}

/// Why the server did not start, or failed later. Displayed as one line.
#[derive(Debug)]
pub enum Failure {
    /// The server did not start: what is wrong with the configuration, and what to do. The stored world is unchanged.
    Start(anyhow::Error),
    /// It ran, and failed later.
    Later(anyhow::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Start(error) | Self::Later(error)) = self;
        let mut line = error.to_string();
        for cause in error.chain().skip(1).map(ToString::to_string) {
            // Some errors include their cause.
            if !line.contains(&cause) {
                line = format!("{line}: {cause}");
            }
        }
        f.write_str(&line.replace('\n', " "))
    }
}

/// Runs the server until it is asked to end.
///
/// # Errors
/// [`Failure`].
pub fn run(config: &Config) -> Result<(), Failure> {
    let stop = sidereal_process::stop_flag(config.die_with_stdin).map_err(Failure::Start)?;
    let mut running = start(config).map_err(Failure::Start)?;
    let waker = running.transport.waker();
    let mut pace = Pace::new(Instant::now());
    while !running.app.world().resource::<Shutdown>().complete {
        if stop.load(Ordering::Relaxed) {
            running.app.world_mut().resource_mut::<Shutdown>().requested = true;
        }
        let started = Instant::now();
        crash::fault_point("main");
        running.status.beat(started);
        if started >= pace.next_update(started, running.transport.has_input_for_naia()) {
            running.app.update();
            pace.updated(started, Instant::now(), running.app.world().resource::<NewTick>().is_new());
            running.app.world_mut().resource_mut::<Tally>().ticks_skipped = pace.skipped;
        } else {
            handle_arrivals(&mut running.app);
        }
        // Never past a tick.
        let pause = (started + MIN_INTERVAL).min(pace.next_tick());
        std::thread::sleep(pause.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        let next = pace.next_update(now, running.transport.has_input_for_naia());
        waker.wait(next.saturating_duration_since(now));
    }
    finish(running, config).map_err(Failure::Later)
}

fn start(config: &Config) -> anyhow::Result<Running> {
    if let Some(path) = &config.report {
        check_writable(path)?;
    }
    check_shard_secret(&config.shard_secret.0)?;
    // Checked before anything is changed; the ports are known after binding.
    let ports = config.player_ports();
    let wanted_addrs = ports.listening()?;
    ports.advertised(&wanted_addrs)?;
    let web = config.web.web_dir.as_deref().map(WebFiles::load).transpose()?.map(Arc::new);
    let identity = Identity::self_signed(&own_names(config))?;
    let keeper = certificate_keeper(config, &identity)?;
    let certificate = keeper.certificate().clone();
    let supabase = config.supabase.config()?.map(Supabase::new).transpose()?;
    let url = config.database_url();
    let lock = Database::lock(&url)?;
    let database = Database::open(&url)?.guarded_by(&lock)?;
    let (world_seed, is_new) = world_seed(&database, config.seed)?;
    let start_tick = start_tick(&database)?;
    let accounts = Accounts::new(database.clone(), HashCost::PRODUCTION)
        .map_err(|error| error.context("cannot set up password hashing"))?;
    let shard_certificate_hash = hex::encode(&identity.certificate_hash());
    let (transport, socket) = bind(ServerConfig {
        listeners: wanted_addrs
            .iter()
            .map(|&addr| ListenerConfig { kind: PeerKind::Player, addr })
            .chain([ListenerConfig { kind: PeerKind::Shard, addr: config.shard_addr }])
            .collect(),
        identity,
        player_certificate: Some(certificate.live.clone()),
        allowed_origins: config.allowed_origins(),
        protocol_version: PROTOCOL_VERSION,
        limits: config.door.limits(),
    })
    .map_err(|error| with_flag(error, config))?;
    let player_addrs = transport.local_addrs(PeerKind::Player);
    let shard_addr = transport.local_addr(PeerKind::Shard).context("the transport does not say where it listens")?;
    let advertised_addrs = ports.advertised(&player_addrs)?;
    let players = player_doors(config, &advertised_addrs).context("the transport does not say where it listens")?;
    let tickets = {
        let transport = transport.clone();
        TicketOffice::spreading(player_addrs.len(), move |counts| {
            counts.extend(transport.admitted_by_endpoint(PeerKind::Player));
        })
    };
    let status = Arc::new(ServerStatus::default());
    let state = HttpState {
        accounts,
        sessions: Sessions::new(database.clone()),
        supabase,
        tickets: tickets.clone(),
        status: status.clone(),
        players,
        certificate,
        is_tls: config.web.tls_certificate.is_some(),
        web,
        registration: config.http.registration,
        limits: HttpLimits::default(),
        rates: config.http.rates(),
        trusted_proxies: config.http.trusted_proxies,
    };
    let operations = HttpServer::start_operations(config.ops_addr, state.clone())?;
    let http = HttpServer::start(config.http_addr, state)?;
    if is_new {
        database.set_meta(META_SEED, &world_seed.to_string())?;
    }
    let store = Store::start(database, StoreConfig::default());
    store.prune(config.retention.age());
    let network = transport.clone();
    status.watch("a network thread", move || network.is_running());
    for (name, thread) in store.threads() {
        status.watch(name, move || thread.is_running());
    }
    let mut app = build_app(ServerParts {
        transport: transport.clone(),
        socket,
        store,
        tickets,
        shard_secret: config.shard_secret.0.clone(),
        world_seed,
        start_tick,
        expected_shards: config.expect_shards,
    });
    app.insert_resource(Shown(status.clone()));
    app.finish();
    app.cleanup();
    let (player_addrs, advertised_addrs) = (texts(&player_addrs), texts(&advertised_addrs));
    info!(?player_addrs, ?advertised_addrs, %shard_addr, http_addr = %http.local_addr, ops_addr = %operations.local_addr, seed = world_seed, tick = start_tick.0, "server is up");
    if let Some(path) = &config.ready_file {
        let ready = serde_json::json!({
            "player_addr": player_addrs.first(),
            "player_addrs": player_addrs,
            "shard_addr": shard_addr.to_string(),
            "http_addr": http.local_addr.to_string(),
            "ops_addr": operations.local_addr.to_string(),
            "certificate_hash": shard_certificate_hash,
        });
        write_whole(path, &ready.to_string())?;
    }
    let keeping = keeper.start().context("cannot start the certificate's thread")?;
    Ok(Running { app, transport, http, operations, status, _certificate: keeping, _lock: lock })
}

fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

/// What players are given, for each endpoint; `None` if there is none.
fn player_doors(config: &Config, advertised: &[SocketAddr]) -> Option<PlayerDoors> {
    let mut doors = advertised
        .iter()
        .map(|&address| PlayerDoor { addr: address.to_string(), origin: config.player_origin(address) });
    Some(PlayerDoors { first: doors.next()?, others: doors.collect() })
}

/// The names in a self-signed certificate.
fn own_names(config: &Config) -> Vec<String> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    names.into_iter().chain(config.advertise_player_host.clone()).collect()
}

/// Players get the operator's certificate, or initially the one of shards.
fn certificate_keeper(config: &Config, own: &Identity) -> anyhow::Result<CertificateKeeper> {
    let web = &config.web;
    match (&web.tls_certificate, &web.tls_key, &config.advertise_player_host) {
        (Some(certificate), Some(key), Some(host)) => CertificateKeeper::of_files(certificate, key, host),
        _ => CertificateKeeper::self_signed(own, own_names(config)),
    }
}

/// Names the flag of an address that cannot be used.
fn with_flag(error: TransportError, config: &Config) -> anyhow::Error {
    match error {
        TransportError::Bind(error) if error.kind == PeerKind::Player && error.addr != config.player_addr => {
            anyhow::anyhow!("{error} (--player-addr and --player-threads)")
        }
        TransportError::Bind(error) => anyhow::anyhow!("{error} (--{}-addr)", error.kind),
        other => other.into(),
    }
}

/// The stored world's seed; a new world gets the requested one, or a random one. Also returns whether it is new: its
/// seed is stored once nothing can prevent the server from running.
fn world_seed(database: &Database, wanted: Option<u64>) -> anyhow::Result<(u64, bool)> {
    if let Some(stored) = database.meta(META_SEED)? {
        let Ok(seed) = stored.parse::<u64>() else {
            bail!("the database's seed ({stored:?}) is not a number: {REPAIR}");
        };
        if wanted.is_some_and(|wanted| wanted != seed) {
            bail!(
                "this database holds the world of seed {seed}: leave --seed out, or use another \
                 database with --database-url for a new world"
            );
        }
        return Ok((seed, false));
    }
    Ok((wanted.unwrap_or_else(rand::random), true))
}

/// The world continues a second after the last stored tick, so that no tick is used twice.
fn start_tick(database: &Database) -> anyhow::Result<SimTick> {
    let stored = match database.meta(META_TICK)? {
        Some(text) => match text.parse() {
            Ok(tick) => tick,
            Err(_) => bail!("the database's tick ({text:?}) is not a number: {REPAIR}"),
        },
        None => 0,
    };
    Ok(SimTick(stored) + u64::from(TICK_HZ))
}

fn finish(mut running: Running, config: &Config) -> anyhow::Result<()> {
    running.http.stop();
    running.operations.stop();
    running.transport.shutdown("the server is shutting down");
    let report = take_report(&mut running.app);
    let store = running.app.world_mut().resource_mut::<Storage>().take();
    if let Some(store) = store {
        let summary = store.flush_and_stop(FLUSH_DEADLINE)?;
        info!(rows = summary.flushed_rows, "everything is stored");
    }
    if let Some(path) = &config.report {
        write_whole(path, &serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

/// The present report of a server's App.
pub fn take_report(app: &mut App) -> Report {
    let mut state: SystemState<Readings> = SystemState::new(app.world_mut());
    state.get_mut(app.world_mut()).report()
}

/// Checks at the start whether [`write_whole`] can write there, not after hours of play.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, "").and_then(|()| std::fs::remove_file(&partial)).with_context(|| cannot_write(path))
}

/// Writes a file atomically: readers see all of it or nothing.
fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, path)).with_context(|| cannot_write(path))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {} (is its folder there and writable? else name another file)", path.display())
}
