//! Checks a database: ids, records, fences, accounts, and the ledger's sums.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use diesel::prelude::*;
use serde::Serialize;
use sidereal_protocol::{
    record::EntityRecord,
    rules::economy::ore_of_rock,
    world::kind::{EntityKind, Ore},
};
use uuid::Uuid;

use super::rows::{AccountRow, BalanceRow, CarriedRow, EntityRow, MetaRow, PostingRow};
use crate::db::backend::conn::Conn;
use crate::db::database::Database;
use crate::db::error::DbError;
use crate::db::ledger::holdings::{Commodity, Holder, HolderKind};
use crate::db::tables::rows::{META_SEED, META_TICK};
use crate::db::tables::schema::{accounts, balances, carried, deals, entities, meta, postings};
use crate::db::writer::prune::{carried_together, is_only_moved_by_deals};

/// Maximum number of problems that are listed; further ones are only counted.
const TOLD: usize = 100;

/// Maximum lead of an entity's tick over the stored tick, ticks: both are stored by the same flushes, so only a kill
/// can separate them.
const TICKS_AHEAD: i64 = 300;

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The problems, each in one line with its ids; at most a hundred.
    pub problems: Vec<String>,
    /// The number of problems.
    pub problem_count: u64,
    /// Rows checked.
    pub rows: u64,
    /// Total ore and credits of all holders that may not owe.
    pub held: BTreeMap<String, i64>,
}

impl CheckReport {
    /// Whether there are no problems.
    pub fn is_clean(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, problem: impl FnOnce() -> String) {
        self.problem_count += 1;
        if self.problems.len() < TOLD {
            self.problems.push(problem());
        }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        if self.problem_count > self.problems.len() as u64 {
            writeln!(f, "... and {} more", self.problem_count - self.problems.len() as u64)?;
        }
        writeln!(f, "{} rows, {} problems", self.rows, self.problem_count)
    }
}

/// An entity's properties that the ledger check needs.
struct Known {
    alive: bool,
    /// Its capacity for ore.
    room: i64,
}

/// Checks the whole database, in one snapshot.
///
/// # Errors
/// When the database fails. Problems in the stored rows are in the report instead.
pub fn check(database: &Database) -> Result<CheckReport, DbError> {
    database.read_transaction(|conn| {
        let mut report = CheckReport::default();
        let tick = check_settings(conn, &mut report)?;
        let (names, ships) = check_accounts(conn, &mut report)?;
        let known = check_entities(conn, &mut report, &names, &ships, tick)?;
        let mut moved = check_deals(conn, &mut report, &names)?;
        check_carried(conn, &mut report, &mut moved)?;
        check_balances(conn, &mut report, &known, &moved)?;
        Ok(report)
    })
}

fn check_settings(conn: &mut Conn<'_>, report: &mut CheckReport) -> QueryResult<Option<i64>> {
    let mut tick = None;
    for_each_row!(conn, meta::table.select(MetaRow::as_select()), |row: MetaRow| {
        let MetaRow { key, value } = row;
        report.rows += 1;
        match key.as_str() {
            META_TICK => {
                tick = value.parse::<i64>().ok().filter(|tick| *tick >= 0);
                if tick.is_none() {
                    report.problem(|| format!("the world's tick ({value:?}) is not a number"));
                }
            }
            META_SEED if value.parse::<u64>().is_err() => {
                report.problem(|| format!("the world's seed ({value:?}) is not a number"));
            }
            _ => {}
        }
    });
    Ok(tick)
}

/// All accounts, and the owner of each ship.
type Accounts = (HashSet<Vec<u8>>, HashMap<Vec<u8>, Vec<u8>>);

fn check_accounts(conn: &mut Conn<'_>, report: &mut CheckReport) -> QueryResult<Accounts> {
    let mut ids = HashSet::new();
    let mut ships: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for_each_row!(conn, accounts::table.select(AccountRow::as_select()), |row: AccountRow| {
        report.rows += 1;
        if let Some(ship) = row.ship_id
            && let Some(other) = ships.insert(ship.clone(), row.id.clone())
        {
            report.problem(|| format!("ship {} has two accounts: {} and {}", name(&ship), name(&other), name(&row.id)));
        }
        ids.insert(row.id);
    });
    Ok((ids, ships))
}

