//! The calls of a client in the browser: the page has logged in, so what is left is a ticket to come back with.

use super::{AccountApi, AccountError, Answer, LoginTicket, MAX_ANSWER_BYTES, REQUEST_TIMEOUT_MS, SessionToken};
use std::sync::mpsc::{Receiver, channel};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortSignal, Headers, Request, RequestCache, RequestInit, Response};

impl AccountApi {
    /// For the server that the page came from, whose origin `base` is.
    pub fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned() }
    }

    /// Asks for a ticket for the account of a session; the answer comes when the browser has it.
    pub fn ask_for_ticket(&self, token: &SessionToken) -> Receiver<Result<LoginTicket, AccountError>> {
        let (sender, answer) = channel();
        let (api, token) = (self.clone(), token.clone());
        spawn_local(async move {
            let result = match api.post("/api/ticket", &token).await {
                Ok(answer) => api.ticket_answered(&answer),
                Err(reason) => Err(AccountError::Unreachable { address: api.base.clone(), reason }),
            };
            // Nobody waits for it when the player has left meanwhile.
            let _ = sender.send(result);
        });
        answer
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

fn text(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| String::from(error.message()))
}
