//! The player behind the window. A player's sessions are Apps of their own, and a window outlives them: each frame the
//! present session is run with the pilot's intent, and what it has put together to be drawn is taken over.

use crate::{
    FrameDelta, chat::ChatBook, controls::PilotIntent, deals::DealBook, player::Player, session::SessionState,
    view::WorldView,
};
use bevy::prelude::*;
use sidereal_transport::ClientHandle;
use std::sync::{Arc, Mutex, PoisonError};

/// The present session's link, for the one who closes it when the window is gone.
#[derive(Resource, Clone)]
pub(super) struct LastLink(Arc<Mutex<ClientHandle>>);

impl LastLink {
    /// Tells the server that the pilot has left, and gives the handle to wait for.
    pub fn close(&self) -> ClientHandle {
        let handle = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        handle.flush();
        handle.close("the pilot left");
        handle
    }
}

/// Puts a player behind the window; `fly_sessions` runs between the hands and the picture.
pub(super) fn seat(app: &mut App, player: Player) -> LastLink {
    let link = LastLink(Arc::new(Mutex::new(player.handle())));
    app.insert_resource(link.clone()).insert_non_send_resource(player);
    app.add_systems(Update, fly_sessions.before(super::WindowSystems::Look));
    link
}

fn fly_sessions(world: &mut World) {
    let Some(mut player) = world.remove_non_send_resource::<Player>() else { return };
    let session = player.app_mut().world_mut();
    exchange::<PilotIntent>(world, session);
    exchange::<DealBook>(world, session);
    exchange::<ChatBook>(world, session);
    exchange::<WorldView>(world, session);
    let delta_s = world.resource::<FrameDelta>().0;
    player.update(delta_s);
    // It may be another one than before.
    let session = player.app_mut().world_mut();
    exchange::<WorldView>(world, session);
    exchange::<DealBook>(world, session);
    exchange::<ChatBook>(world, session);
    exchange::<PilotIntent>(world, session);
    world.resource_mut::<SessionState>().set_if_neq(player.state());
    *world.resource::<LastLink>().0.lock().unwrap_or_else(PoisonError::into_inner) = player.handle();
    world.insert_non_send_resource(player);
}

/// What both have under the same type: a view is built on in every frame, so it goes back and forth rather than anew.
fn exchange<T: Resource>(window: &mut World, session: &mut World) {
    std::mem::swap(&mut *window.resource_mut::<T>(), &mut *session.resource_mut::<T>());
}
