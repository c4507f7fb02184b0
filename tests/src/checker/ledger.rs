//! The ledger of conserved amounts: every entity has its initial amount less what events report.
//!
//! So far these are only hull points. Another amount that a handoff must neither lose nor duplicate gets a
//! [`Quantity`], a place in [`amounts`], and events.

use super::{LOSS_TICKS, scene::Scene};
use sidereal_protocol::{record::EntityKind, rules::cause::ImpactCause, world::ids::EntityId};
use sidereal_server::audit::journal::Event as ServerEvent;
use sidereal_shard::journal::Event as ShardEvent;
use std::collections::{BTreeMap, VecDeque};

/// A conserved quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Quantity {
    /// Hull points.
    Hull = 0,
}

/// Their number.
const QUANTITIES: usize = 1;

/// The amount of each [`Quantity`].
pub type Amounts = [i64; QUANTITIES];

/// The amounts of an entity with these hull points.
pub fn amounts(hull: u16) -> Amounts {
    [i64::from(hull)]
}

/// Why a balance changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It was created.
    Created,
    /// It was loaded from the database.
    Loaded,
    /// It was hit.
    Damage,
    /// Repaired, or exchanged for another hull.
    Bought,
    /// The rest at its destruction: a missile that explodes still has its hull.
    Destroyed,
    /// It was stored in the database.
    Stored,
    /// A process died, with what it had not sent yet.
    LostWithProcess,
}

/// How long impacts are remembered, ticks: no shot lives and no message is in transit that long.
const FELT_TICKS: u64 = 600;

/// The account of one entity.
#[derive(Debug, Clone)]
struct Account {
    kind: Option<EntityKind>,
    balance: Amounts,
    /// Balances of the last second, with the last step of each.
    past: VecDeque<(u64, Amounts)>,
    /// The epoch of the last authority that began.
    epoch: u64,
    /// The shard that simulates it under this epoch, until it ends there.
    shard: Option<usize>,
    /// When the process that simulated it died.
    orphaned: Option<u64>,
}

impl Account {
    fn new(balance: Amounts) -> Self {
        Self { kind: None, balance, past: VecDeque::new(), epoch: 0, shard: None, orphaned: None }
    }

    fn set(&mut self, step: u64, balance: Amounts) {
        if balance != self.balance {
            self.past.push_back((step, self.balance));
            self.balance = balance;
        }
        while self.past.front().is_some_and(|(until, _)| until + 4 * LOSS_TICKS < step) {
            self.past.pop_front();
        }
    }

    /// Whether it had this balance in the [`LOSS_TICKS`] before `step`.
    fn had(&self, balance: Amounts, step: u64) -> bool {
        self.balance == balance || self.past.iter().any(|(until, past)| *past == balance && until + LOSS_TICKS >= step)
    }
}

/// The accounts of all entities.
#[derive(Debug, Default)]
pub struct Ledger {
    open: BTreeMap<EntityId, Account>,
    /// Not in the mirror: in the database, or being loaded.
    stored: BTreeMap<EntityId, Amounts>,
    /// Created by a shard, and not received by the server yet.
    unknown: BTreeMap<EntityId, Amounts>,
    books: BTreeMap<Reason, Amounts>,
    felt: BTreeMap<(EntityId, ImpactCause), u64>,
}

impl Ledger {
    fn post(&mut self, reason: Reason, amount: Amounts, sign: i64) {
        let entry = self.books.entry(reason).or_default();
        for (total, amount) in entry.iter_mut().zip(amount) {
            *total += sign * amount;
        }
    }

    /// The sum that was posted for a reason.
    pub fn posted(&self, reason: Reason, quantity: Quantity) -> i64 {
        self.books.get(&reason).map_or(0, |amounts| amounts[quantity as usize])
    }

