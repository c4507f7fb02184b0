//! The calls of a client in the browser: the page has logged in, so only tickets for reconnects are needed.

use super::{AccountApi, AccountError, Answer, MAX_ANSWER_BYTES, REQUEST_TIMEOUT_MS, ReconnectResult, SessionToken};
use std::sync::mpsc::{Receiver, channel};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortSignal, CustomEvent, CustomEventInit, Headers, Request, RequestCache, RequestInit, Response};

impl AccountApi {
    /// For the page's own server, whose origin `base` is.
    pub fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned() }
    }

    /// Requests a ticket for the account of a session, by another token than before. The page receives the new token at
    /// once, by the event `sidereal-session`.
    pub fn ask_for_way_in(&self, token: &SessionToken) -> Receiver<ReconnectResult> {
        let (sender, answer) = channel();
        let (api, token) = (self.clone(), token.clone());
        spawn_local(async move {
            // If the player has left meanwhile, the receiver is gone.
            let _ = sender.send(api.come_back(token).await);
        });
        answer
    }

    async fn come_back(&self, token: SessionToken) -> ReconnectResult {
        let refreshed = self.ask("/api/refresh", &token).await.and_then(|answer| self.refresh_answered(&answer));
        let session_token = match refreshed {
            Ok(session_token) => session_token,
            Err(error) => return ReconnectResult { session_token: token, ticket: Err(error) },
        };
        // Before it is used: until then the page's token is valid.
        tell_page(&token, &session_token);
        let ticket = self.ask("/api/ticket", &session_token).await.and_then(|answer| self.ticket_answered(&answer));
        ReconnectResult { session_token, ticket }
    }

    async fn ask(&self, path: &str, token: &SessionToken) -> Result<Answer, AccountError> {
        let answer = self.post(path, token).await;
        answer.map_err(|reason| AccountError::Unreachable { address: self.base.clone(), reason })
    }

    async fn post(&self, path: &str, token: &SessionToken) -> Result<Answer, String> {
        let headers = Headers::new().map_err(|error| text(&error))?;
        for (name, value) in [("content-type", "application/json"), ("authorization", &format!("Bearer {}", token.0))] {
            headers.set(name, value).map_err(|error| text(&error))?;
        }
        let options = RequestInit::new();
        options.set_method("POST");
        options.set_headers(&headers);
        options.set_body(&"{}".into());
        options.set_cache(RequestCache::NoStore);
        options.set_signal(Some(&AbortSignal::timeout_with_u32(REQUEST_TIMEOUT_MS)));
        let request =
            Request::new_with_str_and_init(&format!("{}{path}", self.base), &options).map_err(|error| text(&error))?;
        let window = web_sys::window().ok_or("there is no window")?;
        let response = JsFuture::from(window.fetch_with_request(&request)).await.map_err(|error| text(&error))?;
        let response: Response = response.dyn_into().map_err(|error| text(&error))?;
        let retry_after_s = response.headers().get("retry-after").ok().flatten().and_then(|text| text.parse().ok());
        let body = response.text().map_err(|error| text(&error))?;
        let body = JsFuture::from(body).await.map_err(|error| text(&error))?.as_string().unwrap_or_default();
        if body.len() > MAX_ANSWER_BYTES {
            return Err("the answer is too long".to_owned());
        }
        Ok(Answer { status: response.status(), retry_after_s, body })
    }
}

/// Sends the page the new token, which it stores for a reload in place of the old one.
fn tell_page(old: &SessionToken, new: &SessionToken) {
    let detail = js_sys::Object::new();
    let told = [("old", old), ("token", new)]
        .iter()
        .all(|(name, token)| js_sys::Reflect::set(&detail, &(*name).into(), &token.0.as_str().into()).is_ok());
    let options = CustomEventInit::new();
    options.set_detail(&detail);
    if told
        && let Some(window) = web_sys::window()
        && let Ok(event) = CustomEvent::new_with_event_init_dict("sidereal-session", &options)
    {
        let _ = window.dispatch_event(&event);
    }
}

fn text(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| String::from(error.message()))
}
