//! The lock of a PostgreSQL database: an advisory lock on a connection of its own, monitored while the server runs.
//!
//! The connection, and with it the lock, can be lost while the server runs. A thread checks it every two seconds and
//! takes the lock again. That alone would leave a gap, so there is a fence in the database too: a server that takes
//! the lock writes a unique name into `meta` before it reads anything, and every write transaction of a [`Writer`]
//! checks that the name is unchanged, under a row lock that lasts until it commits. After another server has taken the
//! lock, this one can write nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use uuid::Uuid;

use super::url::PgUrl;
use super::{check_ours, connect, place};
use crate::db::error::DbError;
use crate::db::tables::schema::meta;

/// The setting with the name of the server that may write.
const META_WRITER: &str = "writer";

/// Interval at which the lock is checked, and taken again if it is lost.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// How long shutdown waits for a running check; a new connection times out after 5 s.
const END_PATIENCE: Duration = Duration::from_secs(6);

/// State shared by the monitoring thread and the writes.
#[derive(Debug, Default)]
struct Shared {
    /// Another server has the lock: no more writes.
    overtaken: AtomicBool,
    /// How often the lock's connection was lost.
    losses: AtomicU64,
    /// The name that this server wrote into `meta`, if any.
    name: Mutex<Option<String>>,
}

impl Shared {
    fn name(&self) -> Option<String> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The lock, until it is dropped.
#[derive(Debug)]
pub(in crate::db) struct SessionLock {
    shared: Arc<Shared>,
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    /// Closed by the thread when it has ended.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// The right to write under a [`SessionLock`].
#[derive(Clone, Debug)]
pub(in crate::db) struct Writer {
    shared: Arc<Shared>,
    name: String,
}

/// The connection that holds the lock, and its identification at the database server.
struct Session {
    conn: PgConnection,
    key: i64,
    pid: i32,
    since: String,
}

#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Text)]
    since: String,
}

#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

impl SessionLock {
    /// Takes the lock of the schema at `url`, which may be empty.
    ///
    /// # Errors
    /// [`DbError::InUse`] if another server has it.
    pub fn take(url: &str) -> Result<Self, DbError> {
        let url = PgUrl::parse(url)?;
        let session = Session::take(&url)?;
        let shared = Arc::new(Shared::default());
        let (end, told) = channel();
        let (alive, ended) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("db-lock".to_owned())
            .spawn({
                let shared = shared.clone();
                move || {
                    // Moved in here, so that it closes with the thread.
                    let _alive = alive;
                    sidereal_process::crash::fault_point("db-lock");
                    watch(&url, session, &shared, &told);
                }
            })
            .map_err(|error| DbError::Unreachable { database: "lock".to_owned(), why: error.to_string() })?;
        Ok(Self { shared, end: Some(end), ended, thread: Some(thread) })
    }

    /// Makes this server the only one that may write. After this, writes of other servers fail.
    pub fn claim(&self, conn: &mut PgConnection) -> Result<Writer, DbError> {
        let name = Uuid::new_v4().to_string();
        diesel::insert_into(meta::table)
            .values((meta::key.eq(META_WRITER), meta::value.eq(&name)))
            .on_conflict(meta::key)
            .do_update()
            .set(meta::value.eq(&name))
            .execute(conn)?;
        *self.shared.name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
        Ok(Writer { shared: self.shared.clone(), name })
    }

