//! The window in a page: draws into the page's canvas, updates the session while there are no frames, and reports its
//! state to the page.
//!
//! Runs in the browser client. It fires the event `sidereal-state` on the page's `window`, with the session's state in
//! `detail`, whenever the state changes.

use crate::{
    session::{SessionState, player::Player},
    view::WorldView,
    window::{
        input::fingers::Fingers,
        program::{
            host::{self, Seat},
            window_plugin::{WindowPlugin, plugins_with},
        },
        settings::store::Place,
    },
};
use bevy::{app::AppExit, prelude::*, window::PresentMode};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};

/// The interval of updates, milliseconds, while there are no frames and no packets arrive. Browsers allow hidden pages
/// at most one a second, and after some minutes one a minute.
const UNSEEN_INTERVAL_MS: i32 = 1_000;

/// A page without a frame for this long counts as not visible, milliseconds, whether the browser calls it hidden or
/// not.
const NO_FRAMES_MS: f64 = 250.0;

/// The longest time of one update while there are no frames, seconds.
const MAX_UNSEEN_S: f64 = 60.0;

/// Starts the game in the canvas that the CSS selector names. Returns at once; the browser runs the frames.
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
    let runs = Rc::new(Runs::default());
    app.insert_non_send_resource(runs.clone()).add_systems(Last, (tell_page, note_frame));
    fly_between_frames(&seat, runs)?;
    match app.run() {
        AppExit::Success => Ok(Cockpit { seat }),
        AppExit::Error(_) => Err("the window could not be opened".to_owned()),
    }
}

/// Whether the device has a touch screen.
fn is_touched(window: &web_sys::Window) -> bool {
    window.match_media("(pointer: coarse)").ok().flatten().is_some_and(|media| media.matches())
}

/// Access to the running game, for the page's console and for tests.
pub struct Cockpit {
    seat: Seat,
}

impl Cockpit {
    /// Calls `look` with the player; returns `None` in the middle of a frame.
    pub fn look<T>(&self, look: impl FnOnce(&Player, &WorldView) -> T) -> Option<T> {
        let player = self.seat.player()?;
        Some(look(&player, player.resource::<WorldView>()))
    }
}

/// Reports each change of the session's state to the page.
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

/// The time of the session's last update, milliseconds of the page.
#[derive(Default)]
struct Runs {
    in_a_frame_ms: Cell<f64>,
    at_all_ms: Cell<f64>,
}

fn now_ms() -> Option<f64> {
    Some(web_sys::window()?.performance()?.now())
}

fn is_hidden() -> bool {
    web_sys::window().and_then(|window| window.document()).is_some_and(|page| page.hidden())
}

/// Returns after the page's other due tasks: all packets of one burst have arrived then. Not a timer, because browsers
/// slow timers down.
async fn after_other_tasks(channel: &web_sys::MessageChannel) {
    let told = js_sys::Promise::new(&mut |resolve, _| {
        channel.port1().set_onmessage(Some(&resolve));
        if channel.port2().post_message(&JsValue::NULL).is_err() {
            let _ = resolve.call0(&JsValue::NULL);
        }
    });
    let _ = wasm_bindgen_futures::JsFuture::from(told).await;
}

fn note_frame(runs: NonSend<Rc<Runs>>) {
    let Some(now_ms) = now_ms() else { return };
    runs.in_a_frame_ms.set(now_ms);
    runs.at_all_ms.set(now_ms);
}

impl Runs {
    fn have_stopped(&self) -> bool {
        is_hidden() || now_ms().is_some_and(|now_ms| now_ms - self.in_a_frame_ms.get() > NO_FRAMES_MS)
    }

    fn run_unseen(&self, seat: &Seat) {
        let Some(now_ms) = now_ms() else { return };
        let passed_ms = now_ms - self.at_all_ms.replace(now_ms);
        seat.fly_unseen((passed_ms / 1_000.0).min(MAX_UNSEEN_S), is_hidden());
    }
}

/// Without frames the server would get no answers. So arriving packets update the session, which browsers do not slow
/// down like timers: answers are not late, and the measured link is right when the page becomes visible again. Without
/// packets a timer updates it.
fn fly_between_frames(seat: &Seat, runs: Rc<Runs>) -> Result<(), String> {
    let window = web_sys::window().ok_or("there is no page")?;
    let waker = |seat: &Seat| seat.player().map(|player| player.handle().waker());
    // Of the present session; that of another one follows.
    let present = Rc::new(RefCell::new(waker(seat).unwrap_or_default()));
    let (seat, waited_for) = (seat.clone(), present.clone());
    let channel = web_sys::MessageChannel::new().map_err(|error| format!("{error:?}"))?;
    wasm_bindgen_futures::spawn_local(async move {
        loop {
            let woken = waited_for.borrow().clone();
            woken.wait().await;
            if runs.have_stopped() {
                after_other_tasks(&channel).await;
                runs.run_unseen(&seat);
            }
            if let Some(waker) = waker(&seat) {
                waited_for.replace(waker);
            }
        }
    });
    let tick = Closure::<dyn FnMut()>::new(move || present.borrow().wake());
    window
        .set_interval_with_callback_and_timeout_and_arguments_0(tick.as_ref().unchecked_ref(), UNSEEN_INTERVAL_MS)
        .map_err(|error: JsValue| format!("{error:?}"))?;
    // As long as the page exists.
    tick.forget();
    Ok(())
}
