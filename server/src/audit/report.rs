//! The report at the end of a run, and the text for `/metrics`.

use super::{
    aside::Aside,
    census::Audit,
    tally::{Counters, Percentiles, Tally},
};
use crate::{
    clock::Clock,
    db::Store,
    economy::{deals::Deals, goods::Goods, trades::Trades},
    handoff::transfers::HandoffState,
    http::{MetricsText, ServerStatus},
    persistence::storage::{Storage, is_stored},
    players::{chat::Chat, session::Players},
    replication::{interest::Interest, mirror::Mirror, motion_plane::MotionPlane, naia::rooms::Rooms},
    territory::lease_grants::LeaseGrants,
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut, Resource},
};
use naia_bevy_server::Server;
use serde::Serialize;
use sidereal_transport::{EndpointStats, PeerKind};
use std::{sync::Arc, time::Instant};

/// The server's report at the end of a run; the launcher merges it with those of the other processes.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    counters: Counters,
    entities: u64,
    handoffs_aborted: u64,
    handoff_cutover_ms: Percentiles,
    handoff_commit_ms: Percentiles,
    handoff_ways_ms: Percentiles,
    handoff_tick_ms: Percentiles,
    commits_again: u64,
    lost: u64,
    doubled: u64,
    inputs_applied: u64,
    tick_ms: Percentiles,
    ore_moves: u64,
    deal_ms_max: u64,
    flushed_rows: u64,
    stale_writes_refused: u64,
    loss_window_max_ms: u64,
    unreadable_rows: u64,
    cpu_ms: u64,
    max_rss_kb: u64,
}

/// All that is reported.
#[derive(SystemParam)]
pub struct Readings<'w> {
    clock: Res<'w, Clock>,
    link: Res<'w, Link>,
    mirror: Res<'w, Mirror>,
    motion: Res<'w, MotionPlane>,
    rooms: Res<'w, Rooms>,
    leases: Res<'w, LeaseGrants>,
    transfers: Res<'w, HandoffState>,
    players: Res<'w, Players>,
    interest: Res<'w, Interest>,
    storage: Res<'w, Storage>,
    goods: Res<'w, Goods>,
    deals: Res<'w, Deals>,
    trades: Res<'w, Trades>,
    chat: Res<'w, Chat>,
    aside: Res<'w, Aside>,
    audit: Res<'w, Audit>,
    tally: Res<'w, Tally>,
    naia: Server<'w>,
}

impl Readings<'_> {
    /// The report as of now.
    pub fn report(&self) -> Report {
        let tally = &self.tally;
        let store = self.storage.store().map(crate::db::Store::stats).unwrap_or_default();
        let books = self.storage.store().map(crate::db::Store::books_stats).unwrap_or_default();
        let mut counters = tally.counters();
        counters.inputs_received += self.players.inputs_received();
        counters.stale += self.motion.stale + self.transfers.machine.stale;
        counters.violations += self.link.unencodable;
        Report {
            counters,
            entities: self.mirror.len() as u64,
            handoffs_aborted: self.transfers.machine.aborted,
            handoff_cutover_ms: Percentiles::of(&tally.cutovers_ms),
            handoff_commit_ms: Percentiles::of(&tally.cutover_commits_ms),
            handoff_ways_ms: Percentiles::of(&tally.cutover_ways_ms),
            handoff_tick_ms: Percentiles::of(&tally.cutover_ticks_ms),
            commits_again: self.transfers.machine.commits_again,
            lost: self.audit.lost,
            doubled: self.audit.doubled,
            inputs_applied: self.audit.inputs_applied(),
            tick_ms: Percentiles::of(&tally.ticks_ms),
            ore_moves: books.moves,
            deal_ms_max: books.deal_ms_max,
            flushed_rows: store.flushed_rows,
            stale_writes_refused: store.stale_refused,
            loss_window_max_ms: store.loss_window_max_ms.max(books.loss_window_max_ms),
            unreadable_rows: self.storage.unreadable,
            cpu_ms: sidereal_process::cpu_ms().unwrap_or(0),
            max_rss_kb: sidereal_process::max_rss_kb().unwrap_or(0),
        }
    }

    /// Writes the size of each map that a run can grow, and the rows removed from the database.
    fn report_map_sizes(&self, text: &mut MetricsText) {
        let store = self.storage.store();
        let (balances, leaving) = store.map(Store::known_balances).unwrap_or_default();
        let sizes = [
            ("mirror", self.mirror.len()),
            ("motion", self.motion.len()),
            ("motion_sectors", self.motion.sectors()),
            ("rooms", self.rooms.len()),
            ("lingering", self.rooms.lingering()),
            ("naia_rooms", self.naia.rooms_count()),
            ("naia_users", self.naia.users_count()),
            ("blocks", self.leases.table.len()),
            ("views", self.interest.len()),
            ("adrift", self.players.adrift()),
            ("transfers", self.transfers.machine.len()),
            ("transfer_times", self.transfers.times()),
            ("audit", self.audit.len()),
            ("deals", self.deals.len()),
            ("trades", self.trades.len()),
            ("leaving", self.goods.leaving.len() + leaving),
            ("balances", balances),
            ("reads", self.storage.reads()),
            ("chat", self.chat.len()),
            ("samples", self.tally.samples()),
        ];
        text.gauges("sidereal_entries", "Entries of maps that grow during a run, by map.", "map", &sizes);
        text.gauge("sidereal_resident_kib", "Resident memory.", sidereal_process::rss_kb().unwrap_or(0));
        text.counter("sidereal_blocks_refused_total", "Blocks rejected at the limit.", self.leases.table.refused);
        let pruned = store.map(Store::pruned).unwrap_or_default();
        for (name, count) in [
            ("deals", pruned.deals),
            ("postings", pruned.postings),
            ("tombstones", pruned.tombstones),
            ("balances", pruned.balances),
            ("sessions", pruned.sessions),
            ("pages", pruned.pages),
        ] {
            text.counter(&format!("sidereal_pruned_{name}_total"), "Removed from the database.", count);
        }
    }
}

