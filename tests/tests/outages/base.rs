//! A database that can be stopped and slowed down, and released again.

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::world::text;
#[cfg(feature = "postgres")]
use crate::{cluster::PgCluster, proxy::Way};

/// By which factor a slow database is slower.
const SLOWER: u32 = 20;

/// How long SQLite's lock is alternately held and free, so that its writer has a twentieth of the time: free for the
/// longest sleep of a waiting writer between two attempts.
const HELD: Duration = Duration::from_millis(1_900);
const FREE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None: for comparison.
    None,
    /// It does not answer and does not close connections. SQLite: a lock holder keeps the write lock.
    Stopped,
    /// Its processes are killed, and restarted at the end.
    #[cfg(feature = "postgres")]
    Killed,
    /// It takes twenty times as long. SQLite: a lock holder keeps the write lock for 19 of 20 parts of the time.
    Slow,
}

pub enum Base {
    Sqlite {
        folder: PathBuf,
        /// The world's file.
        path: PathBuf,
        worlds: u32,
        holder: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    },
    #[cfg(feature = "postgres")]
    Postgres { cluster: Box<PgCluster>, way: Way, schema: String, fault: Fault },
}

impl Base {
    pub fn sqlite(folder: &Path) -> Self {
        Self::Sqlite { folder: folder.to_owned(), path: PathBuf::new(), worlds: 0, holder: None }
    }

    /// `None` if PostgreSQL is not installed.
    #[cfg(feature = "postgres")]
    pub fn postgres() -> Option<Self> {
        let cluster = Box::new(PgCluster::start_new()?);
        let way = Way::to(cluster.socket());
        Some(Self::Postgres { way, schema: String::new(), cluster, fault: Fault::None })
    }

    /// Creates an empty world, which all further calls use; its URL.
    pub fn new_world(&mut self) -> String {
        match self {
            Self::Sqlite { folder, path, worlds, .. } => {
                *worlds += 1;
                *path = folder.join(format!("world-{worlds}.sqlite"));
                format!("sqlite://{}", text(path))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres { cluster, way, schema, .. } => {
                let url = cluster.new_schema();
                let (_, options) = url.split_once('?').expect("the schema is an option");
                *schema = url.clone();
                format!("postgres://sidereal@{}/postgres?{options}", way.addr)
            }
        }
    }

    /// The same world over a connection that is never slow.
    pub fn direct_url(&self) -> String {
        match self {
            Self::Sqlite { path, .. } => format!("sqlite://{}", text(path)),
            #[cfg(feature = "postgres")]
            Self::Postgres { schema, .. } => schema.clone(),
        }
    }

    /// How long an answer took since the last call, median and mean, milliseconds, where it can be measured.
    pub fn answers_ms(&self) -> (f64, f64) {
        match self {
            Self::Sqlite { .. } => (0.0, 0.0),
            #[cfg(feature = "postgres")]
            Self::Postgres { way, .. } => way.answers_ms(),
        }
    }

    pub fn begin(&mut self, fault: Fault) {
        match self {
            Self::Sqlite { path, holder, .. } if fault != Fault::None => {
                let ended = Arc::new(AtomicBool::new(false));
                let mut conn = SqliteConnection::establish(&text(path)).expect("the file opens");
                conn.batch_execute("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE").expect("the lock comes");
                let thread = std::thread::spawn({
                    let ended = ended.clone();
                    move || hold(&mut conn, fault, &ended)
                });
                *holder = Some((ended, thread));
            }
            Self::Sqlite { .. } => {}
            #[cfg(feature = "postgres")]
            Self::Postgres { cluster, way, fault: present, .. } => {
                *present = fault;
                match fault {
                    Fault::None => {}
                    Fault::Stopped => cluster.pause(),
                    Fault::Killed => cluster.kill(),
                    Fault::Slow => way.slow_down(SLOWER),
                }
            }
        }
    }

    pub fn end(&mut self) {
        match self {
            Self::Sqlite { holder, .. } => {
                if let Some((ended, thread)) = holder.take() {
                    ended.store(true, Ordering::Relaxed);
                    thread.thread().unpark();
                    thread.join().expect("it only held a lock");
                }
            }
            #[cfg(feature = "postgres")]
            Self::Postgres { cluster, way, fault, .. } => match std::mem::replace(fault, Fault::None) {
                Fault::None => {}
                Fault::Stopped => cluster.resume(),
                Fault::Killed => cluster.start(),
                Fault::Slow => way.slow_down(1),
            },
        }
    }
}

/// Holds SQLite's write lock, which it has, until it must end.
fn hold(conn: &mut SqliteConnection, fault: Fault, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        if fault == Fault::Stopped {
            std::thread::park();
            continue;
        }
        std::thread::sleep(HELD);
        conn.batch_execute("ROLLBACK").expect("it is held");
        std::thread::sleep(FREE);
        conn.batch_execute("BEGIN IMMEDIATE").expect("it comes back");
    }
}
