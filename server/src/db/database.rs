//! The database's blocking calls. A call waits for a free connection and for the disk, so it never runs on the ECS
//! thread.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::dsl::not;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::Text;
use uuid::Uuid;

use crate::db::backend::conn::{Conn, Pool, with_conn};
#[cfg(feature = "postgres")]
use crate::db::backend::postgres;
use crate::db::backend::sqlite;
use crate::db::error::DbError;
use crate::db::tables::rows::{Fence, Sector, StoredEntity};
use crate::db::tables::schema::{accounts, entities, meta, sectors};
use crate::db::tables::text;
use crate::db::writer::batch::{self, WriteOutcome, write_meta, write_ship};
use crate::db::writer::write_behind::Change;

/// Maximum number of ids in one query: below every backend's limit of parameters.
const IDS_PER_QUERY: usize = 500;

#[diesel::declare_sql_function]
extern "SQL" {
    fn lower(text: Text) -> Text;
}

/// An open database, at this build's version. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    /// The exclusive right to write, which a server can lose to another one.
    #[cfg(feature = "postgres")]
    writer: Option<postgres::Writer>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

/// A player's account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The account.
    pub id: Uuid,
    /// The name as registered; unique without regard to case.
    pub name: String,
    /// The password's hash with its parameters (PHC string); empty for an account of an external identity, which has
    /// no password.
    pub password_hash: String,
    /// The ship to which the player returns.
    pub ship_id: Option<Uuid>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("ship_id", &self.ship_id)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// A new account, with a new id.
    pub(super) fn without_ship(name: &str, password_hash: &str) -> Self {
        Self { id: Uuid::now_v7(), name: name.to_owned(), password_hash: password_hash.to_owned(), ship_id: None }
    }

    pub(super) fn from_row(
        (id, name, password_hash, ship_id): (Vec<u8>, String, String, Option<Vec<u8>>),
    ) -> Result<Self, DbError> {
        Ok(Self {
            id: uuid_from(&id, "account id")?,
            name,
            password_hash,
            ship_id: ship_id.map(|id| uuid_from(&id, "ship id")).transpose()?,
        })
    }
}

/// The stored content of some sectors, from one snapshot.
#[derive(Debug, Default)]
pub(super) struct StoredSectors {
    /// The sectors that have been generated.
    pub generated: HashSet<Sector>,
    /// Their living entities without an owner.
    pub entities: Vec<StoredEntity>,
    /// The fences of the ids that were requested with them.
    pub fences: HashMap<Uuid, Fence>,
}

type EntityColumns = (
    entities::id,
    entities::kind,
    entities::owner,
    entities::sector_x,
    entities::sector_y,
    entities::epoch,
    entities::version,
    entities::tick,
    entities::record,
);

const ENTITY_COLUMNS: EntityColumns = (
    entities::id,
    entities::kind,
    entities::owner,
    entities::sector_x,
    entities::sector_y,
    entities::epoch,
    entities::version,
    entities::tick,
    entities::record,
);

type AccountColumns = (accounts::id, accounts::name, accounts::password_hash, accounts::ship_id);

/// What [`Account::from_row`] takes.
pub(super) const ACCOUNT_COLUMNS: AccountColumns =
    (accounts::id, accounts::name, accounts::password_hash, accounts::ship_id);

type EntityRow = (Vec<u8>, i16, Option<Vec<u8>>, i32, i32, i64, i64, i64, Vec<u8>);

/// An exclusive lock on a database, see [`Database::lock`].
#[derive(Debug)]
pub struct DatabaseLock(LockKind);

#[derive(Debug)]
enum LockKind {
    /// A file that is locked while it is open; none for a database in memory.
    File { _file: Option<std::fs::File> },
    #[cfg(feature = "postgres")]
    Session(postgres::SessionLock),
}

impl DatabaseLock {
    /// How often the lock was lost and taken again.
    pub fn losses(&self) -> u64 {
        match &self.0 {
            LockKind::File { .. } => 0,
            #[cfg(feature = "postgres")]
            LockKind::Session(lock) => lock.losses(),
        }
    }
}

