//! A process of thin players: they log in, fly a scene, and are counted.
//!
//! Runs in child processes. The parent asks with lines ([`crate::children::conversation`]): `sample` for the counters,
//! `grow N` to have `N` players, `settle` to release the controls and let the last inputs be acknowledged.

mod meter;
mod pilot;

pub use meter::ByteMeter;
use meter::SpreadMeter;
pub use pilot::Scene;

use crate::{
    children::conversation::{Conversation, answer},
    thin::player::{Counting, Player},
};
use anyhow::{Context, Result};
use clap::Args;
use pilot::Pilot;
use serde::{Deserialize, Serialize};
use sidereal_bots::crew::Crew;
use sidereal_client::{account::AccountApi, flight::inputs::InputCounts};
use sidereal_protocol::{packets::own_state::OwnState, rules::flight::Controls, world::tick::SimTick};
use sidereal_transport::ClientNetwork;
use std::time::{Duration, Instant};

/// The pause between two rounds over all players.
const ROUND: Duration = Duration::from_millis(4);

/// How often received bytes are noted.
const METER_INTERVAL: Duration = Duration::from_millis(50);

/// Reasons of failures that are kept.
const MAX_FAILURES: usize = 4;

/// How often unacknowledged inputs are sent again while the fleet settles.
const RESEND_INTERVAL: Duration = Duration::from_millis(33);

/// The options of the role.
#[derive(Debug, Clone, Args)]
pub struct FleetOptions {
    /// The server's HTTP address
    #[arg(long)]
    pub http: String,
    /// Players at the start
    #[arg(long)]
    pub count: u32,
    /// Names and flights follow from it
    #[arg(long)]
    pub seed: u64,
    /// What they do
    #[arg(long, value_enum)]
    pub scene: Scene,
}

/// The answer to each request: sums over all players.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FleetSample {
    /// Players that the parent wants.
    pub wanted: u32,
    /// Players whose session is complete.
    pub connected: u32,
    /// Players that see what they must see: their ship, or all entities of a comparison.
    pub ready: u32,
    /// Players whose session has ended, or that got no ticket.
    pub failed: u32,
    /// The first reasons.
    pub failures: Vec<String>,
    /// Motions received.
    pub motions: u64,
    /// Players that have received motions.
    pub with_motions: u32,
    /// Payload bytes received.
    pub bytes: u64,
    /// The most bytes that one player received in one second since the last request.
    pub worst_second_bytes: u64,
    /// From the first player's receipt of a tick's motion to the last one's in this process since the last request, ms:
    /// half of the ticks...
    pub spread_p50_ms: f64,
    /// ...and 99 of 100.
    pub spread_p99_ms: f64,
    /// Shots, hits and beams received.
    pub shots: u64,
    /// States of own ships received.
    pub own_states: u64,
    /// Ships lost.
    pub deaths: u64,
    /// Packets that could not be decoded.
    pub malformed: u64,
    /// Inputs sent.
    pub inputs_sent: u64,
    /// Inputs applied, by the shards' count.
    pub inputs_applied: u64,
    /// Inputs acknowledged but not applied.
    pub inputs_lost: u64,
    /// Inputs applied more than once.
    pub inputs_doubled: u64,
    /// Inputs sent whose fate is not known yet.
    pub inputs_open: u64,
    /// Inputs whose fate stays unknown: on their way when the ship was lost, or unanswered for two seconds.
    pub inputs_unknown: u64,
}

impl FleetSample {
    /// Counts a session that has ended.
    pub fn note_failure(&mut self, failure: Option<String>) {
        let Some(reason) = failure else { return };
        self.failed += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(reason);
        }
    }

    /// Adds another process's.
    pub fn add(&mut self, other: &Self) {
        self.wanted += other.wanted;
        self.connected += other.connected;
        self.ready += other.ready;
        self.failed += other.failed;
        let room = MAX_FAILURES.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.iter().take(room).cloned());
        self.motions += other.motions;
        self.with_motions += other.with_motions;
        self.bytes += other.bytes;
        self.worst_second_bytes = self.worst_second_bytes.max(other.worst_second_bytes);
        self.spread_p50_ms = self.spread_p50_ms.max(other.spread_p50_ms);
        self.spread_p99_ms = self.spread_p99_ms.max(other.spread_p99_ms);
        self.shots += other.shots;
        self.own_states += other.own_states;
        self.deaths += other.deaths;
        self.malformed += other.malformed;
        self.inputs_sent += other.inputs_sent;
        self.inputs_applied += other.inputs_applied;
        self.inputs_lost += other.inputs_lost;
        self.inputs_doubled += other.inputs_doubled;
        self.inputs_open += other.inputs_open;
        self.inputs_unknown += other.inputs_unknown;
    }
}

struct Member {
    player: Player,
    pilot: Pilot,
    meter: ByteMeter,
}

/// The logins of one batch of players.
struct Batch {
    crew: Crew,
    /// Tickets still to come.
    open: u32,
}

