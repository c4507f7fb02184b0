//! How processes of the mesh start and end, and how long it takes until all others have noticed.

use super::{Cluster, PERFECT, SECRET, start_server, world::FLUSH_TICKS};
use crate::checker::{
    agreement::AGREE_TICKS,
    rebirth::{Ending, Rows},
    scene::Scene,
};
use sidereal_protocol::{
    limits::PROTOCOL_VERSION,
    record::EntityRecord,
    world::{
        ids::{AccountId, EntityId, ShardId},
        tick::TICK_DURATION,
    },
};
use sidereal_server::{
    db::Database, persistence::storage::Storage, run::shutdown::Shutdown, territory::lease_grants::LeaseGrants,
};
use sidereal_shard::{
    config::{Secret, ShardConfig},
    drain::Draining,
    leases::Welcomed,
    link::LinkState,
};
use sidereal_transport::{PeerKind, network::memory::LinkConditions};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

impl Cluster {
    /// Starts another shard; returns its index.
    pub fn start_shard(&mut self) -> usize {
        let (handle, socket) = self.network.connector(PeerKind::Shard, PROTOCOL_VERSION);
        let config =
            ShardConfig { name: format!("shard-{}", self.shards.len() + 1), secret: Secret(SECRET.to_owned()) };
        self.shards.push(Some(sidereal_shard::build_app(&config, handle.clone(), socket)));
        self.shard_handles.push(Some(handle));
        self.shards.len() - 1
    }

    /// Starts the shards of the setup, and waits until they have the blocks around the centre.
    pub(super) fn start_shards(&mut self) {
        for _ in 0..self.setup.shards {
            self.start_shard();
        }
        self.until("the centre is leased", 400, |cluster| {
            cluster.server.world().resource::<LeaseGrants>().home_is_live()
        });
    }

    /// A shard whose session is lost begins another one without any old state.
    pub(super) fn tend_session(&mut self, index: usize) {
        let Some(app) = &self.shards[index] else { return };
        let LinkState::Lost(reason) = app.world().resource::<LinkState>() else { return };
        if app.world().contains_resource::<Draining>() {
            return;
        }
        if !self.setup.sessions_may_fail {
            self.checker.blame(format!("the session of shard {index} is lost: {reason}"));
            return;
        }
        self.failed_sessions += 1;
        self.kill_shard(index);
        self.start_shard();
    }

    /// Gives the link of a living shard its own conditions.
    pub fn set_shard_link(&mut self, index: usize, conditions: LinkConditions) {
        if let Some(handle) = &self.shard_handles[index] {
            self.network.set_conditions_of(handle, conditions);
        }
    }

    /// Ends a shard suddenly. Its link ends with it, and the server detects it at once.
    pub fn kill_shard(&mut self, index: usize) {
        if let Some(mut app) = self.shards[index].take() {
            self.checker.shard_dies(index, &mut app);
        }
        self.shard_handles[index] = None;
    }

    /// Ends a shard suddenly and without a goodbye: the server detects it when its link was silent for the idle
    /// timeout.
    pub fn silence_shard(&mut self, index: usize) {
        if let Some(handle) = &self.shard_handles[index] {
            self.network.cut(handle);
        }
        self.kill_shard(index);
    }

    /// A player's client ends, and the player logs in again at once, under the same index.
    pub fn rejoin(&mut self, player: usize) {
        let name = self.players[player].name.clone();
        self.join(&name);
        self.players.swap_remove(player);
    }

    /// The server's id of a living shard.
    ///
    /// # Panics
    /// When it is not alive, or was not welcomed.
    pub fn shard_id(&self, index: usize) -> ShardId {
        self.shards[index].as_ref().expect("it lives").world().resource::<Welcomed>().shard
    }

    /// Indices of the living shards.
    pub fn living_shards(&self) -> Vec<usize> {
        (0..self.shards.len()).filter(|index| self.shards[*index].is_some()).collect()
    }

    /// Ends the server in an orderly way and starts another one on the same database, with new shards. Players are gone
    /// afterwards: they log in again.
    pub fn restart(&mut self) {
        self.server.world_mut().resource_mut::<Shutdown>().requested = true;
        self.until("the server has ended", 400, |cluster| cluster.server.world().resource::<Shutdown>().complete);
        let store = self.server.world_mut().resource_mut::<Storage>().take();
        store
            .expect("a running server has its store")
            .flush_and_stop(Duration::from_secs(60))
            .expect("a database in memory takes everything");
        self.begin_anew(Ending::Orderly);
    }