    /// Reads an event of the server's journal.
    ///
    /// # Errors
    /// When an entity returns with another balance than it left with.
    pub fn hear_server(&mut self, step: u64, event: &ServerEvent) -> Result<(), String> {
        match *event {
            ServerEvent::Loaded { id, hull, stored } => {
                let balance = amounts(hull);
                let reason = if stored { Reason::Loaded } else { Reason::Created };
                self.take_from_store(id, balance)?;
                self.post(reason, balance, 1);
                self.open.insert(id, Account::new(balance));
            }
            ServerEvent::Created { id, hull } => {
                let balance = amounts(hull);
                match self.unknown.remove(&id) {
                    Some(made) if made != balance => {
                        return Err(format!("{id}: made with {made:?}, the server received {balance:?}"));
                    }
                    Some(_) => {}
                    // Its creator has died since, or the message was faster than the shard's own step.
                    None => {
                        self.post(Reason::Created, balance, 1);
                        self.open.insert(id, Account::new(balance));
                    }
                }
            }
            ServerEvent::ShipMade { .. } | ServerEvent::TakenOver { .. } => {}
            ServerEvent::Boarded { id, hull, .. } => {
                let balance = amounts(hull);
                self.take_from_store(id, balance)?;
                self.stored.insert(id, balance);
            }
            ServerEvent::Admitted { id, hull } => {
                let balance = amounts(hull);
                self.take_from_store(id, balance)?;
                self.post(Reason::Loaded, balance, 1);
                let epoch = self.open.get(&id).map_or(0, |account| account.epoch);
                self.open.insert(id, Account { epoch, ..Account::new(balance) });
            }
            ServerEvent::Destroyed { id, .. } => {
                if let Some(account) = self.open.remove(&id) {
                    let whole = account.balance != Amounts::default();
                    if whole && account.kind != Some(EntityKind::Missile) && account.orphaned.is_none() {
                        return Err(format!("{id}: destroyed in step {step} with {:?} left", account.balance));
                    }
                    self.post(Reason::Destroyed, account.balance, -1);
                }
            }
            ServerEvent::SetAside { id, hull } => {
                if let Some(account) = self.open.remove(&id) {
                    // The last hits in its shard may have been lost with the shard.
                    let balance = amounts(hull);
                    if account.balance != balance && account.orphaned.is_none() {
                        return Err(format!("{id}: set aside with {balance:?}, it had {:?}", account.balance));
                    }
                    self.post(Reason::Stored, account.balance, -1);
                    self.stored.insert(id, balance);
                }
            }
            ServerEvent::Stored { id, hull } => {
                if let Some(account) = self.open.remove(&id) {
                    let balance = amounts(hull);
                    if account.balance != balance {
                        return Err(format!("{id}: stored with {balance:?}, it had {:?}", account.balance));
                    }
                    self.post(Reason::Stored, balance, -1);
                    self.stored.insert(id, balance);
                }
            }
        }
        Ok(())
    }

