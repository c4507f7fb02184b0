//! The window in a page: draws into the page's canvas, flies on while the page is hidden, and tells the page how it goes.
//!
//! Runs in the browser client. The page hears of it by events of its `window`: `sidereal-state` with the session's
//! state in `detail`, whenever it changes.

use super::{Place, WindowPlugin, host, host::Seat, plugins_with, touch::Fingers};
use crate::{player::Player, session::SessionState, view::WorldView};
use bevy::{app::AppExit, prelude::*, window::PresentMode};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};

/// How often a hidden page runs the session, milliseconds. Browsers allow no more than once a second there, and after
/// some minutes once a minute, which the server takes for silence: then the player comes back when the page is seen.
const UNSEEN_INTERVAL_MS: i32 = 1_000;

/// The longest time that is flown at once while the page is hidden, seconds.
const MAX_UNSEEN_S: f64 = 60.0;

/// Starts to fly in the canvas that the CSS selector names. Returns at once; the browser runs the frames.
///
/// # Errors
/// When the page has no such canvas.
pub fn open(player: Player, canvas: &str) -> Result<Cockpit, String> {
    let page_window = web_sys::window().ok_or("there is no page")?;
    let page = page_window.document().ok_or("there is no page")?;
    page.query_selector(canvas).ok().flatten().ok_or_else(|| format!("the page has no {canvas}"))?;
    let window = Window {
        title: "Sidereal".to_owned(),
        canvas: Some(canvas.to_owned()),
        fit_canvas_to_parent: true,
        prevent_default_event_handling: true,
        present_mode: PresentMode::AutoVsync,
        ..default()
    };
    let mut app = App::new();
    app.add_plugins((plugins_with(window), WindowPlugin { settings: Place::Usual, ..default() }));
    let (_, seat) = host::seat(&mut app, player);
    if is_touched(&page_window) {
        app.world_mut().resource_mut::<Fingers>().show();
    }
    app.add_systems(Last, tell_page);
    fly_while_hidden(&seat)?;
    match app.run() {
        AppExit::Success => Ok(Cockpit { seat }),
        AppExit::Error(_) => Err("the window could not be opened".to_owned()),
    }
}

/// Whether the device is pointed at with fingers.
fn is_touched(window: &web_sys::Window) -> bool {
    window.match_media("(pointer: coarse)").ok().flatten().is_some_and(|media| media.matches())
}

/// A look at what is flown, for whoever has the page's console or tests it.
pub struct Cockpit {
    seat: Seat,
}

impl Cockpit {
    /// Calls `look` with the player; `None` in the middle of a frame.
    pub fn look<T>(&self, look: impl FnOnce(&Player, &WorldView) -> T) -> Option<T> {
        let player = self.seat.player()?;
        Some(look(&player, player.resource::<WorldView>()))
    }
}

/// Tells the page of each change of the session's state.
fn tell_page(state: Res<SessionState>) {
    if !state.is_changed() {
        return;
    }
    let (name, reason) = match &*state {
        SessionState::Connecting => ("connecting", None),
        SessionState::Joining => ("joining", None),
        SessionState::InSpace => ("in-space", None),
        SessionState::Destroyed => ("destroyed", None),
        SessionState::Rejected(reason) => ("rejected", Some(reason)),
        SessionState::Lost(reason) => ("lost", Some(reason)),
        SessionState::Returning(reason) => ("returning", Some(reason)),
        SessionState::Closed => ("closed", None),
    };
    let detail = js_sys::Object::new();
    let set = |key: &str, value: &str| {
        let _ = js_sys::Reflect::set(&detail, &key.into(), &value.into());
    };
    set("state", name);
    set("reason", reason.map_or("", String::as_str));
    let options = web_sys::CustomEventInit::new();
    options.set_detail(&detail);
    if let Some(window) = web_sys::window()
        && let Ok(event) = web_sys::CustomEvent::new_with_event_init_dict("sidereal-state", &options)
    {
        let _ = window.dispatch_event(&event);
    }
}

/// Without frames nobody would answer the server. So a timer does, as far as the browser lets it.
fn fly_while_hidden(seat: &Seat) -> Result<(), String> {
    let window = web_sys::window().ok_or("there is no page")?;
    let seat = seat.clone();
    // When the session was last run for a hidden page, milliseconds of the page.
    let mut unseen_since_ms = None;
    let tick = Closure::<dyn FnMut()>::new(move || {
        let Some(window) = web_sys::window() else { return };
        let hidden = window.document().is_some_and(|page| page.hidden());
        let Some(now_ms) = window.performance().map(|clock| clock.now()) else { return };
        let before_ms = std::mem::replace(&mut unseen_since_ms, hidden.then_some(now_ms));
        if let (true, Some(before_ms)) = (hidden, before_ms) {
            seat.fly_unseen(((now_ms - before_ms) / 1_000.0).clamp(0.0, MAX_UNSEEN_S));
        }
    });
    window
        .set_interval_with_callback_and_timeout_and_arguments_0(tick.as_ref().unchecked_ref(), UNSEEN_INTERVAL_MS)
        .map_err(|error: JsValue| format!("{error:?}"))?;
    // As long as the page is there.
    tick.forget();
    Ok(())
}
