//! The player's present view, which a window, a bot or a report reads.
//!
//! Runs in the player client and in bots. The library writes [`WorldView`] once per update, after all received data
//! were read; nothing else may write it. It contains values to draw, not the state machines behind them
//! ([`crate::flight::prediction`], [`crate::replication::interpolation`], [`crate::weapons::shots`],
//! [`crate::weapons::beams`]).

use crate::{session::stats::CorrectionUnits, weapons::arms::Readiness};
use bevy::{math::DVec2, prelude::Resource};
use sidereal_protocol::{
    packets::motion::EngineGlow,
    record::EntityKind,
    rules::{
        economy::{DealKey, Fitted, Goods},
        flight::{FlightState, HullKind},
        shot::{Beam, Shot, ShotId},
    },
    world::{
        ids::{AccountId, EntityId, NetId},
        sector::SectorId,
    },
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// How long a hit stays in [`WorldView::hits`], seconds.
pub const HIT_SECONDS: f64 = 0.5;

/// How long an explosion stays in [`WorldView::blasts`], seconds.
pub const BLAST_SECONDS: f64 = 1.5;

/// How long a notice stays in [`WorldView::notices`], seconds.
pub const NOTICE_SECONDS: f64 = 12.0;

/// The most notices kept; the oldest is dropped first. More are not readable.
pub const MAX_NOTICES: usize = 16;

/// How long a kill stays in [`WorldView::kills`], seconds.
pub const KILL_SECONDS: f64 = 10.0;

/// The most kills kept; the oldest is dropped first.
pub const MAX_KILLS: usize = 16;

/// The most hits, and the most blasts, kept; the oldest is dropped first. With more the screen would be white.
pub const MAX_EFFECTS: usize = 256;

/// Everything to draw. All positions are world units at the moment of the last update.
#[derive(Resource, Debug, Clone)]
pub struct WorldView {
    /// The pilot's own ship; `None` before it was assigned and after it was destroyed.
    pub own: Option<OwnShip>,
    /// All other entities in view, by compact id.
    pub others: BTreeMap<NetId, Other>,
    /// Bullets in flight, own and others'.
    pub shots: Vec<ShotInFlight>,
    /// Beams that were just fired.
    pub beams: Vec<BeamShown>,
    /// Bullets and beams that just hit something.
    pub hits: VecDeque<HitEffect>,
    /// Ships and missiles that just blew up.
    pub blasts: VecDeque<BlastEffect>,
    /// The player's balances; `None` before they were received.
    pub purse: Option<PurseShown>,
    /// Open offers of other players, oldest first.
    pub trades: Vec<TradeOffer>,
    /// The station that is in docking range, or where the ship is docked.
    pub dock: Dock,
    /// The rock that the own ship mines, or would mine.
    pub mining: Option<MiningTarget>,
    /// Number of the player's open deals.
    pub deals_open: usize,
    /// Notices, oldest first.
    pub notices: VecDeque<Notice>,
    /// Kills, oldest first.
    pub kills: VecDeque<Kill>,
    /// Number of other players' ships in view.
    pub players_near: usize,
    /// The reload progress of the own ship's beam and launcher.
    pub arms: Readiness,
    /// The sector of the own ship, or its last one.
    pub sector: SectorId,
    /// The camera's centre: the own ship's position, or its last one.
    pub focus: DVec2,
    /// The moment at which others are drawn, in ticks of the world.
    pub play_tick: f64,
    /// The moment at which the own ship is drawn, in ticks of the world; ahead of `play_tick`.
    pub own_tick: f64,
    /// Seed of the starfield; zero before the welcome.
    pub sky_seed: u64,
    /// The player's account, from the welcome on.
    pub account: Option<AccountId>,
    /// How the link does.
    pub link: LinkQuality,
    /// Seconds that the client has run, by its frame deltas.
    pub time_s: f64,
}

/// The player's ship to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnShip {
    /// Compact id.
    pub net_id: NetId,
    /// Permanent id.
    pub id: EntityId,
    /// Predicted, corrections blended in.
    pub state: FlightState,
    /// The shard's last state, without prediction.
    pub confirmed: FlightState,
    /// Its visible engine, from the player's own controls.
    pub glow: EngineGlow,
    /// Its hull.
    pub hull_kind: HullKind,
    /// Hull points left; zero until the first vitals came.
    pub hull: u16,
    /// Hull points when undamaged; zero until the first vitals came.
    pub hull_max: u16,
    /// Radius, units.
    pub radius: f64,
    /// Its name; empty until its identity came.
    pub name: Arc<str>,
    /// No state from the shard for so long that the ship is held in place.
    pub stalled: bool,
}

