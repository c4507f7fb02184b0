//! What must hold after every step of every test, whatever the test is about.
//!
//! - [`authority`]: at most one shard simulates an entity under the mirror's epoch, and the one that the mirror names
//!   does, give or take the time that messages are under way. All positions are finite. Every ghost has a living owner.
//! - [`population`]: the ids in the mirror are those that were created and loaded, without those that were destroyed
//!   and stored away. A player's ship is never replaced by another while it lives.
//! - [`ledger`]: what every entity has of what is conserved is what it came with and what events say that went,
//!   across handoffs, and so is the sum over the world. An impact is felt once.
//! - [`fences`]: epochs and versions never fall, and no epoch is given out twice.
//! - [`inputs`]: every input is applied exactly once, in order.
//!
//! When the server has died, [`Checker::reborn`] holds what the database has against what there was. How long mirror
//! and shards may take to agree when nothing goes wrong any more is in [`agreement`].
//!
//! The diaries of server and shards (their feature `journal`) are read in the order of causes: after each update of
//! an App, by [`Checker::hear_server`] and [`Checker::hear_shard`].

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

/// How far back the state may go that a dead process leaves, ticks: a second, and the time of a message that was lost
/// on its way.
pub const LOSS_TICKS: u64 = 36;

/// The invariants, and what is remembered for them.
#[derive(Debug, Default)]
pub struct Checker {
    step: u64,
    authority: Authority,
    population: Population,
    ledger: Ledger,
    fences: Fences,
    inputs: InputLines,
    tracks: Tracks,
    /// The first thing that was seen to be wrong between two checks.
    fault: Option<String>,
}

impl Checker {
    /// Step `step` begins.
    pub fn begin_step(&mut self, step: u64) {
        self.step = step;
    }

    /// Reads the server's diary; after each of its updates.
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
        self.population.hear(self.step, event)?;
        self.ledger.hear_server(self.step, event)?;
        if let ServerEvent::Boarded { id, boarding, .. } | ServerEvent::TakenOver { id, boarding } = event {
            self.inputs.board(*id, *boarding);
        }
        Ok(())
    }

    /// Reads a shard's diary; after each of its updates.
    pub fn hear_shard(&mut self, index: usize, shard: &mut App) {
        let Some(events) = shard.world_mut().resource_mut::<ShardJournal>().take() else {
            self.fault.get_or_insert(format!("the journal of shard {index} was not read in time"));
            return;
        };
        for event in events {
            let heard = self.hear_shard_event(index, &event);
            self.keep(heard);
        }
        // Not only once a step: it may release somebody in the same step in which it moved them.
        self.tracks.take(&Scene::held_by(index, shard));
    }

    fn hear_shard_event(&mut self, index: usize, event: &ShardEvent) -> Result<(), String> {
        self.fences.hear(index, event)?;
        self.ledger.hear_shard(self.step, index, event)?;
        self.inputs.hear(event)
    }

    /// Something else is wrong.
    pub fn blame(&mut self, problem: String) {
        self.fault.get_or_insert(problem);
    }

    fn keep(&mut self, heard: Result<(), String>) {
        if let Err(problem) = heard {
            self.fault.get_or_insert(problem);
        }
    }

    /// A shard's process is about to be no more: what it did until now counts.
    pub fn shard_dies(&mut self, index: usize, shard: &mut App) {
        self.hear_shard(index, shard);
        self.authority.shard_dies(self.step, shard);
        self.fences.shard_dies(index);
        self.ledger.shard_dies(self.step, index);
    }

    /// Checks the mesh after a step.
    ///
    /// # Errors
    /// What is wrong, with ids.
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

    /// What mirror and shards must come to agree on, from now on.
    pub fn agreement(&self, server: &App) -> Agreement {
        Agreement::new(server.world().resource::<Mirror>())
    }

    /// Crosses out what agrees now. Returns what is left.
    pub fn agree<'a>(&self, agreement: &'a mut Agreement, server: &App, shards: &mut [Option<App>]) -> &'a Agreement {
        agreement.look(server, &Scene::of(shards), &self.tracks);
        agreement
    }

    /// Everything that is conserved, as the events have it.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