impl Database {
    /// Opens the database at `url` (`sqlite://FILE`, a plain path, `:memory:`, or `postgres://...` if built in) and
    /// migrates it to this build's version. SQLite's file is created if it does not exist.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do, see [`DbError`]. A database of a newer build, of another
    /// program, or a file that is not a database stays unchanged.
    pub fn open(url: &str) -> Result<Self, DbError> {
        let pool = match is_postgres(url) {
            false => Pool::Sqlite(sqlite::open(url)?),
            #[cfg(feature = "postgres")]
            true => Pool::Postgres(postgres::open(url)?),
            #[cfg(not(feature = "postgres"))]
            true => return Err(DbError::NoPostgres),
        };
        Ok(Self {
            pool,
            #[cfg(feature = "postgres")]
            writer: None,
        })
    }

    /// Locks the database at `url` for this process until the lock is dropped. [`Database::open`] does not check the
    /// lock, so a reader may run beside a server.
    ///
    /// # Errors
    /// [`DbError::InUse`] if another server runs on it; otherwise as [`Database::open`].
    pub fn lock(url: &str) -> Result<DatabaseLock, DbError> {
        let kind = match is_postgres(url) {
            false => LockKind::File { _file: sqlite::lock(url)? },
            #[cfg(feature = "postgres")]
            true => LockKind::Session(postgres::SessionLock::take(url)?),
            #[cfg(not(feature = "postgres"))]
            true => return Err(DbError::NoPostgres),
        };
        Ok(DatabaseLock(kind))
    }

    /// Makes this database's writes depend on its lock: once another server has taken it, which can happen where a
    /// lock depends on a connection, every write fails with [`DbError::Overtaken`]. Call it before reading anything on
    /// which this server will build.
    ///
    /// # Errors
    /// When the database fails.
    pub fn guarded_by(self, lock: &DatabaseLock) -> Result<Self, DbError> {
        match &lock.0 {
            LockKind::File { .. } => Ok(self),
            #[cfg(feature = "postgres")]
            LockKind::Session(lock) => {
                let writer = self.with(|conn| match conn {
                    Conn::Sqlite(_) => Ok(None),
                    Conn::Postgres(conn) => lock.claim(conn).map(Some),
                })?;
                Ok(Self { writer, ..self })
            }
        }
    }