fn check_entities(
    conn: &mut Conn<'_>,
    report: &mut CheckReport,
    accounts: &HashSet<Vec<u8>>,
    ships: &HashMap<Vec<u8>, Vec<u8>>,
    tick: Option<i64>,
) -> QueryResult<HashMap<Uuid, Known>> {
    let mut known = HashMap::new();
    for_each_row!(conn, entities::table.select(EntityRow::as_select()), |row: EntityRow| {
        report.rows += 1;
        if row.epoch < 0 || row.version < 0 || row.tick < 0 {
            let fence = (row.epoch, row.version, row.tick);
            report.problem(|| format!("entity {}: its fence {fence:?} is below zero", name(&row.id)));
        }
        if let Some(tick) = tick
            && row.tick > tick + TICKS_AHEAD
        {
            report.problem(|| format!("entity {}: its tick {} is after the world's {tick}", name(&row.id), row.tick));
        }
        let room = if row.deleted {
            if !row.record.is_empty() {
                report.problem(|| format!("entity {} is gone and has a record", name(&row.id)));
            }
            0
        } else {
            check_living(report, &row, accounts, ships)
        };
        if let Ok(id) = Uuid::from_slice(&row.id) {
            known.insert(id, Known { alive: !row.deleted, room });
        }
    });
    Ok(known)
}

/// Checks a living entity; returns its capacity for ore.
fn check_living(
    report: &mut CheckReport,
    row: &EntityRow,
    accounts: &HashSet<Vec<u8>>,
    ships: &HashMap<Vec<u8>, Vec<u8>>,
) -> i64 {
    let record = match EntityRecord::decode(&row.record) {
        Ok(record) => record,
        Err(problem) => {
            report.problem(|| format!("entity {}: its record cannot be read ({problem})", name(&row.id)));
            return 0;
        }
    };
    let owner = record.owner.map(|owner| owner.0.as_bytes().to_vec());
    let fence = (record.epoch as i64, record.version as i64);
    for (field, fits) in [
        ("id", record.id.0.as_bytes().as_slice() == row.id),
        ("kind", i16::from(record.kind as u8) == row.kind),
        ("owner", owner == row.owner),
        ("sector", (record.sector.x, record.sector.y) == (row.sector_x, row.sector_y)),
        ("fence", fence == (row.epoch, row.version)),
        ("tick", record.tick.0 as i64 == row.tick),
    ] {
        if !fits {
            report.problem(|| format!("entity {}: row and record do not agree on its {field}", name(&row.id)));
        }
    }
    if let Some(owner) = &row.owner {
        if !accounts.contains(owner) {
            report.problem(|| format!("entity {} belongs to no account ({})", name(&row.id), name(owner)));
        }
        if record.kind == EntityKind::Ship && ships.get(&row.id).is_some_and(|account| account != owner) {
            report.problem(|| format!("ship {} is linked to another account than its owner", name(&row.id)));
        }
    }
    match record.kind.spec().ore {
        Ore::Deposit => i64::from(ore_of_rock(record.radius())),
        Ore::Hold => record.hull_kind().map_or(0, |hull| i64::from(hull.hold())),
        Ore::Cargo => i64::MAX,
        Ore::None => 0,
    }
}

/// The sums of all deals by holder and commodity.
type Moved = HashMap<(i16, Vec<u8>, Vec<u8>, i16), i64>;

fn check_deals(conn: &mut Conn<'_>, report: &mut CheckReport, accounts: &HashSet<Vec<u8>>) -> QueryResult<Moved> {
    let mut keys: HashSet<Vec<u8>> = HashSet::new();
    for_each_row!(conn, deals::table.select((deals::id, deals::account)), |row: (Vec<u8>, Vec<u8>)| {
        let (id, account) = row;
        report.rows += 1;
        if !accounts.contains(&account) {
            report.problem(|| format!("deal {} was made by no account ({})", name(&id), name(&account)));
        }
        keys.insert(id);
    });
    let mut moved = Moved::new();
    let mut sums: HashMap<(Vec<u8>, i16), i64> = HashMap::new();
    for_each_row!(conn, postings::table.select(PostingRow::as_select()), |row: PostingRow| {
        report.rows += 1;
        if !keys.contains(&row.deal) {
            report.problem(|| format!("a line belongs to no deal ({})", name(&row.deal)));
        }
        *sums.entry((row.deal, row.commodity)).or_default() += row.delta;
        *moved.entry((row.kind, row.id, row.place, row.commodity)).or_default() += row.delta;
    });
    for ((deal, commodity), sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
        report.problem(|| format!("deal {}: its lines of commodity {commodity} add up to {sum}", name(&deal)));
    }
    Ok(moved)
}

