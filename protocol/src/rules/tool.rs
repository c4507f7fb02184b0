//! The tools of a craft (weapons, the mining laser, the tractor beam), and what the mesh must know of each: one row of a
//! table per tool.
//!
//! Code that merges inputs, predicts intervals, judges hits or draws looks the row up instead of naming the tool. What
//! belongs to one capability alone (how a missile steers, how hard a tractor beam pulls) is not here but in that
//! capability. Of what a craft may buy to improve a tool, [`crate::rules::economy`] has the prices.

use crate::{
    packets::motion::Light,
    rules::{
        economy::{Fitted, MINING_BITE, MINING_INTERVAL_TICKS, MINING_RANGE, Weapon},
        flight::{Controls, HullKind},
        shot::{
            BEAM_DAMAGE, BEAM_INTERVAL_TICKS, BEAM_RANGE, BULLET_DAMAGE, BULLET_LIFE_TICKS, BULLET_SPEED, MISSILE_CONE,
            MISSILE_DAMAGE, MISSILE_INTERVAL_TICKS, MISSILE_LIFE_TICKS, MISSILE_SIGHT,
        },
        tractor::TRACTOR_RANGE,
    },
    world::kind::EntityKind,
};

/// A tool of a craft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Tool {
    /// It fires bullets.
    Gun = 0,
    /// It fires beams.
    Beam = 1,
    /// It launches missiles.
    Launcher = 2,
    /// It takes ore out of rocks.
    MiningLaser = 3,
    /// It pulls loose bodies.
    TractorBeam = 4,
}

/// How a tool acts, and what is sent of it, so that remote clients draw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// A straight path, judged as it goes along. The path is sent once ([`Shot`](crate::rules::shot::Shot)), and drawn by its
    /// formula.
    Path {
        /// Relative to the craft, units/s.
        speed: f64,
        /// How long it flies, ticks.
        life_ticks: u64,
    },
    /// A ray, judged at once where the pilot saw the others: its input carries how far back that was. Its two ends are
    /// sent ([`Beam`](crate::rules::shot::Beam)).
    Ray {
        /// How far it reaches, units.
        range: f64,
    },
    /// A body that homes on a target: an entity like others.
    Homing {
        /// How long it flies, ticks.
        life_ticks: u64,
        /// How far away a target may be at the launch, units.
        sight: f64,
        /// Half the angle around the heading in which a target is found, radians.
        cone: f64,
    },
    /// It acts on one body in reach as long as it is on. Every process computes by the same rule on which one, so that
    /// only the light of the craft is sent.
    Hold {
        /// How far it reaches, units from the body's edge.
        range: f64,
        /// The light that is on while it has a body.
        light: Light,
    },
}

/// The time between two uses of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Each hull has its own: [`HullSpec::fire_interval_ticks`](crate::rules::flight::HullSpec::fire_interval_ticks).
    Hull,
    /// The same for all hulls, ticks.
    Ticks(u64),
}

/// A figure of a tool that a bought [`Weapon`] can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// The time between two uses.
    Interval,
    /// The damage. Only of a ray: where a path or a homing body hits, what is fitted to the craft is not known.
    Damage,
}

/// What a bought [`Weapon`] changes of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Improvement {
    /// The weapon that is fitted.
    pub weapon: Weapon,
    /// The figure that it changes...
    pub figure: Figure,
    /// ...by this factor: numerator and denominator.
    pub factor: (u64, u64),
}

/// What the mesh must know of a tool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToolSpec {
    /// Whose row this is.
    pub tool: Tool,
    /// Its name for players.
    pub name: &'static str,
    /// The kinds that carry it.
    pub carriers: &'static [EntityKind],
    /// The bit in [`Controls::buttons`] that uses it.
    pub button: u8,
    /// Whether a short press counts: it is remembered when several inputs are applied in one tick.
    pub is_trigger: bool,
    /// How it acts.
    pub act: Act,
    /// The time between two uses, as long as nothing improves it.
    pub interval: Interval,
    /// Damage of one hit, hull points, as long as nothing improves it.
    pub damage: u16,
    /// The share of its velocity that a hit gives to a body of mass one.
    pub push: f64,
    /// Ore that one use takes, units.
    pub bite: u32,
    /// What is bought for it.
    pub improvements: &'static [Improvement],
    /// Whether players wait for it: a bar shows how far it is ready again.
    pub shows_reload: bool,
}

