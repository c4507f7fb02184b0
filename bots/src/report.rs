//! The report of a run of bots, as one JSON object. Every field is a number with its unit in its name or in its
//! comment.

use crate::dealer::DealAccount;
use serde::Serialize;
use sidereal_client::{
    flight::inputs::InputCounts,
    session::stats::{CorrectionUnits, PlayStats},
};
use std::collections::BTreeSet;

/// Bytes per second that players received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct BytesPerPlayer {
    /// Over all bots that played.
    pub mean: f64,
    /// Of the bot that received the most.
    pub max: f64,
}

/// One bot's report.
#[derive(Debug, Clone, Default)]
pub struct BotAccount {
    /// It had a ship.
    pub was_in_space: bool,
    /// Sessions that ended without the bot's request, after it had a ship.
    pub dropped: u64,
    /// How often it was in space again after that.
    pub reconnects: u64,
    /// Inputs of all its ships.
    pub inputs: InputCounts,
    /// Inputs that were unacknowledged at the end.
    pub inputs_unacknowledged: u64,
    /// Bytes received per second while it played.
    pub bytes_per_s: f64,
    /// Its counters.
    pub stats: PlayStats,
    /// Its deals.
    pub deals: DealAccount,
}

impl BotAccount {
    /// Whether it was in space, flew, and saw others move.
    pub fn played(&self) -> bool {
        self.was_in_space && self.stats.distance_flown > 100.0 && self.stats.motions_delivered > 0
    }
}

/// The report of the whole run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BotsReport {
    /// Requested bots.
    pub bots_wanted: u64,
    /// Bots that were in space, flew more than 100 units and received motion.
    pub bots_played: u64,
    /// Inputs stamped and sent, once each.
    pub inputs_sent: u64,
    /// Inputs that a shard has applied, by its count in the acknowledgements.
    pub inputs_applied: u64,
    /// Inputs applied more than once.
    pub inputs_doubled: u64,
    /// Inputs acknowledged but not applied.
    pub inputs_lost: u64,
    /// Inputs that were not applied because their ship was destroyed.
    pub inputs_void: u64,
    /// Inputs given up after two seconds without an acknowledgement.
    pub inputs_given_up: u64,
    /// Inputs not acknowledged at the end of the run.
    pub inputs_unacknowledged: u64,
    /// Corrections of more than 0.05 units, per minute of one bot.
    pub corrections_per_min: f64,
    /// Their sizes, units.
    pub correction_units: CorrectionUnits,
    /// Bytes received per second and bot, naia's and the lane's, without QUIC's and IP's.
    pub bytes_per_s_per_player: BytesPerPlayer,
    /// Received motions of single entities, over all bots.
    pub motions_delivered: u64,
    /// Sessions that ended without the bot's request, whether it reconnected or not.
    pub sessions_dropped: u64,
    /// How often a bot was in space again after that.
    pub reconnects: u64,
    /// Other entities that moved impossibly far between two samples.
    pub jumps: u64,
    /// Corrections of own ships by more than 200 units.
    pub teleports: u64,
    /// Malformed packets, jumps, motion of entities that were never announced.
    pub violations: u64,
    /// Bullets of the bots that shards confirmed.
    pub shots_fired: u64,
    /// Beams of the bots that shards confirmed.
    pub beams_fired: u64,
    /// Missiles that bots launched, by the client's own count.
    pub missiles_launched: u64,
    /// Ships destroyed.
    pub deaths: u64,
    /// New ships after that.
    pub respawns: u64,
    /// Requested deals, each once.
    pub deals_asked: u64,
    /// Deals that were done.
    pub deals_done: u64,
    /// Deals that were refused.
    pub deals_refused: u64,
    /// Answers "undecided"; a deal may have several.
    pub deals_undecided: u64,
    /// Deals that were repeated under their keys.
    pub deals_repeated: u64,
    /// Deals without a result at the end of the run.
    pub deals_open: u64,
    /// Ore that ships gained in space: mined, collected from crates, or traded; units of ore.
    pub ore_gathered: u64,
    /// Credits of the bots at the end, by the last messages.
    pub credits: u64,
    /// Distance flown by all ships, units.
    pub distance_flown: f64,
    /// Different sectors that any bot was in.
    pub sectors_visited: u64,
    /// Seconds for which all bots played.
    pub seconds: f64,
    /// CPU time of the process, milliseconds; 0 on systems without that figure.
    pub cpu_ms: u64,
    /// The most memory that it had, KiB; 0 on systems without that figure.
    pub max_rss_kb: u64,
    /// From the start of the process until the first bot had a ship, milliseconds; 0 if none had.
    pub first_bot_in_space_ms: u64,
}

