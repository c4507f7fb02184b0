//! The player behind the window. A player's sessions are Apps of their own, and a window outlives them: each frame the
//! present session is run with the pilot's intent, and what it has put together to be drawn is lent to the window
//! until the frame's end. So whoever runs the player between frames (a page that is hidden) finds it whole.

use crate::{
    FrameDelta, chat::ChatBook, controls::PilotIntent, deals::DealBook, player::Player, session::SessionState,
    view::WorldView,
};
use bevy::prelude::*;
use sidereal_transport::ClientHandle;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

/// The present session's link, for the one who closes it when the window is gone.
#[derive(Resource, Clone)]
pub(super) struct LastLink(Arc<Mutex<ClientHandle>>);

impl LastLink {
    /// Tells the server that the pilot has left, and gives the handle to wait for.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "a page that goes takes its link along"))]
    pub fn close(&self) -> ClientHandle {
        let handle = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        handle.flush();
        handle.close("the pilot left");
        handle
    }
}

/// A player, shared with whoever runs it while there are no frames.
#[derive(Clone)]
pub(super) struct Seat {
    player: Rc<RefCell<Player>>,
    /// Seconds of the next frames that were flown already.
    flown_s: Rc<Cell<f64>>,
}

impl Seat {
    /// Flies on without the window, whose frames have stopped; when it is `hidden`, with no hand on the controls.
    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "a native window's frames do not stop"))]
    pub(super) fn fly_unseen(&self, delta_s: f64, hidden: bool) {
        let Ok(mut player) = self.player.try_borrow_mut() else { return };
        if hidden {
            player.app_mut().insert_resource(PilotIntent::default());
        }
        player.update(delta_s);
        self.flown_s.set(self.flown_s.get() + delta_s);
    }

    /// What of a frame of `delta_s` was not flown between frames. The first frame after a standstill is told of it only in
    /// the next one: time comes by way of the renderer.
    fn not_flown_of(&self, delta_s: f64) -> f64 {
        let flown_s = self.flown_s.get();
        self.flown_s.set((flown_s - delta_s).max(0.0));
        (delta_s - flown_s).max(0.0)
    }

    /// The player, between frames.
    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only a page looks from outside"))]
    pub(super) fn player(&self) -> Option<std::cell::Ref<'_, Player>> {
        self.player.try_borrow().ok()
    }
}

/// Puts a player behind the window; `fly_sessions` runs between the hands and the picture.
pub(super) fn seat(app: &mut App, player: Player) -> (LastLink, Seat) {
    let link = LastLink(Arc::new(Mutex::new(player.handle())));
    let seat = Seat { player: Rc::new(RefCell::new(player)), flown_s: Rc::default() };
    app.insert_resource(link.clone()).insert_non_send_resource(seat.clone());
    app.add_systems(First, lend)
        .add_systems(Update, fly_sessions.before(super::WindowSystems::Look))
        .add_systems(Last, lend);
    (link, seat)
}

/// Lends what both have to the window, or gives it back.
fn lend(world: &mut World) {
    let Some(seat) = world.get_non_send_resource::<Seat>().cloned() else { return };
    let mut player = seat.player.borrow_mut();
    exchange_all(world, player.app_mut().world_mut());
}

fn fly_sessions(world: &mut World) {
    let Some(seat) = world.get_non_send_resource::<Seat>().cloned() else { return };
    let mut player = seat.player.borrow_mut();
    exchange_all(world, player.app_mut().world_mut());
    player.update(seat.not_flown_of(world.resource::<FrameDelta>().0));
    // It may be another one than before.
    exchange_all(world, player.app_mut().world_mut());
    world.resource_mut::<SessionState>().set_if_neq(player.state());
    *world.resource::<LastLink>().0.lock().unwrap_or_else(PoisonError::into_inner) = player.handle();
}

fn exchange_all(window: &mut World, session: &mut World) {
    exchange::<PilotIntent>(window, session);
    exchange::<DealBook>(window, session);
    exchange::<ChatBook>(window, session);
    exchange::<WorldView>(window, session);
}

/// What both have under the same type: a view is built on in every frame, so it goes back and forth rather than anew.
fn exchange<T: Resource>(window: &mut World, session: &mut World) {
    std::mem::swap(&mut *window.resource_mut::<T>(), &mut *session.resource_mut::<T>());
}
