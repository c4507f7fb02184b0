//! The database's blocking calls. A call waits for a free connection and for the disk: never on the ECS thread.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::Connection;
use diesel::dsl::not;
use diesel::prelude::*;
use diesel::query_dsl::methods;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::Text;
use diesel::upsert::excluded;
use uuid::Uuid;

use super::error::DbError;
use super::rows::{Fence, Sector, StoredEntity};
use super::schema::{accounts, entities, meta, sectors};
use super::sqlite::{self, Conn, Pool, Pooled};
use super::write_behind::Change;

/// How many ids one query asks for: below every backend's limit of parameters.
const IDS_PER_QUERY: usize = 500;

#[diesel::declare_sql_function]
extern "SQL" {
    fn lower(text: Text) -> Text;
}

/// An open database, at this build's version. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
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
    /// Its name, as it was registered; unique in whatever case.
    pub name: String,
    /// The password's hash with its parameters (PHC string); empty for an account that has no password, because
    /// somebody else says who may use it.
    pub password_hash: String,
    /// The ship that the player comes back to.
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
    /// One under a new id.
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

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WriteOutcome {
    /// Changes that lost against a newer fence.
    pub stale: u64,
}

/// What is stored of some sectors, read at one moment.
#[derive(Debug, Default)]
pub(super) struct StoredSectors {
    /// Those that were ever generated.
    pub generated: HashSet<Sector>,
    /// Their entities that live and have no owner.
    pub entities: Vec<StoredEntity>,
    /// The fences of the ids that were asked for besides.
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

type EntityRow = (Vec<u8>, i16, Option<Vec<u8>>, i32, i32, i64, i64, i64, Vec<u8>);

/// A database that is reserved for this process, see [`Database::lock`].
#[derive(Debug)]
pub struct DatabaseLock {
    _file: Option<std::fs::File>,
}

impl Database {
    /// Opens the database at `url` (`sqlite://FILE`, a plain path, or `:memory:`), creates it if there is none, and
    /// brings it to this build's version.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do, see [`DbError`]. A database of a newer build, of another
    /// program, or a file that is none is left untouched.
    pub fn open(url: &str) -> Result<Self, DbError> {
        Ok(Self { pool: sqlite::open(url)? })
    }

    /// Reserves the database at `url` for this process until the lock is dropped. [`Database::open`] does not look at
    /// it: a reader beside a running server is welcome.
    ///
    /// # Errors
    /// [`DbError::InUse`] when another server runs on it; what [`Database::open`] refuses is refused here as well.
    pub fn lock(url: &str) -> Result<DatabaseLock, DbError> {
        Ok(DatabaseLock { _file: sqlite::lock(url)? })
    }

    /// The account of that name, in whatever case.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find_account(&self, name: &str) -> Result<Option<Account>, DbError> {
        let mut conn = self.conn()?;
        let row = accounts::table
            .filter(lower(accounts::name).eq(name.to_ascii_lowercase()))
            .select((accounts::id, accounts::name, accounts::password_hash, accounts::ship_id))
            .first(&mut conn)
            .optional()?;
        row.map(Account::from_row).transpose()
    }

