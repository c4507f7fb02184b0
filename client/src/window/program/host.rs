//! The player behind the window.
//!
//! A player's sessions are Apps of their own, and a window outlives them: in each frame the present session is updated
//! with the player's intent, and its view is lent to the window until the frame's end. The session is therefore
//! complete whenever it is updated between frames (on a hidden page).

use crate::{
    FrameDelta,
    chat::ChatBook,
    economy::deals::DealBook,
    flight::controls::PilotIntent,
    session::{SessionState, player::Player},
    view::WorldView,
    window::schedule::WindowSystems,
};
use bevy::prelude::*;
use sidereal_transport::ClientHandle;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

/// The present session's link, with which it is closed when the window is gone.
#[derive(Resource, Clone)]
pub(crate) struct LastLink(Arc<Mutex<ClientHandle>>);

impl LastLink {
    /// Sends the server a goodbye of the player, and returns the handle to wait for.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "a page that goes takes its link along"))]
    pub fn close(&self) -> ClientHandle {
        let handle = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        handle.flush();
        handle.close("the pilot left");
        handle
    }
}

/// Seconds that were updated between frames, and that the next frames must not repeat.
#[derive(Default)]
struct Flown(Cell<f64>);

impl Flown {
    fn add(&self, seconds: f64) {
        self.0.set(self.0.get() + seconds);
    }

    /// The rest of a frame of `delta_s`. The first frame after a standstill gets its duration only with the next one,
    /// because the time comes from the renderer.
    fn take_out_of(&self, delta_s: f64) -> f64 {
        let flown_s = self.0.get();
        self.0.set((flown_s - delta_s).max(0.0));
        (delta_s - flown_s).max(0.0)
    }
}

/// A player, shared with the task that updates it while there are no frames.
#[derive(Clone)]
pub(crate) struct Seat {
    player: Rc<RefCell<Player>>,
    flown: Rc<Flown>,
}

impl Seat {
    /// Updates the session without the window, whose frames have stopped; if it is `hidden`, with neutral controls.
    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "a native window's frames do not stop"))]
    pub(crate) fn fly_unseen(&self, delta_s: f64, hidden: bool) {
        let Ok(mut player) = self.player.try_borrow_mut() else { return };
        if hidden {
            player.app_mut().insert_resource(PilotIntent::default());
        }
        player.update(delta_s);
        self.flown.add(delta_s);
    }

    /// The player, between frames.
    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only a page looks from outside"))]
    pub(crate) fn player(&self) -> Option<std::cell::Ref<'_, Player>> {
        self.player.try_borrow().ok()
    }
}

/// Puts a player behind the window; `fly_sessions` runs between input and drawing.
pub(crate) fn seat(app: &mut App, player: Player) -> (LastLink, Seat) {
    let link = LastLink(Arc::new(Mutex::new(player.handle())));
    let seat = Seat { player: Rc::new(RefCell::new(player)), flown: Rc::default() };
    app.insert_resource(link.clone()).insert_non_send_resource(seat.clone());
    app.add_systems(First, lend)
        .add_systems(Update, fly_sessions.before(WindowSystems::Measure))
        .add_systems(Last, lend);
    (link, seat)
}

/// Lends the shared resources to the window, or returns them.
fn lend(world: &mut World) {
    let Some(seat) = world.get_non_send_resource::<Seat>().cloned() else { return };
    let mut player = seat.player.borrow_mut();
    exchange_all(world, player.app_mut().world_mut());
}

fn fly_sessions(world: &mut World) {
    let Some(seat) = world.get_non_send_resource::<Seat>().cloned() else { return };
    let mut player = seat.player.borrow_mut();
    exchange_all(world, player.app_mut().world_mut());
    player.update(seat.flown.take_out_of(world.resource::<FrameDelta>().0));
    // It may be another session than before.
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

/// Swaps a resource of the same type in both: a view is updated in every frame, so it is swapped rather than copied.
fn exchange<T: Resource>(window: &mut World, session: &mut World) {
    std::mem::swap(&mut *window.resource_mut::<T>(), &mut *session.resource_mut::<T>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flown_between_frames_is_not_flown_again_however_late_a_frame_is_told_of_it() {
        for told_late in [false, true] {
            let flown = Flown::default();
            assert_eq!(flown.take_out_of(0.016), 0.016, "nothing was");
            flown.add(50.0);
            flown.add(30.0);
            let frames = if told_late { [0.25, 80.0] } else { [80.25, 0.0] };
            let left_s: f64 = frames.map(|delta_s| flown.take_out_of(delta_s)).iter().sum();
            assert!((left_s - 0.25).abs() < 1e-9, "{left_s} told late: {told_late}");
            assert_eq!(flown.take_out_of(0.016), 0.016);
        }
    }
}
