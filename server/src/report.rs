//! Counters of a run, the report at its end, and the text for `/metrics`.

use crate::{
    core::Core,
    http::{MetricsText, ServerStatus},
    persist::is_stored,
    transfers::Cutover,
};
use bevy::prelude::{Res, Resource};
use serde::Serialize;
use sidereal_protocol::tick::TICK_HZ;
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Samples kept for percentiles; beyond it the oldest go.
const MAX_SAMPLES: usize = 100_000;

/// Ticks whose length `/metrics` tells of: ten seconds.
const RECENT_TICKS: usize = 10 * TICK_HZ as usize;

/// The last samples of something, in milliseconds.
#[derive(Debug, Default)]
pub struct Samples {
    values: Vec<f64>,
    next: usize,
}

impl Samples {
    /// Adds one.
    pub fn push(&mut self, value: f64) {
        if self.values.len() < MAX_SAMPLES {
            self.values.push(value);
        } else {
            self.values[self.next] = value;
            self.next = (self.next + 1) % MAX_SAMPLES;
        }
    }

    /// The value that `share` (0 to 1) of the samples do not exceed; zero without samples.
    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

/// Everything that is counted.
#[derive(Debug, Default, Resource)]
pub struct Tally {
    /// Most players at once.
    pub players_max: u64,
    /// Entities that entered the mirror.
    pub entered: u64,
    /// Entities that left the mirror.
    pub left: u64,
    /// Entities that came to be in this run, or were loaded.
    pub created: u64,
    /// Ships that came into the world with their players.
    pub admitted: u64,
    /// Entities that were destroyed.
    pub destroyed: u64,
    /// Ships that left the world with their players.
    pub stored: u64,
    /// Ships after the first.
    pub respawns: u64,
    /// Sessions that took the helm of a ship which was in the world.
    pub takeovers: u64,
    /// Changes of logical sector.
    pub crossings: u64,
    /// Completed handoffs between shards.
    pub handoffs: u64,
    /// From prepare to the target's first tick, as the server saw it.
    pub cutovers_ms: Samples,
    /// Of these, until the commit.
    pub cutover_commits_ms: Samples,
    /// Of these, on the way to the target and back.
    pub cutover_ways_ms: Samples,
    /// Of these, waiting for the target's tick.
    pub cutover_ticks_ms: Samples,
    /// Length of the server's work in a tick.
    pub ticks_ms: Samples,
    /// Of these the last ones.
    recent_ticks_ms: VecDeque<f64>,
    /// Inputs that were new, of sessions that have ended.
    pub inputs_received: u64,
    /// Inputs passed on to shards.
    pub inputs_forwarded: u64,
    /// Input packets above a player's rate.
    pub inputs_over_rate: u64,
    /// Refused credentials.
    pub refused: u64,
    /// Peers that were let in and closed as they did not connect in time.
    pub admissions_overdue: u64,
    /// Peers that were let in and closed, before they connected, for another one of the same account.
    pub admissions_displaced: u64,
    /// Malformed packets of players.
    pub bad_packets: u64,
    /// Sessions that ended without a goodbye.
    pub sessions_dropped: u64,
    /// Shards that ended without a goodbye.
    pub shards_lost: u64,
    /// Of these, shards whose simulation has failed.
    pub shards_crashed: u64,
    /// Messages about an epoch, a holder or an entity that is no longer.
    pub stale: u64,
    /// Blows on an entity that was between two owners or gone.
    pub impacts_lost: u64,
    /// Things that own processes must never do.
    pub violations: u64,
    /// Sectors' packets made.
    pub sector_packets: u64,
    /// Motions sent to players.
    pub motions_delivered: u64,
    /// Their bytes.
    pub motion_bytes: u64,
    /// Packets that a player's byte budget held back.
    pub thinned: u64,
    /// Times that a room had to wait before it came into a peer's view: too much is there already.
    pub rooms_delayed: u64,
    /// Entities of naia's that were renewed, see [`crate::renewal`].
    pub renewals: u64,
    /// Deals that were done.
    pub deals_done: u64,
    /// Deals that were refused, for whatever reason.
    pub deals_refused: u64,
    /// Of these, because the database was away.
    pub deals_refused_away: u64,
    /// Texts that players said and others could hear.
    pub said: u64,
    /// Texts that were refused for what they were.
    pub said_refused: u64,
    /// Texts above an account's rate.
    pub said_over_rate: u64,
    /// Lines that a player was not sent, for there were too many.
    pub said_unheard: u64,
}

impl Tally {
    /// Counts a tick's work.
    fn record_tick(&mut self, length_ms: f64) {
        self.ticks_ms.push(length_ms);
        if self.recent_ticks_ms.len() == RECENT_TICKS {
            self.recent_ticks_ms.pop_front();
        }
        self.recent_ticks_ms.push_back(length_ms);
    }

