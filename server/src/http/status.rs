//! What the ECS thread tells the HTTP thread: whether the server is ready, and the text of its metrics.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Written by the ECS thread, read by the HTTP thread; neither waits for the other.
#[derive(Debug, Default)]
pub struct ServerStatus {
    shards: AtomicU64,
    leased_sectors: AtomicU64,
    metrics: Mutex<Arc<str>>,
    pub(super) api: ApiCounts,
}

/// What came of the requests under `/api/`.
#[derive(Debug, Default)]
pub(super) struct ApiCounts {
    pub registrations: AtomicU64,
    pub logins: AtomicU64,
    pub logins_refused: AtomicU64,
    pub tickets: AtomicU64,
    pub refreshes: AtomicU64,
    pub logouts: AtomicU64,
    pub session_tokens_refused: AtomicU64,
    pub session_tokens_reused: AtomicU64,
    pub access_tokens_accepted: AtomicU64,
    pub access_tokens_refused: AtomicU64,
    pub access_token_accounts: AtomicU64,
    pub limited_by_address: AtomicU64,
    pub limited_by_account: AtomicU64,
}

impl ServerStatus {
    /// How many shards are connected, and how many sectors are leased to them.
    pub fn set_leases(&self, shards: u64, leased_sectors: u64) {
        self.shards.store(shards, Ordering::Relaxed);
        self.leased_sectors.store(leased_sectors, Ordering::Relaxed);
    }

    /// Replaces the text that `/metrics` shows beside the HTTP server's own figures.
    pub fn set_metrics(&self, text: MetricsText) {
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = text.text.into();
    }

    /// The text that was set last.
    pub fn metrics(&self) -> Arc<str> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connected shards.
    pub fn shards(&self) -> u64 {
        self.shards.load(Ordering::Relaxed)
    }

    /// Sectors that a shard simulates.
    pub fn leased_sectors(&self) -> u64 {
        self.leased_sectors.load(Ordering::Relaxed)
    }

    /// Whether a player can come in: some sector is leased.
    pub fn is_ready(&self) -> bool {
        self.leased_sectors() > 0
    }

    /// All metrics in Prometheus's text format, with `own` ones of the HTTP server.
    pub(super) fn metrics_text(&self, own: MetricsText) -> String {
        let mut all = MetricsText { text: self.metrics().to_string() + &own.text };
        all.gauge("sidereal_shards", "Connected shards.", self.shards());
        all.gauge("sidereal_leased_sectors", "Sectors that a shard simulates.", self.leased_sectors());
        let api = &self.api;
        for (name, help, count) in [
            ("registrations", "Registrations answered with an account.", &api.registrations),
            ("logins", "Logins with a name and a password.", &api.logins),
            ("logins_refused", "Logins with a wrong name or password.", &api.logins_refused),
            ("tickets_issued", "Tickets given out.", &api.tickets),
            ("session_refreshes", "Session tokens replaced by new ones.", &api.refreshes),
            ("session_logouts", "Sessions ended by their holders.", &api.logouts),
            ("session_tokens_refused", "Unknown or expired session tokens.", &api.session_tokens_refused),
            ("session_tokens_reused", "Sessions ended because a replaced token came late.", &api.session_tokens_reused),
            ("access_tokens_accepted", "Access tokens of another issuer taken.", &api.access_tokens_accepted),
            ("access_tokens_refused", "Access tokens of another issuer refused.", &api.access_tokens_refused),
            ("access_token_accounts", "Accounts made for access tokens.", &api.access_token_accounts),
            ("http_limited_by_address", "Requests above an address's rate.", &api.limited_by_address),
            ("http_limited_by_account", "Logins above an account's rate of failures.", &api.limited_by_account),
        ] {
            all.counter(&format!("sidereal_{name}_total"), help, count.load(Ordering::Relaxed));
        }
        all.text
    }
}

/// Builds Prometheus's text format.
#[derive(Clone, Debug, Default)]
pub struct MetricsText {
    text: String,
}

impl MetricsText {
    /// A value that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, help, "gauge", value);
    }

    /// A value that only rises; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, help, "counter", value);
    }

    fn metric(&mut self, name: &str, help: &str, kind: &str, value: impl Display) {
        write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
            .expect("a string takes whatever is written");
    }
}
