//! The status shared with the HTTP threads: whether the other threads run, whether the server is ready, and its
//! metrics.

use std::fmt::{self, Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the main loop may stall before the process counts as dead: it runs hundreds of times a second, and after
/// twice this time the players' sessions end.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);

/// Written by the ECS thread, read by the HTTP threads; neither waits for the other.
#[derive(Debug)]
pub struct ServerStatus {
    shards: AtomicU64,
    leased_sectors: AtomicU64,
    metrics: Mutex<Arc<str>>,
    heartbeat: Mutex<Instant>,
    watched: Mutex<Vec<Watched>>,
    pub(super) api: ApiCounts,
    pub(super) door: Arc<DoorCounts>,
}

/// A thread or resource that players need.
struct Watched {
    name: &'static str,
    is_alive: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The connections of the public HTTP address.
#[derive(Debug, Default)]
pub(super) struct DoorCounts {
    pub open: AtomicU64,
    pub refused: AtomicU64,
    pub gave_way: AtomicU64,
    pub cut_off: AtomicU64,
}

impl Default for ServerStatus {
    /// The status at the start.
    fn default() -> Self {
        Self {
            shards: AtomicU64::default(),
            leased_sectors: AtomicU64::default(),
            metrics: Mutex::default(),
            heartbeat: Mutex::new(Instant::now()),
            watched: Mutex::default(),
            api: ApiCounts::default(),
            door: Arc::default(),
        }
    }
}

/// Results of the requests under `/api/`.
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
    pub limited_logins: AtomicU64,
    pub limited_registrations: AtomicU64,
    pub busy: AtomicU64,
    pub registrations_closed: AtomicU64,
    pub tickets_refused: AtomicU64,
}

impl ServerStatus {
    /// Sets the number of connected shards, and of sectors leased to them.
    pub fn set_leases(&self, shards: u64, leased_sectors: u64) {
        self.shards.store(shards, Ordering::Relaxed);
        self.leased_sectors.store(leased_sectors, Ordering::Relaxed);
    }

    /// Replaces the part of `/metrics` that is not the HTTP server's own.
    pub fn set_metrics(&self, text: MetricsText) {
        *lock(&self.metrics) = text.text.into();
    }

    /// The text set last.
    pub fn metrics(&self) -> Arc<str> {
        lock(&self.metrics).clone()
    }

    /// Connected shards.
    pub fn shards(&self) -> u64 {
        self.shards.load(Ordering::Relaxed)
    }

    /// The number of leased sectors.
    pub fn leased_sectors(&self) -> u64 {
        self.leased_sectors.load(Ordering::Relaxed)
    }

    /// The main loop ran at this time.
    pub fn beat(&self, at: Instant) {
        *lock(&self.heartbeat) = at;
    }

    /// Whether the main loop ran within [`HEARTBEAT_LIMIT`] before `now`.
    pub fn is_live(&self, now: Instant) -> bool {
        now.saturating_duration_since(*lock(&self.heartbeat)) < HEARTBEAT_LIMIT
    }

    /// From now on the server is ready only while `is_alive` returns true; [`missing`](Self::missing) returns `name`
    /// otherwise.
    pub fn watch(&self, name: &'static str, is_alive: impl Fn() -> bool + Send + Sync + 'static) {
        lock(&self.watched).push(Watched { name, is_alive: Box::new(is_alive) });
    }

    /// What players need and is missing: threads that have ended, leased sectors.
    pub fn missing(&self, now: Instant) -> Vec<&'static str> {
        let main_loop = (!self.is_live(now)).then_some("the main loop");
        let watched = lock(&self.watched);
        let gone = watched.iter().filter(|watched| !(watched.is_alive)()).map(|watched| watched.name);
        let world = (self.leased_sectors() == 0).then_some("a shard with a lease");
        main_loop.into_iter().chain(gone).chain(world).collect()
    }

    /// All metrics in Prometheus's text format, including `own`, those of the HTTP server.
    pub(super) fn metrics_text(&self, own: MetricsText) -> String {
        let mut all = MetricsText { text: self.metrics().to_string() + &own.text };
        all.gauge("sidereal_shards", "Connected shards.", self.shards());
        all.gauge("sidereal_leased_sectors", "Sectors that a shard simulates.", self.leased_sectors());
        let open = self.door.open.load(Ordering::Relaxed);
        all.gauge("sidereal_http_connections", "HTTP connections now.", open);
        let api = &self.api;
        for (name, help, count) in [
            ("registrations", "Registrations answered with an account.", &api.registrations),
            ("logins", "Logins with a name and a password.", &api.logins),
            ("logins_refused", "Logins with a wrong name or password.", &api.logins_refused),
            ("tickets_issued", "Tickets given out.", &api.tickets),
            ("session_refreshes", "Session tokens replaced by new ones.", &api.refreshes),
            ("session_logouts", "Sessions ended by their players.", &api.logouts),
            ("session_tokens_refused", "Unknown or expired session tokens.", &api.session_tokens_refused),
            ("session_tokens_reused", "Sessions ended because a replaced token came late.", &api.session_tokens_reused),
            ("access_tokens_accepted", "Access tokens of another issuer accepted.", &api.access_tokens_accepted),
            ("access_tokens_refused", "Access tokens of another issuer refused.", &api.access_tokens_refused),
            ("access_token_accounts", "Accounts made for access tokens.", &api.access_token_accounts),
            ("http_limited_by_address", "Requests above an address's rate.", &api.limited_by_address),
            ("http_limited_by_account", "Logins above an account's rate of failures.", &api.limited_by_account),
            ("http_limited_logins", "Logins above a network's rate, or that of all.", &api.limited_logins),
            ("http_limited_registrations", "Registrations above their rate limits.", &api.limited_registrations),
            ("http_busy", "Requests rejected because the server was busy.", &api.busy),
            ("registrations_closed", "Registrations while registration was closed.", &api.registrations_closed),
            ("tickets_refused", "Tickets not issued because too many were valid.", &api.tickets_refused),
            ("http_connections_refused", "HTTP connections closed at once for lack of room.", &self.door.refused),
            ("http_connections_gave_way", "HTTP connections closed for others.", &self.door.gave_way),
            ("http_connections_cut_off", "HTTP connections that took too long.", &self.door.cut_off),
        ] {
            all.counter(&format!("sidereal_{name}_total"), help, count.load(Ordering::Relaxed));
        }
        all.text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds Prometheus's text format.
#[derive(Clone, Debug, Default)]
pub struct MetricsText {
    text: String,
}

impl MetricsText {
    /// Adds a value that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, help, "gauge", value);
    }

    /// Adds a value that only rises; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, help, "counter", value);
    }

    /// Adds values that rise and fall, distinguished by a label.
    pub fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, usize)]) {
        self.labelled(name, help, "gauge", label, values.iter().copied());
    }

    /// Adds values that only rise, distinguished by a label.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, impl Display)>,
    ) {
        self.labelled(name, help, "counter", label, values);
    }

    fn labelled<'a>(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, impl Display)>,
    ) {
        write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("a string takes whatever is written");
        for (which, value) in values {
            writeln!(self.text, "{name}{{{label}=\"{which}\"}} {value}").expect("a string takes whatever is written");
        }
    }

    /// Adds a histogram: each bound with the number of values up to it, then the number and the sum of all.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        buckets: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: impl Display,
    ) {
        write!(self.text, "# HELP {name} {help}\n# TYPE {name} histogram\n")
            .expect("a string takes whatever is written");
        for (bound, below) in buckets {
            writeln!(self.text, "{name}_bucket{{le=\"{bound:.3}\"}} {below}")
                .expect("a string takes whatever is written");
        }
        write!(self.text, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}\n")
            .expect("a string takes whatever is written");
    }

    fn metric(&mut self, name: &str, help: &str, kind: &str, value: impl Display) {
        write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
            .expect("a string takes whatever is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_loop_that_stands_still_is_missed_and_comes_back() {
        let (status, begun) = (ServerStatus::default(), Instant::now());
        status.beat(begun);
        status.set_leases(1, 16);
        assert!(status.is_live(begun + HEARTBEAT_LIMIT - Duration::from_millis(1)));
        assert!(!status.is_live(begun + HEARTBEAT_LIMIT));
        assert_eq!(status.missing(begun + HEARTBEAT_LIMIT), ["the main loop"]);
        status.beat(begun + HEARTBEAT_LIMIT);
        assert!(status.missing(begun + HEARTBEAT_LIMIT).is_empty());
    }

    #[test]
    fn all_that_is_missing_is_named() {
        let (status, now) = (ServerStatus::default(), Instant::now());
        status.beat(now);
        let alive = Arc::new(AtomicBool::new(true));
        let seen = alive.clone();
        status.watch("the first thread", || true);
        status.watch("the second thread", move || seen.load(Ordering::Relaxed));
        assert_eq!(status.missing(now), ["a shard with a lease"]);
        alive.store(false, Ordering::Relaxed);
        assert_eq!(status.missing(now), ["the second thread", "a shard with a lease"]);
        status.set_leases(1, 16);
        assert_eq!(status.missing(now), ["the second thread"]);
    }
}