    /// Ends the server suddenly: unwritten state is lost, all links are dead. Then starts another one on the same
    /// database, with new shards, and lets the players log in again, under the same indices as before; see
    /// [`Cluster::until_flying`].
    pub fn kill_server(&mut self) {
        // A dropped store writes nothing more.
        drop(self.server.world_mut().resource_mut::<Storage>().take());
        let names: Vec<String> = self.players.iter().map(|player| player.name.clone()).collect();
        self.begin_anew(Ending::Sudden);
        for name in names {
            self.join(&name);
        }
    }

    /// Another server on the same database, with new shards. The content of the database must follow from the world
    /// before.
    fn begin_anew(&mut self, ending: Ending) {
        self.players.clear();
        self.shards.clear();
        self.shard_handles.clear();
        let rows = self.rows();
        if let Err(problem) = self.checker.reborn(ending, rows) {
            panic!("{}: after the server's end ({ending:?}): {problem}", self.context());
        }
        let (server, handle, tickets) = start_server(&self.network, &self.database, self.setup.shards);
        self.server = server;
        self.server_handle = handle;
        self.tickets = tickets;
        self.start_shards();
    }

    /// The rows of all entities that were ever in the world.
    fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        for id in self.checker.known() {
            let Some(row) = self.database.entity(id.0).expect("the database answers") else { continue };
            rows.living.insert(id, EntityRecord::decode(&row.record).expect("the server has stored it"));
        }
        for name in &self.names {
            let account = self.database.find_account(name).expect("the database answers");
            if let Some(account) = account
                && let Some(ship) = account.ship_id
            {
                rows.ships.insert(AccountId(account.id), EntityId(ship));
            }
        }
        rows
    }

    /// Lets the store write, as often in the test's time as it does in real time.
    pub(super) fn write_behind(&mut self) {
        if self.step.is_multiple_of(FLUSH_TICKS)
            && let Some(store) = self.server.world().resource::<Storage>().store()
        {
            store.flush();
        }
    }

    /// Without faults from now on, waits until mirror and shards agree about all entities; see [`AGREE_TICKS`]. For a
    /// shard that died silently its idle timeout is added.
    pub fn quiesce(&mut self) {
        self.network.set_conditions(PERFECT);
        let silence = self.setup.idle_timeout.as_millis() / TICK_DURATION.as_millis();
        self.settle_world(AGREE_TICKS + silence as u64);
        self.network.set_conditions(self.setup.conditions);
    }

    /// Waits until every entity in the mirror has agreed with the shards.
    ///
    /// # Panics
    /// After `limit` ticks, with the entities that do not agree and why.
    pub fn settle_world(&mut self, limit: u64) {
        if let Err(problem) = self.try_settle(limit) {
            panic!("{}: {problem}", self.context());
        }
    }

    /// Waits until every entity in the mirror has agreed with the shards.
    ///
    /// # Errors
    /// The entities that do not agree after `limit` ticks, and why; or another fault.
    pub fn try_settle(&mut self, limit: u64) -> Result<(), String> {
        let mut agreement = self.checker.agreement(&self.server);
        for _ in 0..limit {
            self.try_tick()?;
            if self.checker.agree(&mut agreement, &self.server, &mut self.shards).is_complete() {
                return Ok(());
            }
        }
        Err(format!("mirror and shards do not agree in {limit} ticks: {agreement:#?}"))
    }

    /// The present bodies of the shards.
    pub fn scene(&mut self) -> Scene {
        Scene::of(&mut self.shards)
    }

    /// A number that differs when any simulated state does: two runs of one seed have the same.
    pub fn fingerprint(&mut self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for held in &self.scene().held {
            (held.id, held.shard, held.epoch, held.hull, held.tick).hash(&mut hasher);
            for number in [held.state.position.x, held.state.position.y, held.state.velocity.x, held.state.velocity.y] {
                number.to_bits().hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// The database of the servers.
    pub fn database(&self) -> &Database {
        &self.database
    }
}
