//! Registration and login.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sidereal_process::log_limited;
use uuid::Uuid;

use crate::accounts::sessions::Given;
use crate::accounts::{LoginError, RegisterError, Registration, check_new, is_name};
use crate::db::unix_ms;
use crate::http::refusal::{Refusal, refuse, too_many, unavailable};
use crate::http::routes::api::{AskedFrom, BODY_LIMIT_BYTES, Shared};
use crate::http::routes::sessions::{TicketAnswer, expires_in_s, registration_is_closed};

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

#[derive(Serialize)]
struct LoginAnswer<'a> {
    #[serde(flatten)]
    ticket: TicketAnswer<'a>,
    session_token: String,
    session_expires_in_s: u64,
}

pub(in crate::http) async fn register(
    api: Shared,
    Extension(AskedFrom(from)): Extension<AskedFrom>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    if api.registration == Registration::Closed {
        return Err(registration_is_closed(&api));
    }
    let key = idempotency_key(&headers)?;
    let Credentials { user, password } = credentials(body)?;
    if key.is_some() {
        // The key could otherwise be used to try passwords.
        may_try(&api, &user, from)?;
    }
    // Input that breaks the rules costs nothing.
    if check_new(&user, &password, key.as_deref()).is_ok() {
        api.rates.registration(from, api.now_ms()).map_err(|come_back| {
            api.count(|counts| &counts.limited_registrations);
            too_many("too many registrations", come_back)
        })?;
    }
    let account = api.accounts.register(from, user.clone(), password, key).await.map_err(|error| {
        let status = match &error {
            RegisterError::BadName | RegisterError::BadPassword | RegisterError::BadKey => StatusCode::BAD_REQUEST,
            RegisterError::NameTaken => StatusCode::CONFLICT,
            RegisterError::KeyReused => {
                api.rates.failed(&user, from, api.now_ms());
                StatusCode::UNPROCESSABLE_ENTITY
            }
            RegisterError::Busy => return api.busy(),
            RegisterError::Database(cause) => {
                log_limited!(error, %cause, "a registration failed");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        refuse(status, error.to_string())
    })?;
    api.count(|counts| &counts.registrations);
    tracing::info!(account = %account.id, name = account.name, "account registered");
    Ok((StatusCode::CREATED, Json(json!({ "account_id": account.id }))).into_response())
}

pub(in crate::http) async fn login(
    api: Shared,
    Extension(AskedFrom(from)): Extension<AskedFrom>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let Credentials { user, password } = credentials(body)?;
    if is_name(&user) {
        may_try(&api, &user, from)?;
        api.rates.login(from, api.now_ms()).map_err(|come_back| {
            api.count(|counts| &counts.limited_logins);
            too_many("too many logins", come_back)
        })?;
    }
    let account = api.accounts.login(from, user.clone(), password).await.map_err(|error| {
        let status = match &error {
            LoginError::WrongCredentials => {
                api.count(|counts| &counts.logins_refused);
                if is_name(&user) {
                    api.rates.failed(&user, from, api.now_ms());
                }
                StatusCode::UNAUTHORIZED
            }
            LoginError::Busy => return api.busy(),
            LoginError::Database(cause) => {
                log_limited!(error, %cause, "a login failed");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        refuse(status, error.to_string())
    })?;
    let session = begin_session(&api, account.id).await?;
    api.count(|counts| &counts.logins);
    let ticket = api.ticket_for(account.id, &account.name)?;
    let session_expires_in_s = expires_in_s(&session);
    let answer = LoginAnswer { ticket, session_token: session.token, session_expires_in_s };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

async fn begin_session(api: &Shared, account: Uuid) -> Result<Given, Refusal> {
    let sessions = api.sessions.clone();
    let begun = api.storage.run(move || sessions.begin(account, unix_ms())).await.ok_or_else(|| api.busy())?;
    begun.map_err(|cause| {
        log_limited!(error, %cause, "a session could not be stored");
        unavailable("the session could not be stored: try again later")
    })
}

/// Checks for too many failures under a name. An invalid name has no account, and costs nothing.
fn may_try(api: &Shared, name: &str, from: IpAddr) -> Result<(), Refusal> {
    if !is_name(name) {
        return Ok(());
    }
    api.rates.may_try(name, from, api.now_ms()).map_err(|come_back| {
        api.count(|counts| &counts.limited_by_account);
        too_many("too many wrong passwords for this name", come_back)
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let bad = || refuse(StatusCode::BAD_REQUEST, RegisterError::BadKey.to_string());
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(bad());
    }
    Ok(Some(key.to_str().map_err(|_| bad())?.to_owned()))
}

fn credentials(body: Result<Bytes, BytesRejection>) -> Result<Credentials, Refusal> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is too large: send at most {BODY_LIMIT_BYTES} bytes"),
        ),
        _ => refuse(StatusCode::BAD_REQUEST, "the body was incomplete: send it again"),
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        // The parser's message may quote the body, so only the position is reported.
        let (line, column) = (error.line(), error.column());
        let error = format!(
            "the body is not what is expected (line {line} column {column}): \
             send JSON with the texts \"user\" and \"password\""
        );
        refuse(StatusCode::BAD_REQUEST, error)
    })
}