    /// The account of that name; ASCII case is ignored.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find_account(&self, name: &str) -> Result<Option<Account>, DbError> {
        if text::check_indexed("name", name).is_err() {
            return Ok(None);
        }
        let query = accounts::table.filter(lower(accounts::name).eq(name.to_ascii_lowercase())).select(ACCOUNT_COLUMNS);
        let row = self.with(|conn| Ok(with_conn!(conn, |c| query.first(c)).optional()?))?;
        row.map(Account::from_row).transpose()
    }

    /// The account of that id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn account_by_id(&self, id: Uuid) -> Result<Option<Account>, DbError> {
        let query = accounts::table.filter(accounts::id.eq(id.as_bytes().as_slice())).select(ACCOUNT_COLUMNS);
        let row = self.with(|conn| Ok(with_conn!(conn, |c| query.first(c)).optional()?))?;
        row.map(Account::from_row).transpose()
    }

    /// Makes an account; it is stored when this returns.
    ///
    /// # Errors
    /// [`DbError::NameTaken`], a text that cannot be stored ([`DbError::NulInText`], [`DbError::TextTooLong`]), or when
    /// the database fails.
    pub fn create_account(&self, name: &str, password_hash: &str) -> Result<Account, DbError> {
        let account = Account::without_ship(name, password_hash);
        self.add_account(&account)?;
        Ok(account)
    }

    /// Stores an account with a given id, without a ship; it is stored when this returns.
    ///
    /// # Errors
    /// [`DbError::NameTaken`] if the name or the id is taken; otherwise as [`create_account`](Self::create_account).
    pub fn add_account(&self, account: &Account) -> Result<(), DbError> {
        self.write_transaction(|conn| insert_account(conn, account).map(drop))
    }

    /// Links a ship to an account.
    ///
    /// # Errors
    /// [`DbError::NoAccount`], or when the database fails.
    pub fn set_ship(&self, account: Uuid, ship: Uuid) -> Result<(), DbError> {
        self.write_transaction(
            |conn| if write_ship(conn, account, ship)? { Ok(()) } else { Err(DbError::NoAccount(account)) },
        )
    }

    /// A setting of the world.
    ///
    /// # Errors
    /// When the database fails.
    pub fn meta(&self, key: &str) -> Result<Option<String>, DbError> {
        if text::check_indexed("key", key).is_err() {
            return Ok(None);
        }
        let query = meta::table.filter(meta::key.eq(key)).select(meta::value);
        self.with(|conn| Ok(with_conn!(conn, |c| query.first(c)).optional()?))
    }

    /// Stores a setting of the world.
    ///
    /// # Errors
    /// [`DbError::NulInText`], [`DbError::TextTooLong`], or when the database fails.
    pub fn set_meta(&self, key: &str, value: &str) -> Result<(), DbError> {
        text::check_indexed("key", key)?;
        text::check("value", value)?;
        self.write_transaction(|conn| Ok(write_meta(conn, key, value)?))
    }

    /// The stored state of a living entity.
    ///
    /// # Errors
    /// When the database fails.
    pub fn entity(&self, id: Uuid) -> Result<Option<StoredEntity>, DbError> {
        Ok(self.entity_with_fence(id)?.and_then(|(_, entity)| entity))
    }

    /// The stored fence of an entity, living or not.
    ///
    /// # Errors
    /// When the database fails.
    pub fn fence(&self, id: Uuid) -> Result<Option<Fence>, DbError> {
        Ok(self.entity_with_fence(id)?.map(|(fence, _)| fence))
    }

    /// The stored fence of an entity, and its state if it is living.
    pub(super) fn entity_with_fence(&self, id: Uuid) -> Result<Option<(Fence, Option<StoredEntity>)>, DbError> {
        let query = entities::table
            .filter(entities::id.eq(id.as_bytes().as_slice()))
            .select((ENTITY_COLUMNS, entities::deleted));
        let row: Option<(EntityRow, bool)> = self.with(|conn| Ok(with_conn!(conn, |c| query.first(c)).optional()?))?;
        let Some((columns, deleted)) = row else {
            return Ok(None);
        };
        let entity = entity_from(columns)?;
        let fence = Fence { deleted, ..entity.fence() };
        Ok(Some((fence, (!deleted).then_some(entity))))
    }

    /// Writes all changes in one transaction.
    pub(super) fn write<'a>(&self, changes: impl IntoIterator<Item = &'a Change>) -> Result<WriteOutcome, DbError> {
        let now = unix_ms();
        self.write_transaction(|conn| Ok(batch::write(conn, changes, now)?))
    }

    /// Reads sectors, and the fences of `ids`, from one snapshot.
    pub(super) fn load_sectors(&self, wanted: &[Sector], ids: &[Uuid]) -> Result<StoredSectors, DbError> {
        let runs = runs(wanted);
        self.pool.get()?.conn().read_transaction(|conn| {
            let mut stored = StoredSectors::default();
            for (x, ys) in runs {
                let marks = sectors::table
                    .filter(sectors::x.eq(x).and(sectors::y.between(*ys.start(), *ys.end())))
                    .select(sectors::y);
                let marked: Vec<i32> = with_conn!(conn, |c| marks.load(c))?;
                stored.generated.extend(marked.into_iter().map(|y| (x, y)));
                let rows: Vec<EntityRow> = with_conn!(conn, |c| sector_query(x, *ys.start(), *ys.end()).load(c))?;
                for row in rows {
                    stored.entities.push(entity_from(row)?);
                }
            }
            stored.fences = load_fences(conn, ids)?;
            Ok(stored)
        })
    }

    /// The ship that is linked to an account.
    pub(super) fn ship_of(&self, account: Uuid) -> Result<Option<Uuid>, DbError> {
        Ok(self.account_by_id(account)?.and_then(|account| account.ship_id))
    }

    /// Runs `work` as one transaction whose queries all see the same snapshot.
    pub(super) fn read_transaction<T, E: From<DbError> + From<DieselError>>(
        &self,
        work: impl FnOnce(&mut Conn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.pool.get()?.conn().read_transaction(work)
    }

    /// Runs queries on a free connection, without a transaction.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Conn<'_>) -> Result<T, DbError>) -> Result<T, DbError> {
        work(&mut self.pool.get()?.conn())
    }

    /// Runs `work` as one transaction that may write. All writes go through here: a server that has lost the database
    /// to another one fails with [`DbError::Overtaken`].
    pub(super) fn write_transaction<T>(
        &self,
        work: impl FnOnce(&mut Conn<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.write_transaction_or(work)
    }

    /// [`write_transaction`](Self::write_transaction) for work with errors of its own.
    pub(super) fn write_transaction_or<T, E: From<DbError> + From<DieselError>>(
        &self,
        work: impl FnOnce(&mut Conn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.pool.get()?.conn().write_transaction(|conn| {
            #[cfg(feature = "postgres")]
            if let (Some(writer), Conn::Postgres(conn)) = (&self.writer, &mut *conn) {
                writer.check(conn)?;
            }
            work(conn)
        })
    }
}

/// Whether a URL is meant for PostgreSQL, even if it is malformed.
fn is_postgres(url: &str) -> bool {
    url.split_once(':')
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("postgres") || scheme.eq_ignore_ascii_case("postgresql"))
}

