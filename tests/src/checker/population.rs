//! The population of the world: entities that entered and did not leave are there, and no others.

use bevy::prelude::App;
use sidereal_protocol::world::{
    ids::{AccountId, EntityId},
    sector::SectorId,
};
use sidereal_server::{audit::journal::Event, replication::mirror::Mirror, territory::lease_grants::LeaseGrants};
use std::collections::{BTreeMap, BTreeSet};

/// A row of the database that was not loaded yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asleep {
    /// Its sector.
    pub sector: SectorId,
    /// Whether it is loaded with its player, not with its sector.
    pub owned: bool,
}

/// The population, by the server's journal.
#[derive(Debug, Default)]
pub struct Population {
    /// In the mirror, since which step.
    living: BTreeMap<EntityId, u64>,
    /// With a player on board, but not in the mirror yet.
    waiting: BTreeSet<EntityId>,
    /// Destroyed, in which step.
    destroyed: BTreeMap<EntityId, u64>,
    /// Set aside because shards crash on them: in the database.
    aside: BTreeSet<EntityId>,
    /// In the database of a server that died, and not loaded since.
    asleep: BTreeMap<EntityId, Asleep>,
    /// The ship of each account, since which step.
    ships: BTreeMap<AccountId, (EntityId, u64)>,
    /// Ships that were ever in the mirror.
    launched: BTreeSet<EntityId>,
}

impl Population {
    /// Reads an event of the server's journal.
    ///
    /// # Errors
    /// When it is impossible.
    pub fn receive(&mut self, step: u64, event: &Event) -> Result<(), String> {
        match *event {
            Event::Loaded { id, stored, .. } => {
                let known = self.asleep.remove(&id).is_some();
                if !stored && known {
                    return Err(format!("{id}: generated anew though it is in the database"));
                }
                self.enter(step, id, "loaded")
            }
            Event::Created { id, .. } => self.enter(step, id, "created"),
            Event::ShipMade { account, id } => {
                if let Some((old, since)) = self.ships.insert(account, (id, step))
                    && self.launched.contains(&old)
                    && !self.destroyed.contains_key(&old)
                    && !self.aside.contains(&old)
                {
                    return Err(format!("{account}: a new ship {id}, though {old} of step {since} was not destroyed"));
                }
                Ok(())
            }
            Event::Boarded { account, id, .. } => {
                self.asleep.remove(&id);
                let (ship, since) = *self.ships.entry(account).or_insert((id, step));
                if ship != id {
                    return Err(format!("{account}: boards {id}, but has {ship} since step {since}"));
                }
                if self.living.contains_key(&id) {
                    return Err(format!("{id}: boarded from the database while it is in the world"));
                }
                self.waiting.insert(id);
                Ok(())
            }
            Event::TakenOver { id, .. } => match self.living.contains_key(&id) {
                true => Ok(()),
                false => Err(format!("{id}: taken over, but it is not in the world")),
            },
            Event::Admitted { id, .. } => {
                if !self.waiting.remove(&id) {
                    return Err(format!("{id}: admitted without a player aboard"));
                }
                self.launched.insert(id);
                self.enter(step, id, "admitted")
            }
            Event::Destroyed { id, .. } => {
                self.destroyed.insert(id, step);
                self.leave(id, "destroyed")
            }
            Event::Stored { id, .. } => self.leave(id, "stored"),
            Event::SetAside { id, .. } => {
                self.aside.insert(id);
                self.leave(id, "set aside")
            }
        }
    }

    fn enter(&mut self, step: u64, id: EntityId, how: &str) -> Result<(), String> {
        self.aside.remove(&id);
        if let Some(since) = self.living.insert(id, step) {
            return Err(format!("{id}: {how}, but it is in the world since step {since}"));
        }
        match self.destroyed.get(&id) {
            Some(when) => Err(format!("{id}: {how}, but it was destroyed in step {when}")),
            None => Ok(()),
        }
    }

    fn leave(&mut self, id: EntityId, how: &str) -> Result<(), String> {
        match self.living.remove(&id) {
            Some(_) => Ok(()),
            None => Err(format!("{id}: {how}, but it is not in the world")),
        }
    }

    /// Compares the mirror with it.
    ///
    /// # Errors
    /// The missing and the surplus entities.
    pub fn check(&self, server: &App) -> Result<(), String> {
        let mirror = server.world().resource::<Mirror>();
        if !mirror.iter().map(|(id, _)| id).eq(self.living.keys().copied()) {
            let missing: Vec<_> = self.living.iter().filter(|(id, _)| mirror.get(**id).is_none()).collect();
            let surplus: Vec<_> = mirror.iter().map(|(id, _)| id).filter(|id| !self.living.contains_key(id)).collect();
            return Err(format!(
                "missing in the mirror (id, in the world since step): {missing:?}; too much: {surplus:?}"
            ));
        }
        if !self.asleep.is_empty() {
            let leases = &server.world().resource::<LeaseGrants>().table;
            let forgotten = |asleep: &Asleep| !asleep.owned && leases.holder(asleep.sector).is_some();
            if let Some((id, asleep)) = self.asleep.iter().find(|(_, asleep)| forgotten(asleep)) {
                return Err(format!(
                    "{id}: in the database, its sector is simulated, but it was not loaded: {asleep:?}"
                ));
            }
        }
        Ok(())
    }

    /// All entities that the database may have a row of.
    pub fn known(&self) -> BTreeSet<EntityId> {
        let mut known: BTreeSet<EntityId> = self.living.keys().copied().collect();
        known.extend(self.waiting.iter().chain(self.destroyed.keys()).chain(self.asleep.keys()));
        known.extend(self.launched.iter().chain(&self.aside));
        known
    }

    /// Since which step an entity is in the world.
    pub fn living_since(&self, id: EntityId) -> Option<u64> {
        self.living.get(&id).copied()
    }

    /// In which step an entity was destroyed.
    pub fn destroyed_at(&self, id: EntityId) -> Option<u64> {
        self.destroyed.get(&id).copied()
    }

    /// The ship of each account, since which step.
    pub fn ships(&self) -> &BTreeMap<AccountId, (EntityId, u64)> {
        &self.ships
    }

    /// The number of entities in the world.
    pub fn len(&self) -> usize {
        self.living.len()
    }

    /// Whether the world is empty.
    pub fn is_empty(&self) -> bool {
        self.living.is_empty()
    }

    /// The server has died: the population is that of the database.
    pub fn reborn(&mut self, rows: BTreeMap<EntityId, Asleep>, ships: BTreeMap<AccountId, (EntityId, u64)>) {
        let forgotten = std::mem::take(&mut self.destroyed);
        self.destroyed = forgotten.into_iter().filter(|(id, _)| !rows.contains_key(id)).collect();
        self.launched.retain(|id| rows.contains_key(id) || self.destroyed.contains_key(id));
        self.living.clear();
        self.waiting.clear();
        self.aside.clear();
        self.asleep = rows;
        self.ships = ships;
    }
}