    fn take_from_store(&mut self, id: EntityId, balance: Amounts) -> Result<(), String> {
        match self.stored.remove(&id) {
            Some(stored) if stored != balance => {
                Err(format!("{id}: comes with {balance:?}, went into the database with {stored:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Reads an event of a shard's journal.
    ///
    /// # Errors
    /// When it does not follow from what was before.
    pub fn hear_shard(&mut self, step: u64, shard: usize, event: &ShardEvent) -> Result<(), String> {
        match *event {
            ShardEvent::Began { id, kind, epoch, hull, .. } => self.begin(step, shard, id, kind, epoch, amounts(hull)),
            ShardEvent::Ended { id, epoch, hull } => {
                let Some(account) = self.open.get_mut(&id) else { return Ok(()) };
                if (account.epoch, account.shard) != (epoch, Some(shard)) {
                    return Ok(());
                }
                account.shard = None;
                if account.balance != amounts(hull) {
                    return Err(format!(
                        "{id}: ends at shard {shard} with {:?}, it had {:?}",
                        amounts(hull),
                        account.balance
                    ));
                }
                Ok(())
            }
            ShardEvent::Remade { id, epoch, before, hull } => {
                let Some(account) = self.open.get_mut(&id) else { return Ok(()) };
                if (account.epoch, account.shard) != (epoch, Some(shard)) || account.balance != amounts(before) {
                    return Err(format!(
                        "{id}: remade at shard {shard} under epoch {epoch} with {:?}, the books say {account:?}",
                        amounts(before)
                    ));
                }
                account.set(step, amounts(hull));
                self.post(Reason::Bought, amounts(before), -1);
                self.post(Reason::Bought, amounts(hull), 1);
                Ok(())
            }
            ShardEvent::Damaged { id, epoch, before, amount, cause } => {
                self.feel(step, id, cause)?;
                let Some(account) = self.open.get_mut(&id) else { return Ok(()) };
                if epoch < account.epoch {
                    return Err(format!(
                        "{id}: hit at shard {shard} under epoch {epoch}, epoch {} has begun: the damage is lost",
                        account.epoch
                    ));
                }
                if amounts(before) != account.balance {
                    return Err(format!("{id}: hit with {:?} left, it had {:?}", amounts(before), account.balance));
                }
                account.set(step, amounts(before - amount));
                self.post(Reason::Damage, amounts(amount), -1);
                Ok(())
            }
            ShardEvent::Inputs { .. } => Ok(()),
        }
    }

    fn begin(
        &mut self,
        step: u64,
        shard: usize,
        id: EntityId,
        kind: EntityKind,
        epoch: u64,
        balance: Amounts,
    ) -> Result<(), String> {
        let Some(account) = self.open.get_mut(&id) else {
            self.post(Reason::Created, balance, 1);
            self.unknown.insert(id, balance);
            let account = Account { kind: Some(kind), epoch, shard: Some(shard), ..Account::new(balance) };
            self.open.insert(id, account);
            return Ok(());
        };
        let orphaned = account.orphaned.take();
        (account.kind, account.epoch, account.shard) = (Some(kind), epoch, Some(shard));
        if account.balance == balance {
            return Ok(());
        }
        let before = account.balance;
        let excused = orphaned.is_some_and(|died| account.had(balance, died));
        if !excused {
            return Err(format!(
                "{id}: begins at shard {shard} under epoch {epoch} with {balance:?}, it had {before:?}"
            ));
        }
        account.set(step, balance);
        self.post(Reason::LostWithProcess, balance, 1);
        self.post(Reason::LostWithProcess, before, -1);
        Ok(())
    }

    fn feel(&mut self, step: u64, id: EntityId, cause: ImpactCause) -> Result<(), String> {
        // Two bodies may collide as often as they like.
        if cause.spec().is_witnessed() {
            return Ok(());
        }
        match self.felt.insert((id, cause), step) {
            Some(before) => Err(format!("{id}: feels a {cause} again, it did in step {before}")),
            None => Ok(()),
        }
    }

    /// A shard has ended: what it had not sent yet is lost.
    pub fn shard_dies(&mut self, step: u64, shard: usize) {
        for account in self.open.values_mut() {
            if account.shard == Some(shard) {
                account.shard = None;
                account.orphaned = Some(step);
            }
        }
    }

    /// Compares the simulated entities with the ledger, each and all together.
    ///
    /// # Errors
    /// The entity with another balance than the ledger.
    pub fn check(&mut self, step: u64, scene: &Scene) -> Result<(), String> {
        let mut sum = Amounts::default();
        let mut held_accounts = 0;
        for held in &scene.held {
            let Some(account) = self.open.get(&held.id) else { continue };
            if account.epoch != held.epoch {
                continue;
            }
            let balance = amounts(held.hull);
            if account.balance != balance {
                return Err(format!(
                    "{}: has {balance:?} at shard {}, {:?} by the books",
                    held.id, held.shard, account.balance
                ));
            }
            held_accounts += 1;
            add(&mut sum, balance);
        }
        // Between two owners no shard simulates it.
        for (_, account) in self.open.iter().filter(|(_, account)| account.shard.is_none()) {
            held_accounts += 1;
            add(&mut sum, account.balance);
        }
        let mut booked = Amounts::default();
        for posted in self.books.values() {
            add(&mut booked, *posted);
        }
        if sum != booked || held_accounts != self.open.len() {
            return Err(format!(
                "the world holds {sum:?} in {held_accounts}, by the books {booked:?} in {}: {:?}",
                self.open.len(),
                self.books
            ));
        }
        if step.is_multiple_of(FELT_TICKS) {
            self.felt.retain(|_, felt| *felt + FELT_TICKS >= step);
        }
        Ok(())
    }

    /// Whether an entity had this balance in the [`LOSS_TICKS`] before `step`; `None` if it was not there.
    pub fn had(&self, id: EntityId, balance: Amounts, step: u64) -> Option<bool> {
        match (self.open.get(&id), self.stored.get(&id)) {
            (Some(account), _) => Some(account.had(balance, account.orphaned.unwrap_or(step))),
            (None, Some(stored)) => Some(*stored == balance),
            (None, None) => None,
        }
    }

    /// The balance of an entity.
    pub fn balance(&self, id: EntityId) -> Option<Amounts> {
        self.open.get(&id).map(|account| account.balance).or_else(|| self.stored.get(&id).copied())
    }

    /// The server has died: all entities are in the database.
    pub fn reborn(&mut self, rows: BTreeMap<EntityId, Amounts>) {
        *self = Self { stored: rows, ..Self::default() };
    }
}

fn add(sum: &mut Amounts, amount: Amounts) {
    for (sum, amount) in sum.iter_mut().zip(amount) {
        *sum += amount;
    }
}