/// The table, by the tools' numbers.
const TOOLS: [ToolSpec; 5] = [
    ToolSpec {
        tool: Tool::Gun,
        name: "gun",
        carriers: &[EntityKind::Ship, EntityKind::Drone],
        button: Controls::FIRE,
        is_trigger: true,
        act: Act::Path { speed: BULLET_SPEED, life_ticks: BULLET_LIFE_TICKS },
        interval: Interval::Hull,
        damage: BULLET_DAMAGE,
        push: 0.01,
        bite: 0,
        improvements: &[Improvement { weapon: Weapon::RapidGun, figure: Figure::Interval, factor: (2, 3) }],
        shows_reload: false,
    },
    ToolSpec {
        tool: Tool::Beam,
        name: "beam",
        carriers: &[EntityKind::Ship],
        button: Controls::BEAM,
        is_trigger: true,
        act: Act::Ray { range: BEAM_RANGE },
        interval: Interval::Ticks(BEAM_INTERVAL_TICKS),
        damage: BEAM_DAMAGE,
        push: 0.0,
        bite: 0,
        improvements: &[Improvement { weapon: Weapon::HeavyBeam, figure: Figure::Damage, factor: (2, 1) }],
        shows_reload: true,
    },
    ToolSpec {
        tool: Tool::Launcher,
        name: "missile",
        carriers: &[EntityKind::Ship],
        button: Controls::LAUNCH,
        is_trigger: true,
        act: Act::Homing { life_ticks: MISSILE_LIFE_TICKS, sight: MISSILE_SIGHT, cone: MISSILE_CONE },
        interval: Interval::Ticks(MISSILE_INTERVAL_TICKS),
        damage: MISSILE_DAMAGE,
        push: 0.1,
        bite: 0,
        improvements: &[Improvement { weapon: Weapon::FastLauncher, figure: Figure::Interval, factor: (1, 2) }],
        shows_reload: true,
    },
    ToolSpec {
        tool: Tool::MiningLaser,
        name: "mining laser",
        carriers: &[EntityKind::Ship],
        button: Controls::MINE,
        is_trigger: false,
        act: Act::Hold { range: MINING_RANGE, light: Light::Mining },
        interval: Interval::Ticks(MINING_INTERVAL_TICKS),
        damage: 0,
        push: 0.0,
        bite: MINING_BITE,
        improvements: &[],
        shows_reload: false,
    },
    ToolSpec {
        tool: Tool::TractorBeam,
        name: "tractor beam",
        carriers: &[EntityKind::Ship],
        button: Controls::TRACTOR,
        is_trigger: false,
        act: Act::Hold { range: TRACTOR_RANGE, light: Light::Tractor },
        interval: Interval::Ticks(1),
        damage: 0,
        push: 0.0,
        bite: 0,
        improvements: &[],
        shows_reload: false,
    },
];

const _: () = {
    let (mut number, mut buttons) = (0, Controls::BOOST | Controls::BRAKE);
    while number < TOOLS.len() {
        let spec = &TOOLS[number];
        assert!(spec.tool as usize == number, "the rows stand in the order of the tools' numbers");
        assert!(spec.button.count_ones() == 1 && buttons & spec.button == 0, "each tool has a button of its own");
        buttons |= spec.button;
        let mut bought = 0;
        while bought < spec.improvements.len() {
            let improvement = &spec.improvements[bought];
            let is_damage = matches!(improvement.figure, Figure::Damage);
            assert!(!is_damage || matches!(spec.act, Act::Ray { .. }), "only a ray knows its craft where it hits");
            assert!(improvement.factor.1 > 0, "a denominator above zero");
            bought += 1;
        }
        number += 1;
    }
};

/// The buttons of all triggers.
pub const TRIGGERS: u8 = {
    let (mut number, mut buttons) = (0, 0);
    while number < TOOLS.len() {
        if TOOLS[number].is_trigger {
            buttons |= TOOLS[number].button;
        }
        number += 1;
    }
    buttons
};

/// The buttons of all rays.
const AIMED: u8 = {
    let (mut number, mut buttons) = (0, 0);
    while number < TOOLS.len() {
        if matches!(TOOLS[number].act, Act::Ray { .. }) {
            buttons |= TOOLS[number].button;
        }
        number += 1;
    }
    buttons
};

impl Tool {
    /// How many there are.
    pub const COUNT: usize = TOOLS.len();

