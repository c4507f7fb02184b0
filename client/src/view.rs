//! What a pilot sees right now: the one thing that a window, a bot or a report reads.
//!
//! Runs in the player client and in bots. The library writes [`WorldView`] once per update, after
//! everything that arrived was taken in; nothing else may write it. It holds values to draw, not
//! the state machines behind them ([`crate::prediction`], [`crate::interpolation`],
//! [`crate::shots`], [`crate::beams`]).

use crate::{arms::Readiness, stats::CorrectionUnits};
use bevy::{math::DVec2, prelude::Resource};
use sidereal_protocol::{
    economy::{DealKey, Fitted, Goods},
    flight::{FlightState, HullKind},
    ids::{AccountId, EntityId, NetId},
    motion::EngineGlow,
    record::EntityKind,
    sector::SectorId,
    shot::{Beam, Shot, ShotId},
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

/// Notices kept at most; the oldest goes first. More than this nobody reads.
pub const MAX_NOTICES: usize = 16;

/// How long a kill stays in [`WorldView::kills`], seconds.
pub const KILL_SECONDS: f64 = 10.0;

/// Kills kept at most; the oldest goes first.
pub const MAX_KILLS: usize = 16;

/// Hits, and blasts, kept at most; the oldest goes first. A screen with more is white anyway.
pub const MAX_EFFECTS: usize = 256;

/// Everything that is to be drawn. All positions are world units at the moment of the last update.
#[derive(Resource, Debug, Clone)]
pub struct WorldView {
    /// The pilot's own ship; `None` before it was assigned and after it was destroyed.
    pub own: Option<OwnShip>,
    /// Everything else in sight, by compact id.
    pub others: BTreeMap<NetId, Other>,
    /// Bullets in flight, own and others'.
    pub shots: Vec<ShotInFlight>,
    /// Beams that were just fired.
    pub beams: Vec<BeamShown>,
    /// Bullets and beams that just hit something.
    pub hits: VecDeque<HitEffect>,
    /// Ships and missiles that just blew up.
    pub blasts: VecDeque<BlastEffect>,
    /// What the pilot has; `None` until the server told.
    pub purse: Option<PurseShown>,
    /// Offers of other pilots that wait for an answer, oldest first.
    pub trades: Vec<TradeOffer>,
    /// The station that there is to dock at, or where the ship is docked.
    pub dock: Dock,
    /// The rock that the own ship mines, or would mine.
    pub mining: Option<MiningTarget>,
    /// Deals of the pilot that have not ended.
    pub deals_open: usize,
    /// News, oldest first.
    pub notices: VecDeque<Notice>,
    /// Who destroyed whom, oldest first.
    pub kills: VecDeque<Kill>,
    /// Other players' ships in sight.
    pub players_near: usize,
    /// How ready the own ship's beam and launcher are.
    pub arms: Readiness,
    /// The sector of the own ship (or where it last was).
    pub sector: SectorId,
    /// Where to look: the own ship's position, or where it last was.
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

/// The pilot's ship as it is to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnShip {
    /// Compact id.
    pub net_id: NetId,
    /// Id for ever.
    pub id: EntityId,
    /// Predicted, corrections blended in.
    pub state: FlightState,
    /// What the shard said last, without prediction.
    pub confirmed: FlightState,
    /// What the engine shows, from the pilot's own hands.
    pub glow: EngineGlow,
    /// Its hull.
    pub hull_kind: HullKind,
    /// Hull points left; zero until the first vitals came.
    pub hull: u16,
    /// Hull points when whole; zero until the first vitals came.
    pub hull_max: u16,
    /// Radius, units.
    pub radius: f64,
    /// Its name; empty until its identity came.
    pub name: Arc<str>,
    /// The shard has been silent for so long that the ship is held where it was.
    pub stalled: bool,
}

/// Something in sight that is not the own ship.
#[derive(Debug, Clone, PartialEq)]
pub struct Other {
    /// Compact id.
    pub net_id: NetId,
    /// Id for ever.
    pub id: EntityId,
    /// What it is.
    pub kind: EntityKind,
    /// Its hull, if it flies.
    pub hull_kind: Option<HullKind>,
    /// What players read.
    pub name: Arc<str>,
    /// The player that it belongs to.
    pub owner: Option<AccountId>,
    /// Where it is drawn, and how it moves there.
    pub state: FlightState,
    /// Its engine.
    pub glow: EngineGlow,
    /// Hull points left.
    pub hull: u16,
    /// Hull points when whole.
    pub hull_max: u16,
    /// Radius, units.
    pub radius: f64,
    /// Units of ore in a rock or a crate, once told.
    pub ore: Option<u32>,
    /// Seconds since something was heard of its motion; a second is ordinary for what rests.
    pub silent_s: f64,
}

impl Other {
    /// Whether a player flies it.
    pub fn is_player(&self) -> bool {
        self.kind == EntityKind::Ship
    }
}

/// What the pilot has.
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
    /// Units of ore for which there is room in the hold.
    pub fn room(&self) -> u32 {
        self.hold.saturating_sub(self.ore)
    }
}

/// A trade that another pilot offers.
#[derive(Debug, Clone, PartialEq)]
pub struct TradeOffer {
    /// Its key, to answer under.
    pub key: DealKey,
    /// Who offers.
    pub partner: String,
    /// What the own pilot gets.
    pub get: Goods,
    /// What the own pilot gives.
    pub give: Goods,
    /// Seconds since it came, up to [`crate::dealing::OFFER_SECONDS`].
    pub age_s: f64,
}

