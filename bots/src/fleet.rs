//! Runs the bots: they join as their tickets arrive, play together, release the controls, wait until every input is
//! accounted for and every deal has ended, and leave.

use crate::{
    brain::{Brain, Mission},
    crew::{Crew, bot_name},
    dealer::Dealer,
    journal::Journal,
    report::{BotAccount, BotsReport},
};
use anyhow::{Context, Result};
use sidereal_client::{
    account::{AccountApi, LoginTicket},
    economy::deals::DealBook,
    flight::{controls::PilotIntent, piloting::Piloting},
    run::{self, Pace, StopFlag},
    session::{SessionState, player::Player, reconnect::Patience},
    view::WorldView,
};
use sidereal_protocol::world::{sector::SectorId, tick::TICK_DURATION};
use sidereal_transport::{ClientHandle, ClientNetwork};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};

/// How long the controls are neutral before inputs stop, seconds: the last inputs are then neutral.
const SETTLE_S: f64 = 0.3;

/// How long to wait for the last acknowledgements and answers at the end, seconds.
const DRAIN_S: f64 = 3.0;

/// How long to wait until all bots are in space, seconds; then the run starts without those that are missing.
const JOIN_S: f64 = 90.0;

/// The configuration of a run.
#[derive(Debug, Clone)]
pub struct BotsConfig {
    /// The server's HTTP address.
    pub http: String,
    /// How many bots.
    pub count: u32,
    /// How long they play once all are in space, seconds; `None`: until stopped.
    pub seconds: Option<f64>,
    /// Names, passwords and flights follow from it.
    pub seed: u64,
    /// A bot that lost its session reconnects. It is counted as dropped all the same.
    pub reconnect: bool,
    /// The mission of all bots.
    pub occupation: Occupation,
    /// Every requested deal and every answer is written here.
    pub journal: Option<PathBuf>,
    /// Written when the first bot is in space.
    pub ready_file: Option<PathBuf>,
}

/// The mission of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Occupation {
    /// Fly across the borders of shards, and fight what is near
    #[default]
    Roam,
    /// Circle at one spot, in view of each other
    Gather,
    /// Mine, deal at stations, and trade with each other
    Trade,
}

/// The phase of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Tickets arrive, bots join.
    Joining,
    /// All bots that could join are in space, since this moment.
    Playing(f64),
    /// The controls are neutral, since this moment.
    Settling(f64),
    /// No new inputs, since this moment.
    Draining(f64),
    Over,
}

/// One bot.
struct Bot {
    index: u32,
    player: Player,
    brain: Brain,
    dealer: Dealer,
    was_in_space: bool,
    /// Bytes received when play began and ended.
    bytes_from: u64,
    bytes_to: u64,
}

impl Bot {
    fn new(network: Arc<ClientNetwork>, api: AccountApi, config: &BotsConfig, index: u32, login: LoginTicket) -> Self {
        let patience = config.reconnect.then(Patience::default);
        let player = Player::new(network, api, login, patience, u64::from(index));
        let brain = Brain::new(config.seed, index);
        let dealer = Dealer::new(bot_name(config.seed, index));
        Self { index, player, brain, dealer, was_in_space: false, bytes_from: 0, bytes_to: 0 }
    }

    fn resource<T: bevy::prelude::Resource>(&self) -> &T {
        self.player.resource::<T>()
    }

    fn is_over(&self) -> bool {
        self.player.state().is_over()
    }

    fn bytes_received(&self) -> u64 {
        self.player.stats().bytes_received()
    }

    /// # Errors
    /// When the journal cannot be written.
    fn update(&mut self, delta_s: f64, mission: Option<Mission>, journal: &mut Journal) -> Result<()> {
        let world = self.player.app_mut().world_mut();
        let intent = match mission {
            Some(mission) => {
                let decision = self.brain.decide(world.resource::<WorldView>(), mission);
                self.dealer.ask(decision.ask, world, journal)?;
                PilotIntent { controls: decision.controls, respawn: decision.respawn }
            }
            None => PilotIntent::default(),
        };
        world.insert_resource(intent);
        let losses = self.player.losses();
        self.player.update(delta_s);
        self.was_in_space |= self.player.was_in_space();
        if self.player.losses() > losses {
            let state = self.resource::<SessionState>();
            tracing::error!(bot = self.index, reason = state.failure().unwrap_or_default(), "a bot's session ended");
        }
        self.dealer.follow(self.player.app_mut().world_mut(), journal)?;
        Ok(())
    }

    fn account(&self, seconds: f64) -> BotAccount {
        let bytes = self.bytes_to.saturating_sub(self.bytes_from) as f64;
        let (inputs, inputs_unacknowledged) = self.player.inputs();
        BotAccount {
            was_in_space: self.was_in_space,
            dropped: self.player.losses(),
            reconnects: self.player.returns(),
            inputs,
            inputs_unacknowledged,
            bytes_per_s: if seconds > 0.0 { bytes / seconds } else { 0.0 },
            stats: self.player.stats(),
            deals: self.dealer.account(self.resource::<DealBook>()),
        }
    }
}

/// All bots.
struct Fleet<'a> {
    config: &'a BotsConfig,
    started: Instant,
    network: Arc<ClientNetwork>,
    api: AccountApi,
    bots: BTreeMap<u32, Bot>,
    /// Bots without a ticket, or whose session ended before they had a ship.
    failed: u32,
    mission: Option<Mission>,
    journal: Journal,
    phase: Phase,
    now_s: f64,
    played_s: f64,
    first_in_space_ms: Option<u64>,
}