    /// All tools, by their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        TOOLS.iter().map(|spec| spec.tool)
    }

    /// Its row.
    pub fn spec(self) -> &'static ToolSpec {
        &TOOLS[self as usize]
    }

    /// Whether entities of this kind carry it.
    pub fn is_carried_by(self, kind: EntityKind) -> bool {
        self.spec().carriers.contains(&kind)
    }

    /// Ticks between two uses by a craft of this hull with these weapons. Shards act by it, clients predict by it. A
    /// tool whose interval is the hull's is never used without one.
    pub fn interval_ticks(self, hull: Option<HullKind>, fitted: Fitted) -> u64 {
        let plain = match self.spec().interval {
            Interval::Hull => hull.map_or(u64::MAX, |hull| hull.spec().fire_interval_ticks),
            Interval::Ticks(ticks) => ticks,
        };
        self.improved(Figure::Interval, plain, fitted)
    }

    /// Damage of one hit by a craft with these weapons, hull points.
    pub fn damage(self, fitted: Fitted) -> u16 {
        let damage = self.improved(Figure::Damage, self.spec().damage.into(), fitted);
        damage.try_into().unwrap_or(u16::MAX)
    }

    /// Whether `controls` use it.
    pub fn is_held(self, controls: Controls) -> bool {
        controls.holds(self.spec().button)
    }

    fn improved(self, figure: Figure, plain: u64, fitted: Fitted) -> u64 {
        let improvements = self.spec().improvements.iter();
        let counting =
            improvements.filter(|improvement| improvement.figure == figure && fitted.has(improvement.weapon));
        counting.fold(plain, |value, improvement| {
            let (times, parts) = improvement.factor;
            // In two steps: the interval of a gun that never fires is too long to be multiplied.
            (value / parts).saturating_mul(times).saturating_add(value % parts * times / parts)
        })
    }
}

impl Controls {
    /// Whether they use a ray, which is judged where the pilot saw the others: the input carries the view then.
    pub fn is_aimed(&self) -> bool {
        self.holds(AIMED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_its_row_and_its_button() {
        let buttons: Vec<u8> = Tool::all().map(|tool| tool.spec().button).collect();
        assert_eq!(buttons, [1, 16, 8, 32, 64]);
        assert!(Tool::all().all(|tool| tool.spec().tool == tool));
        assert_eq!((TRIGGERS, AIMED), (Controls::FIRE | Controls::LAUNCH | Controls::BEAM, Controls::BEAM));
    }

    #[test]
    fn each_weapon_changes_what_it_says_and_nothing_else() {
        let scout = Some(HullKind::Scout);
        let figures = |fitted| {
            let gun = Tool::Gun.interval_ticks(scout, fitted);
            (gun, Tool::Beam.damage(fitted), Tool::Launcher.interval_ticks(scout, fitted))
        };
        let plain = (6, BEAM_DAMAGE, MISSILE_INTERVAL_TICKS);
        let none = Fitted::default();
        assert_eq!(figures(none), plain);
        assert_eq!(figures(none.with(Weapon::RapidGun)), (4, plain.1, plain.2));
        assert_eq!(figures(none.with(Weapon::HeavyBeam)), (plain.0, 2 * plain.1, plain.2));
        assert_eq!(figures(none.with(Weapon::FastLauncher)), (plain.0, plain.1, plain.2 / 2));
        assert!(Tool::Gun.interval_ticks(Some(HullKind::Missile), none.with(Weapon::RapidGun)) > u64::MAX / 2);
    }

    #[test]
    fn every_weapon_that_is_sold_improves_one_tool() {
        for weapon in Weapon::ALL {
            let improved =
                Tool::all().flat_map(|tool| tool.spec().improvements).filter(|bought| bought.weapon == weapon);
            assert_eq!(improved.count(), 1, "{weapon:?}");
        }
    }

    #[test]
    fn a_rapid_gun_of_every_hull_fires_half_as_often_again() {
        let rapid = Fitted::default().with(Weapon::RapidGun);
        let hulls = [HullKind::Scout, HullKind::Drone, HullKind::Hauler, HullKind::Gunship];
        let intervals = hulls.map(|hull| Tool::Gun.interval_ticks(Some(hull), rapid));
        assert_eq!(intervals, [4, 10, 6, 3]);
        assert_eq!(Tool::Gun.interval_ticks(None, Fitted::default()), u64::MAX);
    }
}
