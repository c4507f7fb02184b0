//! naia's entities: how the server spawns and despawns them.
//!
//! Runs in the server. naia 0.25 keeps state of every entity that is simply despawned:
//!
//! - It detects despawns by a table that it fills once per update (`change_detection.rs`, `on_despawn`). An entity
//!   that is despawned in the update that spawned it is not in that table: naia would keep it forever, in its room and
//!   in the queue of scope changes, which every update walks. Such an entity is withdrawn from naia first.
//! - It tracks the changes of each component for each peer that has it in scope, and stops only when the component is
//!   removed (`user_diff_handler.rs`): some 250 bytes for every entity that was ever in a peer's scope. So the
//!   components are removed first, and the entity in the next update. What had left a peer's scope by then stays
//!   tracked until its session ends.

use bevy::{
    ecs::system::EntityCommands,
    platform::collections::HashSet,
    prelude::{Bundle, Commands, Entity, ResMut, Resource},
};
use naia_bevy_server::{CommandsExt, Server};

/// State that naia has not processed yet. Bounded by the spawns and despawns of one update.
#[derive(Debug, Default, Resource)]
pub struct Announced {
    /// Spawned since naia's last update.
    unseen: HashSet<Entity>,
    /// Without their components; naia has not processed that yet.
    bare: Vec<Entity>,
    /// To be despawned.
    leaving: Vec<Entity>,
}

impl Announced {
    /// Spawns an entity that naia replicates. It is in no room yet.
    pub fn spawn<'a>(&mut self, commands: &'a mut Commands<'_, '_>, naia: &mut Server<'_>) -> EntityCommands<'a> {
        let entity = commands.spawn_empty().enable_replication(naia).id();
        self.unseen.insert(entity);
        commands.entity(entity)
    }

    /// Despawns an entity made by [`Announced::spawn`] whose replicated components are among `C`. It leaves all peers'
    /// scopes.
    pub fn despawn<C: Bundle>(&mut self, entity: Entity, commands: &mut Commands<'_, '_>, naia: &mut Server<'_>) {
        if self.unseen.remove(&entity) {
            commands.entity(entity).disable_replication(naia);
            commands.entity(entity).despawn();
        } else {
            commands.entity(entity).remove::<C>();
            self.bare.push(entity);
        }
    }
}

/// Despawns entities whose components were removed before. Runs first in an update.
pub fn despawn_leaving(mut announced: ResMut<'_, Announced>, mut commands: Commands<'_, '_>) {
    for entity in announced.leaving.drain(..) {
        commands.entity(entity).despawn();
    }
}

/// naia has processed the changes. Runs after it has sent its packets.
pub fn mark_seen(mut announced: ResMut<'_, Announced>) {
    let Announced { unseen, bare, leaving } = &mut *announced;
    unseen.clear();
    leaving.append(bare);
}
