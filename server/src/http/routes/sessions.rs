//! Requests with a token: a ticket, another token, or the end of the session.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use sidereal_process::log_limited;
use uuid::Uuid;

use crate::accounts::sessions::{Given, Holder, SessionError, Sessions};
use crate::accounts::supabase::{Supabase, TokenError};
use crate::accounts::tickets::TICKET_LIFETIME_MS;
use crate::db::unix_ms;
use crate::http::refusal::{Refusal, refuse, unauthorized, unavailable};
use crate::http::routes::api::{Api, Shared};
use crate::http::routes::world::Door;

/// A ticket, and where to redeem it.
#[derive(Serialize)]
pub(in crate::http) struct TicketAnswer<'a> {
    ticket: String,
    #[serde(flatten)]
    door: Door<'a>,
    expires_in_s: u64,
    account_id: Uuid,
}

/// Lifetime of an unused session, seconds.
pub(in crate::http) fn expires_in_s(given: &Given) -> u64 {
    u64::try_from(given.lives_ms).unwrap_or(0).div_ceil(1_000)
}

/// The answer when registration is closed.
pub(in crate::http) fn registration_is_closed(api: &Api) -> Refusal {
    api.count(|counts| &counts.registrations_closed);
    refuse(
        StatusCode::FORBIDDEN,
        "registration is closed on this server: log in with an existing account, or ask its operator",
    )
}

impl Api {
    /// Issues a ticket.
    pub fn ticket_for(&self, account: Uuid, name: &str) -> Result<TicketAnswer<'_>, Refusal> {
        let issued = self.tickets.issue(account, name, self.tickets.now_ms()).map_err(|_| {
            self.count(|counts| &counts.tickets_refused);
            self.busy()
        })?;
        self.count(|counts| &counts.tickets);
        Ok(TicketAnswer {
            ticket: issued.token,
            door: self.door(issued.endpoint),
            expires_in_s: TICKET_LIFETIME_MS / 1_000,
            account_id: account,
        })
    }

    /// Runs `work` with the sessions on a blocking thread.
    async fn with_sessions<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Sessions) -> Result<T, SessionError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let sessions = self.sessions.clone();
        let outcome = self.storage.run(move || work(&sessions)).await.ok_or_else(|| self.busy())?;
        outcome.map_err(|error| match error {
            SessionError::Database(cause) => {
                log_limited!(error, %cause, "a session could not be read");
                unavailable("sessions cannot be read at the moment: try again later")
            }
            error => {
                self.count(|counts| match error {
                    SessionError::Reused => &counts.session_tokens_reused,
                    _ => &counts.session_tokens_refused,
                });
                unauthorized(error.to_string())
            }
        })
    }

    /// The account of a user with an access token of another issuer.
    async fn visitor(&self, supabase: &Supabase, token: &str) -> Result<Holder, Refusal> {
        let identity = supabase.verify(token, supabase.now_ms()).await.map_err(|error| {
            self.count(|counts| &counts.access_tokens_refused);
            match error {
                TokenError::KeysUnreachable => unavailable(error.to_string()),
                error => unauthorized(error.to_string()),
            }
        })?;
        let (accounts, registration) = (self.accounts.clone(), self.registration);
        let found = self.storage.run(move || accounts.of_identity_blocking(&identity, registration)).await;
        let found = found.ok_or_else(|| self.busy())?.map_err(|cause| {
            log_limited!(error, %cause, "an account for an access token could not be read or made");
            unavailable("the account cannot be read at the moment: try again later")
        })?;
        let Some((account, is_new)) = found else { return Err(registration_is_closed(self)) };
        self.count(|counts| &counts.access_tokens_accepted);
        if is_new {
            self.count(|counts| &counts.access_token_accounts);
            tracing::info!(account = %account.id, name = account.name, "account made for an access token");
        }
        Ok(Holder { account_id: account.id, name: account.name })
    }
}

pub(in crate::http) async fn ticket(api: Shared, headers: HeaderMap) -> Result<Response, Refusal> {
    let token = bearer(&headers)?;
    // A session token has no dots, and a JWT always two.
    let holder = if token.contains('.') {
        let Some(supabase) = &api.supabase else {
            api.count(|counts| &counts.access_tokens_refused);
            return Err(unauthorized("this server accepts no access tokens of other issuers: log in with /api/login"));
        };
        api.visitor(supabase, token).await?
    } else {
        let token = token.to_owned();
        api.with_sessions(move |sessions| sessions.check(&token, unix_ms())).await?
    };
    let answer = api.ticket_for(holder.account_id, &holder.name)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

pub(in crate::http) async fn refresh(api: Shared, headers: HeaderMap) -> Result<Response, Refusal> {
    let token = bearer(&headers)?.to_owned();
    let (holder, next) = api.with_sessions(move |sessions| sessions.refresh(&token, unix_ms())).await?;
    api.count(|counts| &counts.refreshes);
    let answer = json!({
        "session_token": next.token,
        "session_expires_in_s": expires_in_s(&next),
        "account_id": holder.account_id,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

pub(in crate::http) async fn logout(api: Shared, headers: HeaderMap) -> Result<Response, Refusal> {
    let token = bearer(&headers)?.to_owned();
    let ended = api
        .with_sessions(move |sessions| match sessions.end(&token, unix_ms()) {
            // A repeated request after a lost answer, or a late one: the session has ended, as intended.
            Err(SessionError::Unknown | SessionError::Expired | SessionError::Reused) => Ok(None),
            ended => ended.map(Some),
        })
        .await?;
    if let Some(holder) = ended {
        api.count(|counts| &counts.logouts);
        tracing::info!(account = %holder.account_id, "session ended by its player");
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = || unauthorized("send the token as the header Authorization: Bearer TOKEN");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(missing()) };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(missing)?;
    let token = token.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(missing());
    }
    Ok(token)
}