struct Fleet {
    options: FleetOptions,
    api: AccountApi,
    network: ClientNetwork,
    wanted: u32,
    batches: Vec<Batch>,
    members: Vec<Member>,
    /// Players without a ticket.
    refused: Vec<String>,
    settling: bool,
    resend_at: Instant,
    meter_at: Instant,
    spread: SpreadMeter,
}

/// Runs until the parent closes the standard input.
///
/// # Errors
/// When the network or the standard output fails.
pub fn run(options: &FleetOptions) -> Result<()> {
    let conversation = Conversation::start()?;
    let mut fleet = Fleet {
        options: options.clone(),
        api: AccountApi::new(&options.http)?,
        network: ClientNetwork::new().context("cannot start the network")?,
        wanted: 0,
        batches: Vec::new(),
        members: Vec::new(),
        refused: Vec::new(),
        settling: false,
        resend_at: Instant::now(),
        meter_at: Instant::now(),
        spread: SpreadMeter::default(),
    };
    fleet.grow(options.count);
    while let Ok(request) = conversation.next() {
        if let Some(request) = request {
            fleet.on_request(&request);
            answer(&fleet.sample())?;
        }
        let now = Instant::now();
        fleet.update(now);
        std::thread::sleep(ROUND.saturating_sub(now.elapsed()));
    }
    fleet.members.iter_mut().for_each(|member| member.player.close());
    // The goodbyes are sent by the network thread.
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}

impl Fleet {
    fn on_request(&mut self, request: &str) {
        if request == "settle" {
            self.settling = true;
        } else if let Some(count) = request.strip_prefix("grow ").and_then(|count| count.parse().ok()) {
            self.grow(count);
        }
    }

    /// Logs in until `count` players are wanted.
    fn grow(&mut self, count: u32) {
        let more = count.saturating_sub(self.wanted);
        if more > 0 {
            // Each batch has names of its own.
            let seed = self.options.seed.wrapping_mul(1_000).wrapping_add(self.batches.len() as u64);
            self.batches.push(Batch { crew: Crew::hire(&self.api, seed, more), open: more });
            self.wanted = count;
        }
    }

    fn update(&mut self, now: Instant) {
        for batch in &mut self.batches {
            while batch.open > 0
                && let Some((_, login)) = batch.crew.next()
            {
                batch.open -= 1;
                match login {
                    Ok(login) => {
                        let counting =
                            if self.options.scene == Scene::Idle { Counting::Moving } else { Counting::Heads };
                        let number = self.members.len() as u64;
                        self.members.push(Member {
                            player: Player::connect(&self.network, &login, counting),
                            pilot: Pilot::new(self.options.scene, self.options.seed, number),
                            meter: ByteMeter::default(),
                        });
                    }
                    Err(error) => self.refused.push(error.to_string()),
                }
            }
        }
        let resends = self.settling && now >= self.resend_at;
        if resends {
            self.resend_at = now + RESEND_INTERVAL;
        }
        let meters = now >= self.meter_at;
        if meters {
            self.meter_at = now + METER_INTERVAL;
        }
        for Member { player, pilot, meter } in &mut self.members {
            if self.settling || self.options.scene == Scene::Idle {
                player.update(now, None);
            } else {
                let mut steer = |own: &OwnState, tick: SimTick| -> Controls { pilot.steer(own, tick) };
                player.update(now, Some(&mut steer));
            }
            if resends {
                player.resend();
            }
            if meters {
                meter.note(now, player.counts().bytes);
            }
            if let Some(tick) = player.take_new_tick() {
                self.spread.note(tick, Instant::now());
            }
        }
    }

    fn sample(&mut self) -> FleetSample {
        let mut sample = FleetSample { wanted: self.wanted, ..FleetSample::default() };
        (sample.spread_p50_ms, sample.spread_p99_ms) = self.spread.take();
        self.refused.iter().for_each(|reason| sample.note_failure(Some(reason.clone())));
        for Member { player, meter, .. } in &mut self.members {
            let failure = player.failure();
            sample.connected += u32::from(player.is_connected() && failure.is_none());
            sample.ready += u32::from(player.is_in_space() && failure.is_none());
            sample.note_failure(failure);
            let counts = player.counts();
            sample.motions += counts.motions;
            sample.with_motions += u32::from(counts.motions > 0);
            sample.bytes += counts.bytes;
            sample.worst_second_bytes = sample.worst_second_bytes.max(meter.take_worst());
            sample.shots += counts.shots;
            sample.own_states += counts.own_states;
            sample.deaths += counts.deaths;
            sample.malformed += counts.malformed;
            let InputCounts { sent, applied, lost, doubled, given_up, void, .. } = player.inputs.counts();
            sample.inputs_unknown += given_up + void;
            sample.inputs_sent += sent;
            sample.inputs_applied += applied;
            sample.inputs_lost += lost;
            sample.inputs_doubled += doubled;
            sample.inputs_open += player.inputs.len() as u64;
        }
        sample
    }
}