/// Groups sectors into runs, each in one column of the world: a block is four runs, so there are few queries.
fn runs(sectors: &[Sector]) -> Vec<(i32, RangeInclusive<i32>)> {
    let sorted: BTreeSet<Sector> = sectors.iter().copied().collect();
    let mut runs: Vec<(i32, RangeInclusive<i32>)> = Vec::new();
    for (x, y) in sorted {
        match runs.last_mut() {
            Some((column, ys)) if *column == x && ys.end().checked_add(1) == Some(y) => *ys = *ys.start()..=y,
            _ => runs.push((x, y..=y)),
        }
    }
    runs
}

/// The condition must match that of the index `entities_by_sector` exactly, so that the index is used.
#[diesel::dsl::auto_type(no_type_alias)]
fn sector_query(x: i32, first: i32, last: i32) -> _ {
    let columns: EntityColumns = ENTITY_COLUMNS;
    entities::table
        .select(columns)
        .filter(entities::sector_x.eq(x))
        .filter(entities::sector_y.between(first, last))
        .filter(not(entities::deleted))
        .filter(entities::owner.is_null())
}

fn load_fences(conn: &mut Conn<'_>, ids: &[Uuid]) -> Result<HashMap<Uuid, Fence>, DbError> {
    let mut fences = HashMap::with_capacity(ids.len());
    for some in ids.chunks(IDS_PER_QUERY) {
        let query = entities::table
            .filter(entities::id.eq_any(some.iter().map(|id| id.as_bytes().as_slice())))
            .select((entities::id, entities::epoch, entities::version, entities::tick, entities::deleted));
        let rows: Vec<(Vec<u8>, i64, i64, i64, bool)> = with_conn!(conn, |c| query.load(c))?;
        for (id, epoch, version, tick, deleted) in rows {
            fences.insert(uuid_from(&id, "entity id")?, Fence { epoch, version, tick, deleted });
        }
    }
    Ok(fences)
}

