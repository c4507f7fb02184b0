//! What must hold after every step of every test, whatever the test is about.
//!
//! - Ids in the mirror are what came in minus what went out.
//! - At most one shard simulates an entity under the mirror's epoch, and the one that the mirror names
//!   does, give or take the time that messages are under way.
//! - All positions are finite, and every ghost has a living owner, give or take the same.

use bevy::{ecs::query::With, prelude::App};
use sidereal_protocol::ids::EntityId;
use sidereal_server::{
    census::Audit,
    mirror::{Holder, Mirror},
    report::Tally,
};
use sidereal_shard::{
    bodies::{Body, Flight, Owned},
    ghosts::Ghost,
};
use std::collections::{BTreeMap, BTreeSet};

/// How long messages may be under way, ticks: far more than any link of the tests needs with its
/// retransmits, far less than a lasting fault.
pub const PATIENCE_TICKS: u64 = 90;

/// What was seen to be wrong, since when.
#[derive(Debug, Default)]
pub struct Checker {
    suspects: BTreeMap<(EntityId, &'static str), u64>,
}

/// What one shard simulates.
type Owners = BTreeMap<EntityId, Vec<(usize, u64)>>;

impl Checker {
    /// Checks the mesh after step `step`.
    ///
    /// # Errors
    /// What is wrong, with ids.
    pub fn check(&mut self, step: u64, server: &mut App, shards: &mut [Option<App>]) -> Result<(), String> {
        let mut owners = Owners::new();
        let mut ghosts: BTreeSet<EntityId> = BTreeSet::new();
        for (index, app) in shards.iter_mut().enumerate() {
            let Some(app) = app else { continue };
            let world = app.world_mut();
            let mut query = world.query::<(&Body, &Owned, &Flight)>();
            for (body, owned, flight) in query.iter(world) {
                if !flight.0.is_finite() {
                    return Err(format!("{}: not finite: {:?}", body.id, flight.0));
                }
                owners.entry(body.id).or_default().push((index, owned.epoch));
            }
            let mut query = world.query_filtered::<&Body, With<Ghost>>();
            ghosts.extend(query.iter(world).map(|body| body.id));
        }
        let world = server.world();
        let audit = world.resource::<Audit>();
        if audit.lost + audit.doubled > 0 {
            return Err(format!("the server's audit: {audit:?}"));
        }
        let mirror = world.resource::<Mirror>();
        let tally = world.resource::<Tally>();
        let came = tally.entered;
        let went = tally.left;
        if came != went + mirror.len() as u64 {
            return Err(format!("{came} entities entered the mirror, {went} left it, {} are in it", mirror.len()));
        }
        let mut now: BTreeSet<(EntityId, &'static str)> = BTreeSet::new();
        for (id, held) in &owners {
            let epoch = mirror.get(*id).map(|entry| entry.record.epoch);
            let current = held.iter().filter(|(_, epoch_held)| Some(*epoch_held) == epoch).count();
            if current > 1 {
                return Err(format!("{id}: {current} shards simulate epoch {epoch:?}: {held:?}"));
            }
            if held.len() > current {
                now.insert((*id, "a shard simulates it under an old epoch, or after its end"));
            }
        }
        for (id, entry) in mirror.iter() {
            match entry.holder {
                Holder::Shard(_) if !owners.contains_key(&id) => {
                    now.insert((id, "its authority does not simulate it"));
                }
                _ => {}
            }
        }
        for id in &ghosts {
            if mirror.get(*id).is_none() {
                now.insert((*id, "a ghost without an owner"));
            }
        }
        self.suspects.retain(|key, _| now.contains(key));
        for key in now {
            let since = *self.suspects.entry(key).or_insert(step);
            if step - since > PATIENCE_TICKS {
                return Err(format!("{}: {} since step {since}", key.0, key.1));
            }
        }
        Ok(())
    }
}
