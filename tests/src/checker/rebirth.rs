//! After the server's death: compares the database with the world before.

use super::{Checker, LOSS_TICKS, ledger::amounts, population::Asleep};
use sidereal_protocol::{
    record::EntityRecord,
    world::ids::{AccountId, EntityId},
};
use std::collections::{BTreeMap, BTreeSet};

/// How far a stored state may be from the entity's track, units: the rounding of packets, and of the sector's size.
const ROUNDING_UNITS: f64 = 0.2;

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Orderly: everything is stored as it was.
    Orderly,
    /// Suddenly: stored state is at most a second old.
    Sudden,
}

/// The content of the database of a server that has ended.
#[derive(Debug, Default)]
pub struct Rows {
    /// Every entity that lives.
    pub living: BTreeMap<EntityId, EntityRecord>,
    /// The ship of each account.
    pub ships: BTreeMap<AccountId, EntityId>,
}

impl Checker {
    /// All entities that the database may have a row of.
    pub fn known(&self) -> BTreeSet<EntityId> {
        self.population.known()
    }

    /// A server has ended, its shards with it. The content of its database is the world from now on.
    ///
    /// # Errors
    /// Entities that are lost, back after their destruction, or changed.
    pub fn reborn(&mut self, ending: Ending, rows: Rows) -> Result<(), String> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let step = self.step;
        let loss = match ending {
            Ending::Orderly => 0,
            Ending::Sudden => LOSS_TICKS,
        };
        for id in self.population.known() {
            let old = |since: u64| since + loss < step;
            match rows.living.get(&id) {
                None if self.population.living_since(id).is_some_and(old) => {
                    return Err(format!("{id}: lives, but not in the database"));
                }
                Some(_) if self.population.destroyed_at(id).is_some_and(old) => {
                    return Err(format!("{id}: was destroyed, but lives in the database"));
                }
                Some(row) => self.compare(id, row, loss)?,
                None => {}
            }
        }
        for (account, (ship, since)) in self.population.ships() {
            let stored = rows.ships.get(account);
            if since + loss < step && stored != Some(ship) {
                return Err(format!("{account}: flies {ship} since step {since}, in the database {stored:?}"));
            }
        }
        let ships = rows.ships.iter().map(|(account, ship)| (*account, (*ship, step))).collect();
        let asleep = |row: &EntityRecord| Asleep { sector: row.sector, owned: row.owner.is_some() };
        self.population.reborn(rows.living.iter().map(|(id, row)| (*id, asleep(row))).collect(), ships);
        self.ledger.reborn(rows.living.iter().map(|(id, row)| (*id, amounts(row.hull()))).collect());
        self.fences.reborn(rows.living.iter().map(|(id, row)| (*id, row.fence())));
        self.authority = super::Authority::default();
        self.inputs = super::InputLines::default();
        self.tracks.clear();
        Ok(())
    }

    fn compare(&self, id: EntityId, row: &EntityRecord, loss: u64) -> Result<(), String> {
        if self.ledger.had(id, amounts(row.hull()), self.step + LOSS_TICKS - loss) == Some(false) {
            return Err(format!(
                "{id}: {} hull points in the database, {:?} by the books, and not in the last {loss} ticks either",
                row.hull(),
                self.ledger.balance(id)
            ));
        }
        // Entities that were stored with their player have no track any more, or an old one.
        if self.population.living_since(id).is_none() {
            return Ok(());
        }
        let away = self.tracks.nearest(id, row.state.position, loss.max(1));
        if away.is_some_and(|away| away > ROUNDING_UNITS) {
            return Err(format!(
                "{id}: {:?} after tick {} in the database, {away:?} units from wherever it was in the last {loss} ticks: {}",
                row.state.position,
                row.tick,
                self.tracks.way(id, loss)
            ));
        }
        Ok(())
    }
}
