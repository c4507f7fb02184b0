//! How a connection is opened, on either network.

use std::sync::Arc;

use crate::session::Session;
use crate::session::ending::EndCause;

/// Why a connection was not opened.
pub(super) enum Failure {
    /// A retry gives the same result.
    Rejected(String),
    /// A retry may help.
    Closed(String),
}

/// Waits for `opening` until this end closes. `None` if there is no connection; the session then has the reason.
pub(super) async fn opened<T>(session: &Arc<Session>, opening: impl Future<Output = Result<T, Failure>>) -> Option<T> {
    let opened = tokio::select! {
        opened = opening => opened,
        () = closed_here(session) => Err(Failure::Closed("closed here".to_owned())),
    };
    match opened {
        Ok(connection) => return Some(connection),
        Err(Failure::Rejected(reason)) => session.on_rejected(&reason),
        Err(Failure::Closed(reason)) => session.on_closed(EndCause::Lost, &reason),
    }
    None
}

async fn closed_here(session: &Session) {
    while session.close_request().is_none() {
        session.writer_wake.notified().await;
    }
}
