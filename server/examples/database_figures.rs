//! What the database costs: both backends side by side, each with a world of 10,000 and of 100,000 entities.
//!
//! ```text
//! cargo run --config profile.dev.package.sidereal-server.opt-level=3 -p sidereal-server --features postgres \
//!     --example database_figures
//! ```
//!
//! Writes and reads go through the store, as in a running server. PostgreSQL runs in a temporary folder and waits for
//! its disk (`fsync`); SQLite waits as it does in production. Without the feature, or without a PostgreSQL server,
//! only SQLite is measured.

#[cfg(feature = "postgres")]
#[path = "../tests/common/cluster.rs"]
#[allow(dead_code, reason = "written for tests, which use all of it")]
mod cluster;

use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sidereal_protocol::world::sector::SectorId;
use sidereal_protocol::world::tick::SimTick;
use sidereal_server::db::{Database, Sector, Store, StoreConfig, StoreReply, StoredEntity};
use sidereal_server::territory::worldgen::sector_records;

const SIZES: [usize; 2] = [10_000, 100_000];

/// Sectors in a row of the world.
const ROW: i32 = 128;

/// Repetitions of each read.
const READS: usize = 200;

/// Limit after which a stuck run fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// A database to measure.
struct Subject {
    name: &'static str,
    url: String,
    _folder: Option<tempfile::TempDir>,
    #[cfg(feature = "postgres")]
    cluster: Option<cluster::PgCluster>,
}

impl Subject {
    fn sqlite() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            name: "SQLite",
            url: folder.path().join("world.sqlite").display().to_string(),
            _folder: Some(folder),
            #[cfg(feature = "postgres")]
            cluster: None,
        })
    }

    #[cfg(feature = "postgres")]
    fn postgres() -> Option<Self> {
        let cluster = cluster::PgCluster::start_durable()?;
        Some(Self { name: "PostgreSQL", url: cluster.new_schema(), _folder: None, cluster: Some(cluster) })
    }

    /// Processor time of this process and of the database's own, milliseconds.
    fn cpu_ms(&self) -> (u64, u64) {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let own: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        #[cfg(feature = "postgres")]
        let server = self.cluster.as_ref().map_or(0, cluster::PgCluster::cpu_ms);
        #[cfg(not(feature = "postgres"))]
        let server = 0;
        (own * 10, server)
    }

    /// The table of the entities and its indexes, bytes.
    fn bytes(&self) -> anyhow::Result<i64> {
        #[derive(QueryableByName)]
        struct Size {
            #[diesel(sql_type = BigInt)]
            bytes: i64,
        }
        #[cfg(feature = "postgres")]
        if self.cluster.is_some() {
            let mut conn = diesel::pg::PgConnection::establish(&self.url)?;
            let size: Size =
                diesel::sql_query("SELECT pg_total_relation_size('entities') AS bytes").get_result(&mut conn)?;
            return Ok(size.bytes);
        }
        let mut conn = diesel::sqlite::SqliteConnection::establish(&self.url)?;
        diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn)?;
        let size: Size =
            diesel::sql_query("SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()")
                .get_result(&mut conn)?;
        Ok(size.bytes)
    }
}

/// The first `count` entities of a world, in the order of its sectors, as of a version.
fn world(count: usize, version: i64) -> anyhow::Result<Vec<StoredEntity>> {
    let mut all = Vec::with_capacity(count + 16);
    for number in 0.. {
        for record in sector_records(7, SectorId::new(number % ROW, number / ROW), SimTick(version as u64)) {
            all.push(StoredEntity {
                id: record.id.0,
                kind: i16::from(record.kind as u8),
                owner: None,
                sector: (record.sector.x, record.sector.y),
                epoch: 1,
                version,
                tick: version,
                record: record.encode()?,
            });
        }
        if all.len() >= count {
            break;
        }
    }
    all.truncate(count);
    Ok(all)
}

/// The sectors of a block whose corner is at `x`, `y`.
fn block(x: i32, y: i32) -> Vec<Sector> {
    (0..4).flat_map(|dx| (0..4).map(move |dy| (x * 4 + dx, y * 4 + dy))).collect()
}

/// One read through the store, milliseconds.
fn read_ms(store: &Store, sectors: Vec<Sector>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    store.request_sectors(1, sectors);
    loop {
        match store.poll() {
            Some(StoreReply::Sectors { .. }) => return Ok(begun.elapsed().as_secs_f64() * 1e3),
            Some(other) => anyhow::bail!("not the sectors: {other:?}"),
            None if begun.elapsed() > PATIENCE => anyhow::bail!("a read did not come back"),
            None => std::thread::sleep(Duration::from_micros(20)),
        }
    }
}

fn spread(mut times_ms: Vec<f64>) -> String {
    times_ms.sort_by(f64::total_cmp);
    let at = |percent: usize| times_ms.get((times_ms.len() * percent / 100).min(times_ms.len().max(1) - 1));
    let [p50, p99, max] = [50, 99, 100].map(|percent| at(percent).copied().unwrap_or(f64::NAN));
    format!("{p50:.2} / {p99:.2} / {max:.2} ms")
}