/// An entity in view that is not the own ship.
#[derive(Debug, Clone, PartialEq)]
pub struct Other {
    /// Compact id.
    pub net_id: NetId,
    /// Permanent id.
    pub id: EntityId,
    /// Its kind.
    pub kind: EntityKind,
    /// Its hull, if it flies.
    pub hull_kind: Option<HullKind>,
    /// Its name for players.
    pub name: Arc<str>,
    /// The player that owns it.
    pub owner: Option<AccountId>,
    /// Its drawn state.
    pub state: FlightState,
    /// Its engine.
    pub glow: EngineGlow,
    /// Hull points left.
    pub hull: u16,
    /// Hull points when undamaged.
    pub hull_max: u16,
    /// Radius, units.
    pub radius: f64,
    /// Units of ore in a rock or a crate, once received.
    pub ore: Option<u32>,
    /// Seconds since its last received motion; a second is ordinary for bodies at rest.
    pub silent_s: f64,
}

impl Other {
    /// Whether a player flies it.
    pub fn is_player(&self) -> bool {
        self.kind == EntityKind::Ship
    }
}

/// The player's balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurseShown {
    /// Credits in the account's wallet.
    pub credits: u64,
    /// Units of ore in the ship's hold.
    pub ore: u32,
    /// Units of ore that fit into it.
    pub hold: u32,
    /// Weapons fitted to the ship.
    pub fitted: Fitted,
    /// The station that the ship is docked at.
    pub docked: Option<NetId>,
    /// Units of ore in the account's store there.
    pub stored: u32,
}

impl PurseShown {
    /// Free room in the hold, units of ore.
    pub fn room(&self) -> u32 {
        self.hold.saturating_sub(self.ore)
    }
}

/// A trade offered by another player.
#[derive(Debug, Clone, PartialEq)]
pub struct TradeOffer {
    /// Its key, for the answer.
    pub key: DealKey,
    /// The name of the player that offers.
    pub partner: String,
    /// The goods that the own player gets.
    pub get: Goods,
    /// The goods that the own player gives.
    pub give: Goods,
    /// Seconds since it was received, up to [`crate::economy::dealing::OFFER_SECONDS`].
    pub age_s: f64,
}

/// The ship's position relative to stations.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Dock {
    /// None is near.
    #[default]
    Away,
    /// One is in docking range.
    InReach {
        /// Its compact id.
        station: NetId,
        /// Its name.
        name: Arc<str>,
        /// The ship has to brake first.
        too_fast: bool,
    },
    /// The ship is docked.
    Docked {
        /// The station's compact id.
        station: NetId,
        /// Its name; empty until its identity came.
        name: Arc<str>,
    },
}

/// A rock that the own ship can mine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MiningTarget {
    /// The rock.
    pub rock: NetId,
    /// The mining button is pressed, and there is room in the hold.
    pub works: bool,
}

/// A bullet in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShotInFlight {
    /// Its path.
    pub shot: Shot,
    /// The own ship fired it.
    pub own: bool,
    /// Only predicted: the shard has not confirmed it yet.
    pub predicted: bool,
    /// Its drawn position, units.
    pub position: DVec2,
    /// Seconds since it left the muzzle, as drawn.
    pub age_s: f64,
}

/// A beam that was just fired.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamShown {
    /// The beam. Its origin follows its drawn shooter.
    pub beam: Beam,
    /// The own ship fired it.
    pub own: bool,
    /// Only predicted: the shard has not confirmed it yet.
    pub foreseen: bool,
    /// Seconds since it was first shown, up to [`crate::weapons::beams::BEAM_SECONDS`].
    pub age_s: f64,
}

/// A bullet's or a beam's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HitEffect {
    /// The bullet or beam.
    pub id: ShotId,
    /// The entity that it hit.
    pub target: NetId,
    /// Position of the hit, units.
    pub position: DVec2,
    /// The own ship fired it.
    pub by_own: bool,
    /// The own ship was hit.
    pub on_own: bool,
    /// Seconds since, up to [`HIT_SECONDS`].
    pub age_s: f64,
}

/// The end of a ship or a missile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlastEffect {
    /// The entity that exploded.
    pub victim: NetId,
    /// Position, units.
    pub position: DVec2,
    /// Its drift, units/s.
    pub velocity: DVec2,
    /// Radius of the entity that exploded, units.
    pub radius: f64,
    /// Seconds since, up to [`BLAST_SECONDS`].
    pub age_s: f64,
}

/// The kind of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// For information.
    Info,
    /// A problem.
    Warning,
}

/// A line for the player.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Counts up from 1, so that a reader recognises new ones.
    pub number: u64,
    /// Its kind.
    pub kind: NoticeKind,
    /// One line.
    pub text: String,
    /// Seconds since, up to [`NOTICE_SECONDS`].
    pub age_s: f64,
}

/// The player's part in a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// None: others only.
    #[default]
    None,
    /// The player destroyed it.
    Killer,
    /// It was the pilot's ship.
    Victim,
}