/// Inserts an account and returns the stored time, Unix ms.
pub(super) fn insert_account(conn: &mut Conn<'_>, account: &Account) -> Result<i64, DbError> {
    text::check_indexed("name", &account.name)?;
    text::check("password hash", &account.password_hash)?;
    let now = unix_ms();
    let insert = diesel::insert_into(accounts::table).values((
        accounts::id.eq(account.id.as_bytes().as_slice()),
        accounts::name.eq(&account.name),
        accounts::password_hash.eq(&account.password_hash),
        accounts::created_at.eq(now),
    ));
    with_conn!(conn, |c| insert.execute(c)).map_err(|error| match error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => DbError::NameTaken,
        other => other.into(),
    })?;
    Ok(now)
}

fn entity_from((id, kind, owner, x, y, epoch, version, tick, record): EntityRow) -> Result<StoredEntity, DbError> {
    Ok(StoredEntity {
        id: uuid_from(&id, "entity id")?,
        kind,
        owner: owner.map(|id| uuid_from(&id, "owner id")).transpose()?,
        sector: (x, y),
        epoch,
        version,
        tick,
        record,
    })
}

pub(super) fn uuid_from(bytes: &[u8], what: &'static str) -> Result<Uuid, DbError> {
    Uuid::from_slice(bytes).map_err(|_| DbError::Damaged { what })
}

/// The system clock's Unix time, milliseconds.
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sector_is_in_one_run() {
        let block: Vec<Sector> = (0..4).flat_map(|y| (0..4).map(move |x| (x, y))).collect();
        assert_eq!(runs(&block), (0..4).map(|x| (x, 0..=3)).collect::<Vec<_>>());
        let scattered = [(1, i32::MAX), (1, i32::MIN), (2, i32::MIN), (1, 5), (1, 6), (1, 5), (1, 8)];
        let expected =
            [(1, i32::MIN..=i32::MIN), (1, 5..=6), (1, 8..=8), (1, i32::MAX..=i32::MAX), (2, i32::MIN..=i32::MIN)];
        assert_eq!(runs(&scattered), expected);
        assert!(runs(&[]).is_empty());
    }

    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn a_sector_is_found_by_its_index() {
        let database = Database::open(":memory:").expect("memory is there");
        let query = diesel::debug_query::<diesel::sqlite::Sqlite, _>(&sector_query(1, 2, 5)).to_string();
        let (sql, _binds) = query.split_once(" -- binds").expect("a query with parameters");
        let plan: Vec<Step> = database
            .with(|conn| match conn {
                Conn::Sqlite(conn) => Ok(diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(*conn)?),
                #[cfg(feature = "postgres")]
                Conn::Postgres(_) => unreachable!("it is in memory"),
            })
            .expect("a plan");
        let plan: Vec<String> = plan.into_iter().map(|step| step.detail).collect();
        assert_eq!(plan, ["SEARCH entities USING INDEX entities_by_sector (sector_x=? AND sector_y>? AND sector_y<?)"]);
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_sector_is_found_by_its_index_in_postgres_too() {
        use diesel::sql_types::Integer;

        #[derive(QueryableByName)]
        struct Line {
            #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
            line: String,
        }

        let Some(cluster) = crate::db::cluster::PgCluster::shared() else { return };
        let database = Database::open(&cluster.new_schema()).expect("it opens");
        let query = diesel::debug_query::<diesel::pg::Pg, _>(&sector_query(1, 2, 5)).to_string();
        let (sql, _binds) = query.split_once(" -- binds").expect("a query with parameters");
        let plan: Vec<Line> = database
            .with(|conn| match conn {
                Conn::Postgres(conn) => {
                    // PostgreSQL scans an empty table whatever its indexes.
                    diesel::sql_query("SET enable_seqscan = off").execute(*conn)?;
                    let explain = diesel::sql_query(format!("EXPLAIN {sql}"));
                    Ok(explain.bind::<Integer, _>(1).bind::<Integer, _>(2).bind::<Integer, _>(5).load(*conn)?)
                }
                Conn::Sqlite(_) => unreachable!("it is PostgreSQL's"),
            })
            .expect("a plan");
        let plan: String = plan.into_iter().map(|step| step.line + "\n").collect();
        assert!(plan.contains("entities_by_sector") && !plan.contains("Filter"), "{plan}");
    }
}
