//! naia's entities: how the server makes them, and how it takes them away.
//!
//! Runs in the server. naia 0.25 keeps something of every entity that is simply despawned:
//!
//! - It learns that an entity is gone from a table that it fills once in an update (`change_detection.rs`, `on_despawn`). An
//!   entity that is despawned in the update that spawned it is not in that table: naia would keep it for ever, in its room
//!   and in the queue of scope changes, which every update walks. Such an entity is withdrawn from naia first.
//! - It tracks the changes of each component for each peer that sees it, and forgets that only when the component is removed
//!   (`user_diff_handler.rs`): some 250 bytes for every entity that a peer has ever seen. So the components go first, and the
//!   entity in the next update. What a peer no longer saw by then stays tracked until its session ends.

use bevy::{
    ecs::system::EntityCommands,
    platform::collections::HashSet,
    prelude::{Bundle, Commands, Entity, ResMut, Resource},
};
use naia_bevy_server::{CommandsExt, Server};

/// What naia has yet to learn. Bounded by what comes and goes in one update.
#[derive(Debug, Default, Resource)]
pub struct Announced {
    /// Spawned since naia last looked.
    unseen: HashSet<Entity>,
    /// Without their components, which naia has not noticed yet.
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

    /// Takes away an entity that [`Announced::spawn`] has made, whose replicated components are among `C`. Peers that see
    /// it no longer do.
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

/// Despawns what lost its components before. Runs first in an update.
pub fn despawn_leaving(mut announced: ResMut<'_, Announced>, mut commands: Commands<'_, '_>) {
    for entity in announced.leaving.drain(..) {
        commands.entity(entity).despawn();
    }
}

/// naia has looked. Runs after it has sent its packets.
pub fn mark_seen(mut announced: ResMut<'_, Announced>) {
    let Announced { unseen, bare, leaving } = &mut *announced;
    unseen.clear();
    leaving.append(bare);
}
