//! The invariants that must hold after every step of every test.
//!
//! - [`authority`]: at most one shard simulates an entity under the mirror's epoch, and it is the one that the mirror
//!   names, give or take messages in transit. All positions are finite. Every ghost has a living owner.
//! - [`population`]: the ids in the mirror are those that were created and loaded, without those that were destroyed
//!   and stored. A player's ship is never replaced by another while it lives.
//! - [`ledger`]: every conserved amount of every entity is its initial value less what events report, across handoffs,
//!   and so is the sum over the world. An impact applies once.
//! - [`fences`]: epochs and versions never fall, and no epoch is issued twice.
//! - [`inputs`]: every input is applied exactly once, in order.
//!
//! After the death of the server, [`Checker::reborn`] compares the database with the world before. How long mirror and
//! shards may take to agree without faults is in [`agreement`].
//!
//! The journals of server and shards (their feature `journal`) are read in the order of causes: after each update of an
//! App, by [`Checker::hear_server`] and [`Checker::hear_shard`].

pub mod agreement;
pub mod authority;
pub mod fences;
pub mod inputs;
pub mod ledger;
pub mod population;
pub mod rebirth;
pub mod scene;
pub mod tracks;

use agreement::Agreement;
use authority::Authority;
use bevy::prelude::App;
use fences::Fences;
use inputs::{InputLines, PilotSide};
use ledger::Ledger;
use population::Population;
use scene::Scene;
use sidereal_server::{
    audit::journal::{Event as ServerEvent, Journal as ServerJournal},
    replication::mirror::Mirror,
};
use sidereal_shard::journal::{Event as ShardEvent, Journal as ShardJournal};
use tracks::Tracks;

/// How old the state of a dead process may be, ticks: a second, and the time of a message that was lost in transit.
pub const LOSS_TICKS: u64 = 36;

/// The invariants, and their state.
#[derive(Debug, Default)]
pub struct Checker {
    step: u64,
    authority: Authority,
    population: Population,
    ledger: Ledger,
    fences: Fences,
    inputs: InputLines,
    tracks: Tracks,
    /// The first fault that was found between two checks.
    fault: Option<String>,
}

impl Checker {
    /// Step `step` begins.
    pub fn begin_step(&mut self, step: u64) {
        self.step = step;
    }

    /// Reads the server's journal; after each of its updates.
    pub fn hear_server(&mut self, server: &mut App) {
        let Some(events) = server.world_mut().resource_mut::<ServerJournal>().take() else {
            self.fault.get_or_insert("the server's journal was not read in time".to_owned());
            return;
        };
        for event in events {
            let heard = self.hear_server_event(&event);
            self.keep(heard);
        }
    }

    fn hear_server_event(&mut self, event: &ServerEvent) -> Result<(), String> {
        self.population.receive(self.step, event)?;
        self.ledger.hear_server(self.step, event)?;
        if let ServerEvent::Boarded { id, boarding, .. } | ServerEvent::TakenOver { id, boarding } = event {
            self.inputs.board(*id, *boarding);
        }
        Ok(())
    }

    /// Reads a shard's journal; after each of its updates.
    pub fn hear_shard(&mut self, index: usize, shard: &mut App) {
        let Some(events) = shard.world_mut().resource_mut::<ShardJournal>().take() else {
            self.fault.get_or_insert(format!("the journal of shard {index} was not read in time"));
            return;
        };
        for event in events {
            let heard = self.hear_shard_event(index, &event);
            self.keep(heard);
        }
        // Not only once a step: it may release an entity in the same step in which it moved it.
        self.tracks.take(&Scene::held_by(index, shard));
    }

    fn hear_shard_event(&mut self, index: usize, event: &ShardEvent) -> Result<(), String> {
        self.fences.receive(index, event)?;
        self.ledger.hear_shard(self.step, index, event)?;
        self.inputs.receive(event)
    }

    /// Records another fault.
    pub fn blame(&mut self, problem: String) {
        self.fault.get_or_insert(problem);
    }

    fn keep(&mut self, heard: Result<(), String>) {
        if let Err(problem) = heard {
            self.fault.get_or_insert(problem);
        }
    }

    /// A shard's process is about to end: its events until now count.
    pub fn shard_dies(&mut self, index: usize, shard: &mut App) {
        self.hear_shard(index, shard);
        self.authority.shard_dies(self.step, shard);
        self.fences.shard_dies(index);
        self.ledger.shard_dies(self.step, index);
    }

    /// Checks the mesh after a step.
    ///
    /// # Errors
    /// The fault, with ids.
    pub fn check<'a>(
        &mut self,
        server: &mut App,
        shards: &mut [Option<App>],
        pilots: impl Iterator<Item = PilotSide<'a>>,
    ) -> Result<(), String> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let scene = Scene::of(shards);
        let mirror = server.world().resource::<Mirror>();
        self.authority.check(self.step, server, &scene)?;
        self.population.check(server)?;
        self.fences.check(mirror, &scene)?;
        self.ledger.check(self.step, &scene)?;
        for pilot in pilots {
            self.inputs.check(pilot)?;
        }
        Ok(())
    }

    /// Starts a comparison of mirror and shards.
    pub fn agreement(&self, server: &App) -> Agreement {
        Agreement::new(server.world().resource::<Mirror>())
    }

    /// Removes the entities that agree now. Returns the remaining ones.
    pub fn agree<'a>(&self, agreement: &'a mut Agreement, server: &App, shards: &mut [Option<App>]) -> &'a Agreement {
        agreement.look(server, &Scene::of(shards), &self.tracks);
        agreement
    }

    /// Everything that is conserved, by the events.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