/// Writes what each endpoint carries.
fn report_endpoints(endpoints: &[EndpointStats], text: &mut MetricsText) {
    let sessions: Vec<(&str, usize)> = endpoints.iter().map(|of| (of.thread.as_str(), of.sessions)).collect();
    text.gauges("sidereal_endpoint_sessions", "Sessions at each network thread.", "thread", &sessions);
    let each = |value: fn(&EndpointStats) -> u64| endpoints.iter().map(move |of| (of.thread.as_str(), value(of)));
    let (sent, received) = (each(|of| of.traffic.lane_sent), each(|of| of.traffic.lane_received));
    text.counters("sidereal_endpoint_lane_sent_total", "Lane datagrams that it sent.", "thread", sent);
    text.counters("sidereal_endpoint_lane_received_total", "Lane datagrams that it received.", "thread", received);
}

/// The start of this tick's work.
#[derive(Debug, Default, Resource)]
pub struct TickStart(Option<Instant>);

/// Starts the clock of an update.
pub fn start_stopwatch(mut start: ResMut<TickStart>) {
    start.0 = Some(Instant::now());
}

/// Ends the stopwatch of a tick.
pub fn stop_stopwatch(start: Res<TickStart>, mut tally: ResMut<Tally>) {
    if let Some(start) = start.0 {
        tally.record_tick(start.elapsed().as_secs_f64() * 1e3);
    }
}

/// What `/ready` and `/metrics` show.
#[derive(Resource)]
pub struct Shown(pub Arc<ServerStatus>);