    /// What the last ten seconds' ticks took.
    fn recent_ticks(&self) -> Percentiles {
        let values = self.recent_ticks_ms.iter().copied().collect();
        Percentiles::of(&Samples { values, next: 0 })
    }

    /// Samples that are kept.
    pub fn samples(&self) -> usize {
        let kept = [&self.cutovers_ms, &self.cutover_commits_ms, &self.cutover_ways_ms, &self.cutover_ticks_ms];
        kept.iter().map(|samples| samples.values.len()).sum::<usize>() + self.ticks_ms.values.len()
    }

    /// Counts a completed handoff.
    pub fn record_cutover(&mut self, cutover: Cutover) {
        self.cutovers_ms.push(cutover.total_ms());
        self.cutover_commits_ms.push(cutover.commit_ms);
        self.cutover_ways_ms.push(cutover.ways_ms);
        self.cutover_ticks_ms.push(cutover.tick_ms);
    }
}

/// Percentiles, milliseconds.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    /// Half of the samples.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
}

impl Percentiles {
    fn of(samples: &Samples) -> Self {
        Self { p50: samples.percentile(0.50), p95: samples.percentile(0.95), p99: samples.percentile(0.99) }
    }
}

/// The server's report at the end of a run; the launcher joins it with the others'.
#[derive(Debug, Serialize)]
pub struct Report {
    players_max: u64,
    entities: u64,
    created: u64,
    destroyed: u64,
    stored: u64,
    respawns: u64,
    takeovers: u64,
    crossings: u64,
    handoffs: u64,
    handoffs_aborted: u64,
    handoff_cutover_ms: Percentiles,
    handoff_commit_ms: Percentiles,
    handoff_ways_ms: Percentiles,
    handoff_tick_ms: Percentiles,
    commits_again: u64,
    lost: u64,
    doubled: u64,
    inputs_received: u64,
    inputs_forwarded: u64,
    inputs_applied: u64,
    inputs_over_rate: u64,
    refused: u64,
    admissions_overdue: u64,
    admissions_displaced: u64,
    bad_packets: u64,
    sessions_dropped: u64,
    shards_lost: u64,
    stale: u64,
    impacts_lost: u64,
    violations: u64,
    tick_ms: Percentiles,
    sector_packets: u64,
    motions_delivered: u64,
    motion_bytes: u64,
    thinned: u64,
    rooms_delayed: u64,
    renewals: u64,
    deals_done: u64,
    deals_refused: u64,
    deals_refused_away: u64,
    said: u64,
    said_refused: u64,
    said_over_rate: u64,
    said_unheard: u64,
    ore_moves: u64,
    deal_ms_max: u64,
    flushed_rows: u64,
    stale_writes_refused: u64,
    loss_window_max_ms: u64,
    unreadable_rows: u64,
    cpu_ms: u64,
    max_rss_kb: u64,
}