    /// The account of that id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn account_by_id(&self, id: Uuid) -> Result<Option<Account>, DbError> {
        let mut conn = self.conn()?;
        let row = accounts::table
            .filter(accounts::id.eq(id.as_bytes().as_slice()))
            .select((accounts::id, accounts::name, accounts::password_hash, accounts::ship_id))
            .first(&mut conn)
            .optional()?;
        row.map(Account::from_row).transpose()
    }

    /// Makes an account; it is stored when this returns.
    ///
    /// # Errors
    /// [`DbError::NameTaken`], or when the database fails.
    pub fn create_account(&self, name: &str, password_hash: &str) -> Result<Account, DbError> {
        let account = Account::without_ship(name, password_hash);
        self.add_account(&account)?;
        Ok(account)
    }

    /// Makes an account under an id that is given, without a ship; it is stored when this returns.
    ///
    /// # Errors
    /// [`DbError::NameTaken`] when name or id are, or when the database fails.
    pub fn add_account(&self, account: &Account) -> Result<(), DbError> {
        insert_account(&mut *self.conn()?, account)?;
        Ok(())
    }

    /// Links a ship to an account.
    ///
    /// # Errors
    /// [`DbError::NoAccount`], or when the database fails.
    pub fn set_ship(&self, account: Uuid, ship: Uuid) -> Result<(), DbError> {
        if write_ship(&mut *self.conn()?, account, ship)? { Ok(()) } else { Err(DbError::NoAccount(account)) }
    }

    /// A setting of the world.
    ///
    /// # Errors
    /// When the database fails.
    pub fn meta(&self, key: &str) -> Result<Option<String>, DbError> {
        let mut conn = self.conn()?;
        Ok(meta::table.filter(meta::key.eq(key)).select(meta::value).first(&mut conn).optional()?)
    }

    /// Stores a setting of the world.
    ///
    /// # Errors
    /// When the database fails.
    pub fn set_meta(&self, key: &str, value: &str) -> Result<(), DbError> {
        Ok(write_meta(&mut *self.conn()?, key, value)?)
    }

    /// The stored state of an entity that lives.
    ///
    /// # Errors
    /// When the database fails.
    pub fn entity(&self, id: Uuid) -> Result<Option<StoredEntity>, DbError> {
        Ok(self.entity_with_fence(id)?.and_then(|(_, entity)| entity))
    }

    /// The stored fence of an entity, whether it lives or not.
    ///
    /// # Errors
    /// When the database fails.
    pub fn fence(&self, id: Uuid) -> Result<Option<Fence>, DbError> {
        Ok(self.entity_with_fence(id)?.map(|(fence, _)| fence))
    }

    /// The stored fence of an entity, and its state if it lives.
    pub(super) fn entity_with_fence(&self, id: Uuid) -> Result<Option<(Fence, Option<StoredEntity>)>, DbError> {
        let mut conn = self.conn()?;
        let row: Option<(EntityRow, bool)> = entities::table
            .filter(entities::id.eq(id.as_bytes().as_slice()))
            .select((ENTITY_COLUMNS, entities::deleted))
            .first(&mut conn)
            .optional()?;
        let Some((columns, deleted)) = row else {
            return Ok(None);
        };
        let entity = entity_from(columns)?;
        let fence = Fence { deleted, ..entity.fence() };
        Ok(Some((fence, (!deleted).then_some(entity))))
    }

    /// Writes all changes in one transaction, in their order.
    pub(super) fn write<'a>(&self, changes: impl IntoIterator<Item = &'a Change>) -> Result<WriteOutcome, DbError> {
        let mut conn = self.conn()?;
        let now = unix_ms();
        sqlite::write_transaction(&mut conn, |conn| {
            let mut outcome = WriteOutcome::default();
            for change in changes {
                let won = match change {
                    Change::Put(entity) => write_entity(conn, entity, now)?,
                    Change::Tombstone { id, fence } => write_tombstone(conn, *id, *fence, now)?,
                    Change::Generated { sector, tick } => {
                        write_generated(conn, *sector, *tick)?;
                        true
                    }
                    Change::Ship { account, ship } => {
                        if !write_ship(conn, *account, *ship)? {
                            tracing::warn!(%account, %ship, "no such account: its ship was not linked");
                        }
                        true
                    }
                    Change::Meta { key, value } => {
                        write_meta(conn, key, value)?;
                        true
                    }
                };
                outcome.stale += u64::from(!won);
            }
            Ok(outcome)
        })
    }

    /// Reads sectors, and the fences of `ids`, as they were at one moment.
    pub(super) fn load_sectors(&self, wanted: &[Sector], ids: &[Uuid]) -> Result<StoredSectors, DbError> {
        let mut conn = self.conn()?;
        conn.transaction(|conn| {
            let mut stored = StoredSectors::default();
            for &(x, y) in wanted {
                let marks: i64 =
                    sectors::table.filter(sectors::x.eq(x).and(sectors::y.eq(y))).count().get_result(conn)?;
                if marks > 0 {
                    stored.generated.insert((x, y));
                }
                for row in sector_query(x, y).load(conn)? {
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

    pub(super) fn conn(&self) -> Result<Pooled, DbError> {
        self.pool.get().map_err(|source| DbError::Unavailable { wait_ms: sqlite::POOL_WAIT_MS, source })
    }
}

/// The condition is the one of the index `entities_by_sector`, word for word, so that the index is used.
#[diesel::dsl::auto_type(no_type_alias)]
fn sector_query(x: i32, y: i32) -> _ {
    let columns: EntityColumns = ENTITY_COLUMNS;
    entities::table
        .select(columns)
        .filter(entities::sector_x.eq(x))
        .filter(entities::sector_y.eq(y))
        .filter(not(entities::deleted))
        .filter(entities::owner.is_null())
}

fn load_fences(conn: &mut Conn, ids: &[Uuid]) -> Result<HashMap<Uuid, Fence>, DbError> {
    let mut fences = HashMap::with_capacity(ids.len());
    for some in ids.chunks(IDS_PER_QUERY) {
        let rows: Vec<(Vec<u8>, i64, i64, i64, bool)> = entities::table
            .filter(entities::id.eq_any(some.iter().map(|id| id.as_bytes().as_slice())))
            .select((entities::id, entities::epoch, entities::version, entities::tick, entities::deleted))
            .load(conn)?;
        for (id, epoch, version, tick, deleted) in rows {
            fences.insert(uuid_from(&id, "entity id")?, Fence { epoch, version, tick, deleted });
        }
    }
    Ok(fences)
}

/// The order of [`Fence`] in SQL: the new row is not older than the stored one. A macro, for the type has forty lines.
macro_rules! is_not_older {
    () => {
        excluded(entities::epoch).gt(entities::epoch).or(excluded(entities::epoch).eq(entities::epoch).and(
            excluded(entities::version).gt(entities::version).or(excluded(entities::version)
                .eq(entities::version)
                .and(excluded(entities::tick).gt(entities::tick).or(
                    excluded(entities::tick).eq(entities::tick).and(excluded(entities::deleted).ge(entities::deleted)),
                ))),
        ))
    };
}

/// Stores a state unless a newer one is there; tells whether it was stored.
pub(super) fn write_entity(conn: &mut Conn, entity: &StoredEntity, now: i64) -> QueryResult<bool> {
    let owner = entity.owner.as_ref().map(|owner| owner.as_bytes().as_slice());
    let insert = diesel::insert_into(entities::table)
        .values((
            entities::id.eq(entity.id.as_bytes().as_slice()),
            entities::kind.eq(entity.kind),
            entities::owner.eq(owner),
            entities::sector_x.eq(entity.sector.0),
            entities::sector_y.eq(entity.sector.1),
            entities::epoch.eq(entity.epoch),
            entities::version.eq(entity.version),
            entities::tick.eq(entity.tick),
            entities::record.eq(entity.record.as_slice()),
            entities::deleted.eq(false),
            entities::updated_at.eq(now),
        ))
        .on_conflict(entities::id)
        .do_update()
        .set((
            entities::kind.eq(excluded(entities::kind)),
            entities::owner.eq(excluded(entities::owner)),
            entities::sector_x.eq(excluded(entities::sector_x)),
            entities::sector_y.eq(excluded(entities::sector_y)),
            entities::epoch.eq(excluded(entities::epoch)),
            entities::version.eq(excluded(entities::version)),
            entities::tick.eq(excluded(entities::tick)),
            entities::record.eq(excluded(entities::record)),
            entities::deleted.eq(excluded(entities::deleted)),
            entities::updated_at.eq(excluded(entities::updated_at)),
        ));
    Ok(methods::FilterDsl::filter(insert, is_not_older!()).execute(conn)? > 0)
}

/// Marks an entity as gone unless a newer state is there; tells whether it was marked. The row keeps the fence.
pub(super) fn write_tombstone(conn: &mut Conn, id: Uuid, fence: Fence, now: i64) -> QueryResult<bool> {
    const NOTHING: &[u8] = &[];
    let insert = diesel::insert_into(entities::table)
        .values((
            entities::id.eq(id.as_bytes().as_slice()),
            entities::kind.eq(0),
            entities::sector_x.eq(0),
            entities::sector_y.eq(0),
            entities::epoch.eq(fence.epoch),
            entities::version.eq(fence.version),
            entities::tick.eq(fence.tick),
            entities::record.eq(NOTHING),
            entities::deleted.eq(true),
            entities::updated_at.eq(now),
        ))
        .on_conflict(entities::id)
        .do_update()
        .set((
            entities::epoch.eq(excluded(entities::epoch)),
            entities::version.eq(excluded(entities::version)),
            entities::tick.eq(excluded(entities::tick)),
            entities::record.eq(excluded(entities::record)),
            entities::deleted.eq(excluded(entities::deleted)),
            entities::updated_at.eq(excluded(entities::updated_at)),
        ));
    Ok(methods::FilterDsl::filter(insert, is_not_older!()).execute(conn)? > 0)
}

fn write_generated(conn: &mut Conn, sector: Sector, tick: i64) -> QueryResult<()> {
    diesel::insert_into(sectors::table)
        .values((sectors::x.eq(sector.0), sectors::y.eq(sector.1), sectors::generated_at_tick.eq(tick)))
        .on_conflict_do_nothing()
        .execute(conn)?;
    Ok(())
}

/// Tells whether there is such an account.
fn write_ship(conn: &mut Conn, account: Uuid, ship: Uuid) -> QueryResult<bool> {
    let account = accounts::table.filter(accounts::id.eq(account.as_bytes().as_slice()));
    let changed = diesel::update(account).set(accounts::ship_id.eq(ship.as_bytes().as_slice())).execute(conn)?;
    Ok(changed > 0)
}

pub(super) fn write_meta(conn: &mut Conn, key: &str, value: &str) -> QueryResult<()> {
    diesel::insert_into(meta::table)
        .values((meta::key.eq(key), meta::value.eq(value)))
        .on_conflict(meta::key)
        .do_update()
        .set(meta::value.eq(excluded(meta::value)))
        .execute(conn)?;
    Ok(())
}

/// Gives the time that was stored with it, unix ms.
pub(super) fn insert_account(conn: &mut Conn, account: &Account) -> Result<i64, DbError> {
    let now = unix_ms();
    diesel::insert_into(accounts::table)
        .values((
            accounts::id.eq(account.id.as_bytes().as_slice()),
            accounts::name.eq(&account.name),
            accounts::password_hash.eq(&account.password_hash),
            accounts::created_at.eq(now),
        ))
        .execute(conn)
        .map_err(|error| match error {
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

pub(super) fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn a_sector_is_found_by_its_index() {
        let database = Database::open(":memory:").expect("memory is there");
        let query = diesel::debug_query::<diesel::sqlite::Sqlite, _>(&sector_query(1, 2)).to_string();
        let (sql, _binds) = query.split_once(" -- binds").expect("a query with parameters");
        let plan: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}"))
            .load(&mut *database.conn().expect("a connection"))
            .expect("a plan");
        let plan: Vec<String> = plan.into_iter().map(|step| step.detail).collect();
        assert_eq!(plan, ["SEARCH entities USING INDEX entities_by_sector (sector_x=? AND sector_y=?)"]);
    }
}