/// Updates `/ready` and `/metrics` every 10 ticks (0.33 s).
pub fn show_status(readings: Readings, shown: Option<Res<Shown>>) {
    let Some(shown) = shown else { return };
    if !readings.clock.tick.0.is_multiple_of(10) {
        return;
    }
    let ready = readings.leases.home_is_live();
    let sectors = if ready { readings.leases.table.live_blocks() as u64 * 16 } else { 0 };
    shown.0.set_leases(readings.leases.table.shard_count() as u64, sectors);
    let mut text = MetricsText::default();
    text.gauge("sidereal_players", "Connected players.", readings.players.len());
    text.gauge("sidereal_entities", "Entities in the mirror.", readings.mirror.len());
    let missiles = readings.mirror.iter().filter(|(_, entry)| !is_stored(&entry.record)).count();
    text.gauge("sidereal_missiles", "Missiles in flight, which are never stored.", missiles);
    text.gauge("sidereal_tick", "The world's tick.", readings.clock.tick.0);
    let lengths = readings.tally.recent_ticks();
    text.gauge("sidereal_tick_ms_p50", "Median work in a tick of the last 10 s.", format_args!("{:.3}", lengths.p50));
    text.gauge("sidereal_tick_ms_p99", "99th percentile of the same.", format_args!("{:.3}", lengths.p99));
    let all = &readings.tally.tick_lengths;
    text.histogram("sidereal_tick_ms", "Work in a tick of the run.", all.cumulative(), all.count(), all.sum_ms());
    text.counter("sidereal_handoffs_total", "Completed handoffs.", readings.tally.handoffs);
    text.counter("sidereal_crossings_total", "Changes of sector.", readings.tally.crossings);
    text.counter("sidereal_lost_total", "Entities lost.", readings.audit.lost);
    text.counter("sidereal_doubled_total", "Entities doubled.", readings.audit.doubled);
    text.counter("sidereal_shards_crashed_total", "Shards whose simulation failed.", readings.tally.shards_crashed);
    text.gauge("sidereal_set_aside", "Entities that made shards fail, or may have.", readings.aside.len());
    text.counter("sidereal_stale_total", "Stale messages refused.", readings.tally.stale);
    text.counter("sidereal_motions_delivered_total", "Motions sent to players.", readings.tally.motions_delivered);
    text.counter("sidereal_inputs_forwarded_total", "Inputs forwarded.", readings.tally.inputs_forwarded);
    if let Some(store) = readings.storage.store().map(crate::db::Store::stats) {
        text.counter("sidereal_store_rows_total", "Rows stored.", store.flushed_rows);
        text.gauge("sidereal_store_dirty", "Changes that are not stored yet.", store.dirty);
        text.gauge("sidereal_store_oldest_dirty_ms", "Age of the oldest of them.", store.oldest_dirty_ms);
        text.counter("sidereal_store_stale_total", "Stale writes refused.", store.stale_refused);
        text.counter("sidereal_store_failed_flushes_total", "Batches that failed.", store.failed_flushes);
        text.counter("sidereal_store_dropped_total", "Changes dropped at the limit.", store.dropped_at_limit);
        text.gauge("sidereal_store_loss_window_max_ms", "Greatest age of a stored change.", store.loss_window_max_ms);
        text.gauge("sidereal_store_flush_ms_p99", "99th percentile of a batch's duration.", store.flush_ms_p99);
    }
    text.counter("sidereal_said_total", "Chat lines sent by players.", readings.tally.said);
    text.counter("sidereal_said_refused_total", "Texts refused for their content.", readings.tally.said_refused);
    text.counter("sidereal_said_over_rate_total", "Texts above an account's rate.", readings.tally.said_over_rate);
    text.counter("sidereal_said_unheard_total", "Chat lines over a receiver's limit.", readings.tally.said_unheard);
    if let Some(books) = readings.storage.store().map(crate::db::Store::books_stats) {
        text.counter("sidereal_deals_total", "Deals done.", books.deals_done);
        text.counter("sidereal_deals_refused_total", "Deals refused.", readings.tally.deals_refused);
        text.counter(
            "sidereal_deals_away_total",
            "Deals refused because the database was unavailable.",
            readings.tally.deals_refused_away,
        );
        text.counter(
            "sidereal_deals_undecided_total",
            "Deals whose result was unknown for a while.",
            books.deals_undecided,
        );
        text.gauge("sidereal_deals_waiting", "Deals that wait for the database.", books.deals_waiting);
        text.counter("sidereal_ore_moves_total", "Moves of ore in space.", books.moves);
        text.gauge("sidereal_ledger_dirty", "Balances that are not stored yet.", books.dirty);
        text.gauge("sidereal_ledger_oldest_dirty_ms", "Age of the oldest of them.", books.oldest_dirty_ms);
        text.gauge("sidereal_ledger_loss_window_max_ms", "Greatest age of a stored move.", books.loss_window_max_ms);
        text.counter("sidereal_ledger_failures_total", "Transactions that failed.", books.failures);
    }
    readings.report_map_sizes(&mut text);
    text.counter("sidereal_refused_total", "Tickets and secrets refused.", readings.tally.refused);
    text.counter(
        "sidereal_admissions_overdue_total",
        "Admitted peers that did not connect in time.",
        readings.tally.admissions_overdue,
    );
    text.counter(
        "sidereal_admissions_displaced_total",
        "Admitted peers closed for another one of the same account.",
        readings.tally.admissions_displaced,
    );
    text.gauge("sidereal_admissions", "Admitted peers that are not connected yet.", readings.link.admissions.len());
    text.gauge("sidereal_naia_users", "Users that naia keeps, connected or not.", readings.naia.users_count());
    text.counter("sidereal_bad_packets_total", "Malformed packets of players.", readings.tally.bad_packets);
    let transport = readings.link.transport.stats();
    for (name, value) in transport.traffic.iter().chain(transport.admission.iter()) {
        text.counter(&format!("sidereal_transport_{name}_total"), "Of the transport.", value);
    }
    let endpoints: Vec<EndpointStats> = [PeerKind::Player, PeerKind::Shard]
        .into_iter()
        .flat_map(|kind| readings.link.transport.endpoints(kind))
        .collect();
    report_endpoints(&endpoints, &mut text);
    shown.0.set_metrics(text);
}