/// Adds the sums of removed deals to those of the others.
fn check_carried(conn: &mut Conn<'_>, report: &mut CheckReport, moved: &mut Moved) -> QueryResult<()> {
    let mut sums: BTreeMap<i16, i64> = BTreeMap::new();
    for_each_row!(conn, carried::table.select(CarriedRow::as_select()), |row: CarriedRow| {
        report.rows += 1;
        *sums.entry(row.commodity).or_default() += row.amount;
        match Holder::from_row(row.kind, &row.id, &row.place) {
            Some(holder) if is_only_moved_by_deals(holder.kind) => {
                *moved.entry((row.kind, row.id, row.place, row.commodity)).or_default() += row.amount;
            }
            Some(holder) if holder == carried_together() => {}
            _ => report.problem(|| format!("what is carried over of a holder of kind {} is none's", row.kind)),
        }
    });
    for (commodity, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
        report.problem(|| format!("what is carried over of commodity {commodity} adds up to {sum}"));
    }
    Ok(())
}

fn check_balances(
    conn: &mut Conn<'_>,
    report: &mut CheckReport,
    known: &HashMap<Uuid, Known>,
    moved: &Moved,
) -> QueryResult<()> {
    let mut sums: BTreeMap<Commodity, i64> = BTreeMap::new();
    let mut unseen: HashSet<_> = moved.keys().collect();
    for_each_row!(conn, balances::table.select(BalanceRow::as_select()), |row: BalanceRow| {
        report.rows += 1;
        let holder = Holder::from_row(row.kind, &row.id, &row.place);
        let (Some(holder), Some(commodity)) = (holder, Commodity::from_i16(row.commodity)) else {
            report.problem(|| format!("a balance of kind {} and commodity {} is unknown", row.kind, row.commodity));
            continue;
        };
        let told = || format!("{:?} {} has {} of {commodity:?}", holder.kind, holder.id, row.amount);
        *sums.entry(commodity).or_default() += row.amount;
        if !holder.may_owe() {
            *report.held.entry(format!("{:?} {commodity:?}", holder.kind).to_lowercase()).or_default() += row.amount;
            if row.amount < 0 {
                report.problem(|| format!("{}: below zero", told()));
            }
        }
        let key = (row.kind, row.id.clone(), row.place.clone(), row.commodity);
        unseen.remove(&key);
        match holder.kind {
            kind if is_only_moved_by_deals(kind) => {
                let sum = moved.get(&key).copied().unwrap_or(0);
                if sum != row.amount {
                    report.problem(|| format!("{}, but its deals add up to {sum}", told()));
                }
            }
            HolderKind::Entity if row.amount != 0 => match known.get(&holder.id) {
                Some(entity) if !entity.alive => report.problem(|| format!("{}, and is gone", told())),
                Some(entity) if row.amount > entity.room => {
                    report.problem(|| format!("{}, more than {}", told(), entity.room));
                }
                Some(_) => {}
                None => report.problem(|| format!("{}, and is nowhere", told())),
            },
            _ => {}
        }
    });
    // An entity long gone has neither a row nor a balance any more; its deals are removed first, but shortly before.
    let is_forgotten = |kind: i16, id: &[u8]| {
        kind == HolderKind::Entity as i16 && Uuid::from_slice(id).is_ok_and(|id| !known.contains_key(&id))
    };
    for (kind, id, _, commodity) in unseen.into_iter().filter(|(kind, id, ..)| !is_forgotten(*kind, id)) {
        report.problem(|| {
            format!("a deal moved commodity {commodity} of a holder of kind {kind} ({}) that has no balance", name(id))
        });
    }
    for (commodity, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
        report.problem(|| format!("all balances of {commodity:?} add up to {sum}"));
    }
    Ok(())
}

fn name(id: &[u8]) -> String {
    Uuid::from_slice(id).map_or_else(|_| crate::accounts::hex::encode(id), |id| id.to_string())
}