impl Core<'_, '_> {
    /// The report as of now.
    pub fn report(&self) -> Report {
        let tally = &self.tally;
        let store = self.storage.store().map(crate::db::Store::stats).unwrap_or_default();
        let books = self.storage.store().map(crate::db::Store::books_stats).unwrap_or_default();
        Report {
            players_max: tally.players_max,
            entities: self.mirror.len() as u64,
            created: tally.created,
            destroyed: tally.destroyed,
            stored: tally.stored,
            respawns: tally.respawns,
            takeovers: tally.takeovers,
            crossings: tally.crossings,
            handoffs: tally.handoffs,
            handoffs_aborted: self.transfers.machine.aborted,
            handoff_cutover_ms: Percentiles::of(&tally.cutovers_ms),
            handoff_commit_ms: Percentiles::of(&tally.cutover_commits_ms),
            handoff_ways_ms: Percentiles::of(&tally.cutover_ways_ms),
            handoff_tick_ms: Percentiles::of(&tally.cutover_ticks_ms),
            commits_again: self.transfers.machine.commits_again,
            lost: self.audit.lost,
            doubled: self.audit.doubled,
            inputs_received: tally.inputs_received + self.players.inputs_received(),
            inputs_forwarded: tally.inputs_forwarded,
            inputs_applied: self.audit.inputs_applied(),
            inputs_over_rate: tally.inputs_over_rate,
            refused: tally.refused,
            admissions_overdue: tally.admissions_overdue,
            admissions_displaced: tally.admissions_displaced,
            bad_packets: tally.bad_packets,
            sessions_dropped: tally.sessions_dropped,
            shards_lost: tally.shards_lost,
            stale: tally.stale + self.motion.stale + self.transfers.machine.stale,
            impacts_lost: tally.impacts_lost,
            violations: tally.violations,
            tick_ms: Percentiles::of(&tally.ticks_ms),
            sector_packets: tally.sector_packets,
            motions_delivered: tally.motions_delivered,
            motion_bytes: tally.motion_bytes,
            thinned: tally.thinned,
            rooms_delayed: tally.rooms_delayed,
            renewals: tally.renewals,
            deals_done: tally.deals_done,
            deals_refused: tally.deals_refused,
            deals_refused_away: tally.deals_refused_away,
            said: tally.said,
            said_refused: tally.said_refused,
            said_over_rate: tally.said_over_rate,
            said_unheard: tally.said_unheard,
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
}

/// When this tick's work began.
#[derive(Debug, Default, Resource)]
pub struct TickStart(Option<Instant>);

/// Starts the clock of an update.
pub fn start_stopwatch(mut start: bevy::prelude::ResMut<'_, TickStart>) {
    start.0 = Some(Instant::now());
}

/// What `/ready` and `/metrics` show.
#[derive(Resource)]
pub struct Shown(pub Arc<ServerStatus>);

/// Ends the stopwatch of a tick, and brings `/ready` and `/metrics` up to date once a second.
pub fn show_status(mut core: Core<'_, '_>, shown: Option<Res<'_, Shown>>, start: Res<'_, TickStart>) {
    if let Some(start) = start.0 {
        core.tally.record_tick(start.elapsed().as_secs_f64() * 1e3);
    }
    let Some(shown) = shown else { return };
    if !core.clock.tick.0.is_multiple_of(10) {
        return;
    }
    let ready = core.leases.home_is_live();
    let sectors = if ready { core.leases.table.live_blocks() as u64 * 16 } else { 0 };
    shown.0.set_leases(core.leases.table.shard_count() as u64, sectors);
    let mut text = MetricsText::default();
    text.gauge("sidereal_players", "Connected players.", core.players.len());
    text.gauge("sidereal_entities", "Entities in the mirror.", core.mirror.len());
    let missiles = core.mirror.iter().filter(|(_, entry)| !is_stored(&entry.record)).count();
    text.gauge("sidereal_missiles", "Of the entities, missiles in flight, which are never stored.", missiles);
    text.gauge("sidereal_tick", "The world's tick.", core.clock.tick.0);
    let lengths = core.tally.recent_ticks();
    text.gauge("sidereal_tick_ms_p50", "Work in a tick, half of the last 10 s.", format_args!("{:.3}", lengths.p50));
    text.gauge("sidereal_tick_ms_p99", "The same, 99 of 100.", format_args!("{:.3}", lengths.p99));
    text.counter("sidereal_handoffs_total", "Completed handoffs.", core.tally.handoffs);
    text.counter("sidereal_crossings_total", "Changes of sector.", core.tally.crossings);
    text.counter("sidereal_lost_total", "Entities lost.", core.audit.lost);
    text.counter("sidereal_doubled_total", "Entities doubled.", core.audit.doubled);
    text.counter("sidereal_shards_crashed_total", "Shards whose simulation failed.", core.tally.shards_crashed);
    text.gauge("sidereal_set_aside", "Entities that shards failed at, or may have.", core.aside.len());
    text.counter("sidereal_stale_total", "Stale messages refused.", core.tally.stale);
    text.counter("sidereal_motions_delivered_total", "Motions sent to players.", core.tally.motions_delivered);
    text.counter("sidereal_inputs_forwarded_total", "Inputs passed on.", core.tally.inputs_forwarded);
    if let Some(store) = core.storage.store().map(crate::db::Store::stats) {
        text.counter("sidereal_store_rows_total", "Rows stored.", store.flushed_rows);
        text.gauge("sidereal_store_dirty", "Changes that are not stored yet.", store.dirty);
        text.gauge("sidereal_store_oldest_dirty_ms", "Age of the oldest of them.", store.oldest_dirty_ms);
        text.counter("sidereal_store_stale_total", "Stale writes refused.", store.stale_refused);
        text.counter("sidereal_store_failed_flushes_total", "Batches that failed.", store.failed_flushes);
        text.counter("sidereal_store_dropped_total", "Changes dropped at the limit.", store.dropped_at_limit);
        text.gauge("sidereal_store_loss_window_max_ms", "Greatest age of a stored change.", store.loss_window_max_ms);
        text.gauge("sidereal_store_flush_ms_p99", "Duration of a batch, 99 of 100.", store.flush_ms_p99);
    }
    text.counter("sidereal_said_total", "Texts that players said.", core.tally.said);
    text.counter("sidereal_said_refused_total", "Texts refused for what they were.", core.tally.said_refused);
    text.counter("sidereal_said_over_rate_total", "Texts above an account's rate.", core.tally.said_over_rate);
    text.counter("sidereal_said_unheard_total", "Lines too many for who would hear them.", core.tally.said_unheard);
    if let Some(books) = core.storage.store().map(crate::db::Store::books_stats) {
        text.counter("sidereal_deals_total", "Deals done.", books.deals_done);
        text.counter("sidereal_deals_refused_total", "Deals refused.", core.tally.deals_refused);
        text.counter("sidereal_deals_away_total", "Of these, as the database was away.", core.tally.deals_refused_away);
        text.counter(
            "sidereal_deals_undecided_total",
            "Deals whose end was not known for a while.",
            books.deals_undecided,
        );
        text.gauge("sidereal_deals_waiting", "Deals that wait for the database.", books.deals_waiting);
        text.counter("sidereal_ore_moves_total", "Moves of ore in space.", books.moves);
        text.gauge("sidereal_ledger_dirty", "Balances that are not stored yet.", books.dirty);
        text.gauge("sidereal_ledger_oldest_dirty_ms", "Age of the oldest of them.", books.oldest_dirty_ms);
        text.gauge("sidereal_ledger_loss_window_max_ms", "Greatest age of a stored move.", books.loss_window_max_ms);
        text.counter("sidereal_ledger_failures_total", "Transactions that failed.", books.failures);
    }
    core.tell_sizes(&mut text);
    text.counter("sidereal_refused_total", "Tickets and secrets refused.", core.tally.refused);
    text.counter(
        "sidereal_admissions_overdue_total",
        "Peers let in that did not connect in time.",
        core.tally.admissions_overdue,
    );
    text.counter(
        "sidereal_admissions_displaced_total",
        "Peers let in and closed for another one of the same account.",
        core.tally.admissions_displaced,
    );
    text.gauge("sidereal_admissions", "Peers let in that are not connected yet.", core.link.admissions.len());
    text.gauge("sidereal_naia_users", "Users that naia keeps, connected or not.", core.naia.users_count());
    text.counter("sidereal_bad_packets_total", "Malformed packets of players.", core.tally.bad_packets);
    let transport = core.link.transport.stats();
    for (name, value) in transport.traffic.iter().chain(transport.admission.iter()) {
        text.counter(&format!("sidereal_transport_{name}_total"), "Of the transport.", value);
    }
    shown.0.set_metrics(text);
}