/// How the ship stands to stations.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Dock {
    /// None is near.
    #[default]
    Away,
    /// One is near enough to dock at.
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
    /// The pilot's hand is on the button, and there is room in the hold.
    pub works: bool,
}

/// A bullet in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShotInFlight {
    /// Its path.
    pub shot: Shot,
    /// The own ship fired it.
    pub own: bool,
    /// Only predicted yet: the shard has not told of it.
    pub predicted: bool,
    /// Where it is drawn, units.
    pub position: DVec2,
    /// Seconds since it left the muzzle, as drawn.
    pub age_s: f64,
}

/// A beam that was just fired.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamShown {
    /// The beam. Its origin goes along with its shooter as drawn.
    pub beam: Beam,
    /// The own ship fired it.
    pub own: bool,
    /// Only foreseen yet: the shard has not told of it.
    pub foreseen: bool,
    /// Seconds since, up to [`crate::beams::BEAM_SECONDS`].
    pub age_s: f64,
}

/// A bullet's or a beam's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HitEffect {
    /// The bullet or beam.
    pub id: ShotId,
    /// What it hit.
    pub target: NetId,
    /// Where, units.
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
    /// What blew up.
    pub victim: NetId,
    /// Where, units.
    pub position: DVec2,
    /// How it drifted, units/s.
    pub velocity: DVec2,
    /// Radius of what blew up, units.
    pub radius: f64,
    /// Seconds since, up to [`BLAST_SECONDS`].
    pub age_s: f64,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// For information.
    Info,
    /// Something is wrong.
    Warning,
}

/// A line of news.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Counts up from 1, so that a reader knows which ones are new.
    pub number: u64,
    /// What it is about.
    pub kind: NoticeKind,
    /// One line.
    pub text: String,
    /// Seconds since, up to [`NOTICE_SECONDS`].
    pub age_s: f64,
}

/// Whose end it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// Others' only.
    #[default]
    None,
    /// The pilot did it.
    Killer,
    /// It was the pilot's ship.
    Victim,
}

/// Something near was destroyed.
#[derive(Debug, Clone, PartialEq)]
pub struct Kill {
    /// Counts up from 1, so that a reader knows which ones are new.
    pub number: u64,
    /// What is gone.
    pub victim: NetId,
    /// Its name.
    pub victim_name: String,
    /// What it was.
    pub victim_kind: Option<EntityKind>,
    /// Its hull, if it flew.
    pub victim_hull: Option<HullKind>,
    /// Who did it; `None` for nobody.
    pub by: Option<String>,
    /// What that is.
    pub by_kind: Option<EntityKind>,
    /// The pilot's part in it.
    pub part: Part,
    /// Seconds since, up to [`KILL_SECONDS`].
    pub age_s: f64,
}

/// How the link does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkQuality {
    /// Round trip, milliseconds, as naia measures it.
    pub ping_ms: f64,
    /// How much it varies, milliseconds.
    pub jitter_ms: f64,
    /// How much later than the best the ordinary late packet comes, ticks: what the playback allows for.
    pub arrival_jitter_ticks: f64,
    /// Share of the own ship's states that did not arrive in the last seconds, 0 to 1.
    pub loss: f64,
    /// Lane and naia bytes received in the last second.
    pub bytes_per_s: f64,
    /// Lane and naia bytes sent in the last second.
    pub bytes_sent_per_s: f64,
    /// How far others are drawn in the past, ticks.
    pub interpolation_delay_ticks: f64,
    /// Share of what moves that is drawn past what was heard of it, 0 to 1, smoothed over about a second.
    pub extrapolated: f64,
    /// Ticks between a confirmed input's stamp and the shard's tick that applied it.
    pub input_delay_ticks: u64,
    /// Inputs on their way.
    pub unacknowledged_inputs: usize,
    /// Corrections of the own ship in the last minute.
    pub corrections_per_min: f64,
    /// Their sizes.
    pub correction_units: CorrectionUnits,
}

impl Default for WorldView {
    /// Nothing to see yet.
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
    /// Adds a line of news; past [`MAX_NOTICES`] the oldest goes.
    pub(crate) fn announce(&mut self, number: u64, kind: NoticeKind, text: String) {
        if self.notices.len() >= MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(Notice { number, kind, text, age_s: 0.0 });
    }

    /// Adds a kill; past [`MAX_KILLS`] the oldest goes.
    pub(crate) fn add_kill(&mut self, kill: Kill) {
        if self.kills.len() >= MAX_KILLS {
            self.kills.pop_front();
        }
        self.kills.push_back(kill);
    }

    /// Adds a hit; past [`MAX_EFFECTS`] the oldest goes.
    pub(crate) fn add_hit(&mut self, hit: HitEffect) {
        if self.hits.len() >= MAX_EFFECTS {
            self.hits.pop_front();
        }
        self.hits.push_back(hit);
    }

    /// Adds an explosion; past [`MAX_EFFECTS`] the oldest goes.
    pub(crate) fn add_blast(&mut self, blast: BlastEffect) {
        if self.blasts.len() >= MAX_EFFECTS {
            self.blasts.pop_front();
        }
        self.blasts.push_back(blast);
    }

    /// Ages effects, notices and kills by `seconds` and drops what is over.
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