impl BotsReport {
    /// Adds up the bots' reports.
    pub fn of(wanted: u32, seconds: f64, accounts: &[BotAccount]) -> Self {
        let mut report = Self { bots_wanted: u64::from(wanted), seconds, ..Default::default() };
        let mut sizes = Vec::new();
        let mut sectors = BTreeSet::new();
        let (mut corrections, mut seconds_in_space, mut bytes) = (0u64, 0.0, Vec::new());
        for account in accounts {
            let (inputs, stats) = (&account.inputs, &account.stats);
            report.inputs_sent += inputs.sent;
            report.inputs_applied += inputs.applied;
            report.inputs_doubled += inputs.doubled;
            report.inputs_lost += inputs.lost;
            report.inputs_void += inputs.void;
            report.inputs_given_up += inputs.given_up;
            report.inputs_unacknowledged += account.inputs_unacknowledged;
            report.motions_delivered += stats.motions_delivered;
            report.sessions_dropped += account.dropped;
            report.reconnects += account.reconnects;
            report.jumps += stats.jumps;
            report.teleports += stats.teleports;
            report.violations += stats.violations();
            report.shots_fired += stats.shots_fired;
            report.beams_fired += stats.beams_fired;
            report.missiles_launched += stats.missiles_launched;
            report.deaths += stats.deaths;
            report.respawns += stats.respawns;
            report.distance_flown += stats.distance_flown;
            let DealAccount { counts, open, ore_gathered, credits } = account.deals;
            report.deals_asked += counts.asked;
            report.deals_done += counts.done;
            report.deals_refused += counts.refused;
            report.deals_undecided += counts.undecided;
            report.deals_repeated += counts.repeated;
            report.deals_open += open;
            report.ore_gathered += ore_gathered;
            report.credits += credits;
            corrections += stats.corrections;
            seconds_in_space += stats.seconds_in_space;
            sizes.extend_from_slice(stats.correction_sizes());
            sectors.extend(stats.sectors.iter().copied());
            if account.played() {
                report.bots_played += 1;
                bytes.push(account.bytes_per_s);
            }
        }
        if seconds_in_space > 0.0 {
            report.corrections_per_min = corrections as f64 * 60.0 / seconds_in_space;
        }
        report.correction_units = CorrectionUnits::of(sizes);
        report.sectors_visited = sectors.len() as u64;
        if !bytes.is_empty() {
            report.bytes_per_s_per_player = BytesPerPlayer {
                mean: bytes.iter().sum::<f64>() / bytes.len() as f64,
                max: bytes.iter().copied().fold(0.0, f64::max),
            };
        }
        report
    }

    /// The faults of the run, if there were any: one line.
    pub fn fault(&self) -> Option<String> {
        let mut faults = Vec::new();
        if self.bots_played < self.bots_wanted {
            faults.push(format!("{} of {} bots could not play", self.bots_wanted - self.bots_played, self.bots_wanted));
        }
        for (count, what) in [
            (self.violations, "violations"),
            (self.inputs_lost, "inputs lost"),
            (self.inputs_doubled, "inputs applied twice"),
            (self.sessions_dropped, "sessions dropped"),
        ] {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        }
        (!faults.is_empty()).then(|| faults.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> BotAccount {
        let mut account = BotAccount { was_in_space: true, bytes_per_s: 100.0, ..Default::default() };
        account.stats.distance_flown = 500.0;
        account.stats.motions_delivered = 10;
        account.stats.seconds_in_space = 30.0;
        (account.stats.shots_fired, account.stats.beams_fired, account.stats.missiles_launched) = (40, 5, 2);
        account.deals.counts.asked = 7;
        (account.deals.open, account.deals.ore_gathered, account.deals.credits) = (1, 20, 300);
        account.stats.visit(0, 0);
        account
    }

    #[test]
    fn a_good_run_has_no_fault_and_a_bad_one_names_all() {
        let good = BotsReport::of(2, 30.0, &[account(), account()]);
        assert_eq!(good.fault(), None);
        assert_eq!((good.bots_played, good.sectors_visited), (2, 1));
        assert_eq!((good.shots_fired, good.beams_fired, good.missiles_launched), (80, 10, 4));
        assert_eq!((good.deals_asked, good.deals_open, good.ore_gathered, good.credits), (14, 2, 40, 600));
        let mut idle = account();
        idle.stats.distance_flown = 0.0;
        idle.stats.jumps = 3;
        idle.inputs.lost = 1;
        let bad = BotsReport::of(2, 30.0, &[account(), idle]);
        assert_eq!(bad.fault().unwrap(), "1 of 2 bots could not play, 3 violations, 1 inputs lost");
    }

    #[test]
    fn a_bot_that_came_back_was_dropped_all_the_same() {
        let back = BotAccount { dropped: 2, reconnects: 2, ..account() };
        let report = BotsReport::of(2, 30.0, &[account(), back]);
        assert_eq!((report.bots_played, report.sessions_dropped, report.reconnects), (2, 2, 2));
        assert_eq!(report.fault().unwrap(), "2 sessions dropped");
    }

    #[test]
    fn bytes_are_of_those_who_played() {
        let mut more = account();
        more.bytes_per_s = 300.0;
        let report = BotsReport::of(3, 30.0, &[account(), more, BotAccount::default()]);
        assert_eq!(report.bytes_per_s_per_player, BytesPerPlayer { mean: 200.0, max: 300.0 });
    }
}
