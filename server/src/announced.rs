//! naia's entities: how the server makes them, and how it takes them away.
//!
//! Runs in the server. naia 0.25 learns that an entity is gone from a table that it fills once in an update
//! (`change_detection.rs`, `on_despawn`). An entity that is despawned in the update that spawned it is not in that table:
//! naia would keep it for ever, in its room and in the queue of scope changes, which every update walks. Such an entity is
//! therefore withdrawn from naia first.

use bevy::{
    ecs::system::EntityCommands,
    platform::collections::HashSet,
    prelude::{Commands, Entity, ResMut, Resource},
};
use naia_bevy_server::{CommandsExt, Server};

/// The entities that were spawned since naia last looked. Bounded by one update's.
#[derive(Debug, Default, Resource)]
pub struct Announced {
    unseen: HashSet<Entity>,
}

impl Announced {
    /// Spawns an entity that naia replicates. It is in no room yet.
    pub fn spawn<'a>(&mut self, commands: &'a mut Commands<'_, '_>, naia: &mut Server<'_>) -> EntityCommands<'a> {
        let entity = commands.spawn_empty().enable_replication(naia).id();
        self.unseen.insert(entity);
        commands.entity(entity)
    }

    /// Despawns an entity that [`Announced::spawn`] has made; peers that see it no longer do.
    pub fn despawn(&mut self, entity: Entity, commands: &mut Commands<'_, '_>, naia: &mut Server<'_>) {
        if self.unseen.remove(&entity) {
            commands.entity(entity).disable_replication(naia);
        }
        commands.entity(entity).despawn();
    }
}

/// naia has looked. Runs after it has sent its packets.
pub fn mark_seen(mut announced: ResMut<'_, Announced>) {
    announced.unseen.clear();
}