/// An entity nearby was destroyed.
#[derive(Debug, Clone, PartialEq)]
pub struct Kill {
    /// Counts up from 1, so that a reader recognises new ones.
    pub number: u64,
    /// The destroyed entity.
    pub victim: NetId,
    /// Its name.
    pub victim_name: String,
    /// Its kind.
    pub victim_kind: Option<EntityKind>,
    /// Its hull, if it flew.
    pub victim_hull: Option<HullKind>,
    /// The name of the entity that destroyed it, if there is one.
    pub by: Option<String>,
    /// That one's kind.
    pub by_kind: Option<EntityKind>,
    /// The pilot's part in it.
    pub part: Part,
    /// Seconds since, up to [`KILL_SECONDS`].
    pub age_s: f64,
}

/// The state of the link.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkQuality {
    /// Round trip, milliseconds, as naia measures it.
    pub ping_ms: f64,
    /// Its variation, milliseconds.
    pub jitter_ms: f64,
    /// How much later than the best an ordinary late packet arrives, ticks: the playback allows for it.
    pub arrival_jitter_ticks: f64,
    /// Share of the own ship's states that did not arrive in the last seconds, 0 to 1.
    pub loss: f64,
    /// Lane and naia bytes received in the last second.
    pub bytes_per_s: f64,
    /// Lane and naia bytes sent in the last second.
    pub bytes_sent_per_s: f64,
    /// How far others are drawn in the past, ticks.
    pub interpolation_delay_ticks: f64,
    /// Share of moving entities that are extrapolated, 0 to 1, smoothed over about a second.
    pub extrapolated: f64,
    /// Ticks between a confirmed input's stamp and the shard's tick that applied it.
    pub input_delay_ticks: u64,
    /// Number of unacknowledged inputs.
    pub unacknowledged_inputs: usize,
    /// Corrections of the own ship in the last minute.
    pub corrections_per_min: f64,
    /// Their sizes.
    pub correction_units: CorrectionUnits,
}

impl Default for WorldView {
    /// Empty.
    fn default() -> Self {
        Self {
            own: None,
            others: BTreeMap::new(),
            shots: Vec::new(),
            beams: Vec::new(),
            hits: VecDeque::new(),
            blasts: VecDeque::new(),
            purse: None,
            trades: Vec::new(),
            dock: Dock::Away,
            mining: None,
            deals_open: 0,
            notices: VecDeque::new(),
            kills: VecDeque::new(),
            players_near: 0,
            arms: Readiness::default(),
            sector: SectorId::new(0, 0),
            focus: DVec2::ZERO,
            play_tick: 0.0,
            own_tick: 0.0,
            sky_seed: 0,
            account: None,
            link: LinkQuality::default(),
            time_s: 0.0,
        }
    }
}

impl WorldView {
    /// Adds a notice; beyond [`MAX_NOTICES`] the oldest is dropped.
    pub(crate) fn announce(&mut self, number: u64, kind: NoticeKind, text: String) {
        if self.notices.len() >= MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(Notice { number, kind, text, age_s: 0.0 });
    }

    /// Adds a kill; beyond [`MAX_KILLS`] the oldest is dropped.
    pub(crate) fn add_kill(&mut self, kill: Kill) {
        if self.kills.len() >= MAX_KILLS {
            self.kills.pop_front();
        }
        self.kills.push_back(kill);
    }

    /// Adds a hit; beyond [`MAX_EFFECTS`] the oldest is dropped.
    pub(crate) fn add_hit(&mut self, hit: HitEffect) {
        if self.hits.len() >= MAX_EFFECTS {
            self.hits.pop_front();
        }
        self.hits.push_back(hit);
    }

    /// Adds an explosion; beyond [`MAX_EFFECTS`] the oldest is dropped.
    pub(crate) fn add_blast(&mut self, blast: BlastEffect) {
        if self.blasts.len() >= MAX_EFFECTS {
            self.blasts.pop_front();
        }
        self.blasts.push_back(blast);
    }

    /// Ages effects, notices and kills by `seconds` and drops those that are over.
    pub(crate) fn age(&mut self, seconds: f64) {
        for hit in &mut self.hits {
            hit.age_s += seconds;
        }
        self.hits.retain(|hit| hit.age_s < HIT_SECONDS);
        for blast in &mut self.blasts {
            blast.age_s += seconds;
            blast.position += blast.velocity * seconds;
        }
        self.blasts.retain(|blast| blast.age_s < BLAST_SECONDS);
        for notice in &mut self.notices {
            notice.age_s += seconds;
        }
        self.notices.retain(|notice| notice.age_s < NOTICE_SECONDS);
        for kill in &mut self.kills {
            kill.age_s += seconds;
        }
        self.kills.retain(|kill| kill.age_s < KILL_SECONDS);
    }
}
