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
    pub(super) registrations: AtomicU64,
    pub(super) logins: AtomicU64,
    pub(super) logins_refused: AtomicU64,
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

    /// All metrics in Prometheus's text format.
    pub(super) fn metrics_text(&self) -> String {
        let snapshot = self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut own = MetricsText { text: snapshot.to_string() };
        own.gauge("sidereal_shards", "Connected shards.", self.shards());
        own.gauge("sidereal_leased_sectors", "Sectors that a shard simulates.", self.leased_sectors());
        own.counter("sidereal_registrations_total", "Accounts made.", self.registrations.load(Ordering::Relaxed));
        own.counter("sidereal_logins_total", "Tickets given out.", self.logins.load(Ordering::Relaxed));
        let refused = self.logins_refused.load(Ordering::Relaxed);
        own.counter("sidereal_logins_refused_total", "Logins with a wrong name or password.", refused);
        own.text
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