/// Runs the bots until their time is over or `stop` is set, and returns the report.
///
/// # Errors
/// When the address is invalid, the network cannot start, or the ready file or the journal cannot be written. Failures
/// of single bots are no errors but in the report.
pub fn run(config: &BotsConfig, stop: &StopFlag) -> Result<BotsReport> {
    let started = Instant::now();
    let api = AccountApi::new(&config.http)?;
    let network = Arc::new(ClientNetwork::new().context("cannot start the network")?);
    let crew = Crew::hire(&api, config.seed, config.count);
    let mut fleet = Fleet {
        config,
        started,
        network,
        api,
        bots: BTreeMap::new(),
        failed: 0,
        mission: match config.occupation {
            Occupation::Roam => Some(Mission::Roam),
            Occupation::Trade => Some(Mission::Trade),
            // Set once the spot is known.
            Occupation::Gather => None,
        },
        journal: Journal::open(config.journal.as_deref())?,
        phase: Phase::Joining,
        now_s: 0.0,
        played_s: 0.0,
        first_in_space_ms: None,
    };
    // One frame per tick: bots draw nothing.
    let mut pace = Pace::new(1.0 / TICK_DURATION.as_secs_f64());
    while fleet.phase != Phase::Over {
        let delta_s = pace.wait();
        fleet.take_on(&crew);
        fleet.update(delta_s)?;
        fleet.go_on(stop.is_set());
    }
    drop(crew);
    Ok(fleet.leave())
}

impl Fleet<'_> {
    fn take_on(&mut self, crew: &Crew) {
        while let Some((index, ticket)) = crew.next() {
            match ticket {
                Ok(login) => {
                    let bot = Bot::new(self.network.clone(), self.api.clone(), self.config, index, login);
                    self.bots.insert(index, bot);
                }
                Err(error) => {
                    tracing::error!(bot = bot_name(self.config.seed, index), %error, "no ticket");
                    self.failed += 1;
                }
            }
        }
    }

    fn update(&mut self, delta_s: f64) -> Result<()> {
        self.now_s += delta_s;
        let hands = matches!(self.phase, Phase::Joining | Phase::Playing(_));
        for bot in self.bots.values_mut() {
            let was_in_space = bot.was_in_space;
            bot.update(delta_s, if hands { self.mission } else { None }, &mut self.journal)?;
            if bot.was_in_space && !was_in_space {
                if self.first_in_space_ms.is_none() {
                    let ms = self.started.elapsed().as_millis() as u64;
                    self.first_in_space_ms = Some(ms);
                    tracing::info!(ms, "the first bot is in space");
                    if let Some(path) = &self.config.ready_file {
                        run::write_report(path, &serde_json::json!({ "first_bot_in_space_ms": ms }))?;
                    }
                }
                if self.mission.is_none() {
                    let center = SectorId::containing(bot.resource::<WorldView>().focus).center();
                    self.mission = Some(Mission::Gather(center));
                }
            }
        }
        Ok(())
    }

    /// Advances the phase.
    fn go_on(&mut self, stopped: bool) {
        match self.phase {
            Phase::Joining => {
                let lost = self.bots.values().filter(|bot| bot.is_over() && !bot.was_in_space).count();
                let there = self.bots.values().filter(|bot| bot.was_in_space).count();
                let all = there + lost + self.failed as usize >= self.config.count as usize;
                if stopped || (all && there == 0) {
                    self.phase = Phase::Settling(self.now_s);
                } else if all || self.now_s > JOIN_S {
                    tracing::info!(bots = there, after_s = self.now_s, "all are in space");
                    self.phase = Phase::Playing(self.now_s);
                    for bot in self.bots.values_mut() {
                        bot.bytes_from = bot.bytes_received();
                    }
                }
            }
            Phase::Playing(since) => {
                self.played_s = self.now_s - since;
                let is_done = self.config.seconds.is_some_and(|seconds| self.played_s >= seconds);
                let is_alone = self.bots.values().all(Bot::is_over);
                if stopped || is_done || is_alone {
                    self.phase = Phase::Settling(self.now_s);
                    for bot in self.bots.values_mut() {
                        bot.bytes_to = bot.bytes_received();
                    }
                }
            }
            Phase::Settling(since) if self.now_s - since >= SETTLE_S => {
                self.phase = Phase::Draining(self.now_s);
                for bot in self.bots.values_mut() {
                    bot.player.app_mut().world_mut().resource_mut::<Piloting>().pause(true);
                }
            }
            Phase::Draining(since) => {
                let is_idle = |bot: &Bot| {
                    bot.resource::<Piloting>().queue.is_empty() && bot.resource::<DealBook>().open().is_empty()
                };
                let is_drained = self.bots.values().all(|bot| bot.is_over() || is_idle(bot));
                if is_drained || self.now_s - since > DRAIN_S {
                    self.phase = Phase::Over;
                }
            }
            Phase::Settling(_) | Phase::Over => {}
        }
    }

    fn leave(mut self) -> BotsReport {
        for bot in self.bots.values_mut() {
            bot.player.close();
        }
        let handles: Vec<ClientHandle> = self.bots.values().map(|bot| bot.player.handle()).collect();
        run::wait_for_close(&handles);
        let accounts: Vec<BotAccount> = self.bots.values().map(|bot| bot.account(self.played_s)).collect();
        let mut report = BotsReport::of(self.config.count, self.played_s, &accounts);
        report.first_bot_in_space_ms = self.first_in_space_ms.unwrap_or(0);
        report.cpu_ms = sidereal_process::cpu_ms().unwrap_or(0);
        report.max_rss_kb = sidereal_process::max_rss_kb().unwrap_or(0);
        report
    }
}