/// A figure's name and its value.
type Figures = Vec<(String, String)>;

/// Runs `work` and returns its wall time and processor time.
fn timed<T>(subject: &Subject, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64, String)> {
    let (own, server) = subject.cpu_ms();
    let begun = Instant::now();
    let result = work()?;
    let seconds = begun.elapsed().as_secs_f64();
    let (own, server) = (subject.cpu_ms().0 - own, subject.cpu_ms().1.saturating_sub(server));
    let cpu = if server > 0 { format!("cpu {own} + {server} ms") } else { format!("cpu {own} ms") };
    Ok((result, seconds, cpu))
}

fn write_all(subject: &Subject, store: &Store, entities: Vec<StoredEntity>) -> anyhow::Result<String> {
    let count = entities.len();
    for entity in entities {
        store.put(entity);
    }
    let ((), seconds, cpu) = timed(subject, || {
        store.flush();
        anyhow::ensure!(store.stats().dirty == 0, "not everything was written");
        Ok(())
    })?;
    Ok(format!("{:.0} rows/s ({:.2} s, {cpu})", count as f64 / seconds, seconds))
}

fn measure(subject: &Subject, count: usize) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    let mut add = |name: &str, value: String| figures.push((format!("{count:>7}: {name}"), value));
    let per_entity = |bytes: i64| format!("{:.0} bytes", bytes as f64 / count as f64);
    // The last change starts a flush early unless the flush interval is long.
    let config = StoreConfig { flush_interval_ms: 600_000, ..StoreConfig::default() };
    let empty = subject.bytes().unwrap_or(0);
    let store = Store::start(Database::open(&subject.url)?, config);
    add("written, new rows", write_all(subject, &store, world(count, 1)?)?);
    add("on disk per entity, new", per_entity(subject.bytes()? - empty));
    add("written, all rows again", write_all(subject, &store, world(count, 2)?)?);
    add("on disk per entity, all written twice", per_entity(subject.bytes()? - empty));

    // Reads while all rows are written once more.
    let blocks = (count / 8 / 16).max(1) as i32;
    let place = |number: usize| {
        let number = number as i32 % blocks;
        (number % (ROW / 4), number / (ROW / 4))
    };
    for entity in world(count, 3)? {
        store.put(entity);
    }
    let waits = std::thread::scope(|scope| {
        let flush = scope.spawn(|| store.flush());
        let mut waits = Vec::new();
        while !flush.is_finished() {
            let (x, y) = place(waits.len() * 7);
            waits.push(read_ms(&store, block(x, y))?);
        }
        anyhow::Ok(waits)
    })?;
    add(
        "a block read while all is written, p50 / p99 / max",
        format!("{} ({} reads)", spread(waits.clone()), waits.len()),
    );
    store.flush_and_stop(PATIENCE)?;

    let mut starts = Vec::new();
    let ((), _, cpu) = timed(subject, || {
        for _ in 0..10 {
            let begun = Instant::now();
            let lock = Database::lock(&subject.url)?;
            let database = Database::open(&subject.url)?.guarded_by(&lock)?;
            let (_seed, _tick) = (database.meta("seed")?, database.meta("sim_tick")?);
            let store = Store::start(database, config);
            starts.push(begun.elapsed().as_secs_f64() * 1e3);
            store.flush_and_stop(PATIENCE)?;
        }
        Ok(())
    })?;
    add("start to ready, p50 / p99 / max of 10", format!("{} ({cpu} for all)", spread(starts)));

    let store = Store::start(Database::open(&subject.url)?, config);
    for (name, whole) in [("one sector", false), ("one block (16 sectors)", true)] {
        let (times, _, cpu) = timed(subject, || {
            (0..READS)
                .map(|number| {
                    let (x, y) = place(number * 7);
                    read_ms(&store, if whole { block(x, y) } else { vec![(x * 4, y * 4)] })
                })
                .collect::<anyhow::Result<Vec<f64>>>()
        })?;
        add(&format!("{name} read, p50 / p99 / max of {READS}"), format!("{} ({cpu} for all)", spread(times)));
    }
    store.flush_and_stop(PATIENCE)?;
    Ok(figures)
}

fn main() -> anyhow::Result<()> {
    for count in SIZES {
        #[cfg(feature = "postgres")]
        let postgres = Subject::postgres();
        #[cfg(not(feature = "postgres"))]
        let postgres = None;
        let subjects: Vec<Subject> = [Subject::sqlite()?].into_iter().chain(postgres).collect();
        let mut all = Vec::new();
        for subject in &subjects {
            all.push(measure(subject, count)?);
        }
        for (at, (name, _)) in all[0].iter().enumerate() {
            println!("{name}");
            for (subject, figures) in subjects.iter().zip(&all) {
                println!("    {:<12}{}", subject.name, figures[at].1);
            }
        }
    }
    Ok(())
}