    /// How often the lock's connection was lost.
    pub fn losses(&self) -> u64 {
        self.shared.losses.load(Ordering::Relaxed)
    }
}

impl Drop for SessionLock {
    /// Waits for the thread, so that another server can take the lock when this returns. It does not wait for a
    /// database that does not respond: no other server can take its lock either, and the process must be able to end.
    fn drop(&mut self) {
        self.end = None;
        if matches!(self.ended.recv_timeout(END_PATIENCE), Err(RecvTimeoutError::Timeout)) {
            tracing::warn!("the database does not respond: its lock will end with the connection");
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the database's lock panicked");
        }
    }
}

impl Writer {
    /// Checks, inside a transaction and before it writes, that this server may still write; no other server can take
    /// that right before the transaction ends.
    pub fn check(&self, conn: &mut PgConnection) -> Result<(), DbError> {
        if self.shared.overtaken.load(Ordering::Relaxed) {
            return Err(DbError::Overtaken);
        }
        let name: Option<String> =
            meta::table.filter(meta::key.eq(META_WRITER)).select(meta::value).for_share().first(conn).optional()?;
        if name.as_ref() == Some(&self.name) { Ok(()) } else { Err(DbError::Overtaken) }
    }
}

impl Session {
    fn take(url: &PgUrl) -> Result<Self, DbError> {
        let mut conn = connect(url)?;
        check_ours(&mut conn, url)?;
        let (_, key) = place(&mut conn, url)?;
        let taken: Yes =
            diesel::sql_query("SELECT pg_try_advisory_lock($1) AS yes").bind::<BigInt, _>(key).get_result(&mut conn)?;
        if !taken.yes {
            return Err(DbError::InUse { database: url.to_string() });
        }
        let backend: Backend = diesel::sql_query(
            "SELECT pid, backend_start::text AS since FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
        .get_result(&mut conn)?;
        Ok(Self { conn, key, pid: backend.pid, since: backend.since })
    }

    /// Whether this session has the lock. Behind a pooler that gives each statement another session, it does not.
    fn holds(&mut self) -> QueryResult<bool> {
        let held: Yes = diesel::sql_query(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND ((classid::bigint << 32) | objid::bigint) = $1 AND objsubid = 1) AS yes",
        )
        .bind::<BigInt, _>(self.key)
        .get_result(&mut self.conn)?;
        Ok(held.yes)
    }
}

/// The state of the lock.
enum Held {
    Here(Session),
    /// Its connection was lost.
    Lost(Former),
    /// Another server has taken it, and written.
    Elsewhere,
}

/// Identification of the lost connection at the database server.
struct Former {
    pid: i32,
    since: String,
}

impl Former {
    /// Ends it at the database server, which may not have detected yet that it is dead, and would keep its lock.
    fn end(&self, url: &PgUrl) -> Result<(), DbError> {
        let mut conn = connect(url)?;
        diesel::sql_query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2",
        )
        .bind::<Integer, _>(self.pid)
        .bind::<Text, _>(&self.since)
        .execute(&mut conn)?;
        Ok(())
    }
}

fn watch(url: &PgUrl, session: Session, shared: &Shared, ended: &Receiver<()>) {
    let mut held = Held::Here(session);
    while matches!(ended.recv_timeout(WATCH_INTERVAL), Err(RecvTimeoutError::Timeout)) {
        held = match held {
            Held::Here(mut session) => match session.holds() {
                Ok(true) => Held::Here(session),
                lost => {
                    shared.losses.fetch_add(1, Ordering::Relaxed);
                    let why = lost.map_or_else(|error| url.scrub(&error.to_string()), |_| "it is not held".to_owned());
                    tracing::error!(database = %url, why, "the database's lock is lost: taking it again");
                    retake(url, shared, Former { pid: session.pid, since: session.since })
                }
            },
            Held::Lost(former) => retake(url, shared, former),
            Held::Elsewhere => return,
        };
    }
}

/// Takes the lock again after its connection was lost, unless another server has written since.
fn retake(url: &PgUrl, shared: &Shared, former: Former) -> Held {
    match try_retake(url, shared.name().as_deref(), &former) {
        Ok(session) => {
            shared.overtaken.store(false, Ordering::Relaxed);
            tracing::info!(database = %url, "the database's lock was taken again");
            Held::Here(session)
        }
        Err(error) => {
            let other = matches!(error, DbError::InUse { .. } | DbError::Overtaken);
            if other && !shared.overtaken.swap(true, Ordering::Relaxed) {
                tracing::error!(database = %url, %error, "another server has the database's lock: no more writes");
            } else if !other {
                tracing::warn!(database = %url, %error, "the database's lock cannot be taken: trying again");
            }
            if matches!(error, DbError::Overtaken) { Held::Elsewhere } else { Held::Lost(former) }
        }
    }
}

/// [`DbError::Overtaken`] if another server has written since: the world continued without this one.
fn try_retake(url: &PgUrl, name: Option<&str>, former: &Former) -> Result<Session, DbError> {
    former.end(url)?;
    let mut session = Session::take(url)?;
    if let Some(name) = name {
        let wrote: Option<String> =
            meta::table.filter(meta::key.eq(META_WRITER)).select(meta::value).first(&mut session.conn).optional()?;
        if wrote.as_deref() != Some(name) {
            return Err(DbError::Overtaken);
        }
    }
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server must be able to shut down, whatever its database does.
    #[test]
    fn a_lock_can_be_left_in_the_midst_of_a_look_that_never_ends() {
        let (end, _told) = channel();
        let (alive, ended) = channel::<()>();
        let (free, hangs) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let _alive = alive;
            let _ = hangs.recv();
        });
        drop(SessionLock { shared: Arc::default(), end: Some(end), ended, thread: Some(thread) });
        drop(free);
    }
}
