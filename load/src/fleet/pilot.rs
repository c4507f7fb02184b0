//! How thin players fly: by the last exact state of their ship, towards a point or a heading.

use clap::ValueEnum;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use sidereal_protocol::{
    DVec2,
    packets::own_state::OwnState,
    rules::flight::{Controls, wrap_angle},
    world::tick::SimTick,
};

/// What the players do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scene {
    /// Nothing at all, no inputs either: for the comparison
    #[value(hide = true)]
    Idle,
    /// Drift where they start, with inputs
    Still,
    /// Fly straight, each in its own direction, across sectors
    Roam,
    /// All in one sector, turning and firing
    Fight,
    /// Circle close together round one point, in view of each other
    Gather,
}

/// Where a fight takes place: the middle of a sector.
const ARENA: DVec2 = DVec2::new(500.0, 500.0);
/// Ships that will be further from it than this fly back, units.
const ARENA_RADIUS: f64 = 200.0;
/// How far ahead a fighter looks for that, seconds: a ship turns and stops slowly.
const FORESIGHT_S: f64 = 1.5;
/// Where all gather.
const MEETING: DVec2 = DVec2::new(500.0, 500.0);

/// Ticks between two changes of a fighter's course.
const COURSE_TICKS: u64 = 45;

/// A roaming ship turns round beyond this distance from the world's centre, units: some 30 sectors.
const FAR: f64 = 15_000.0;

/// The pilot of one ship.
#[derive(Debug)]
pub struct Pilot {
    scene: Scene,
    random: Pcg64Mcg,
    heading: f64,
    course_until: SimTick,
}

impl Pilot {
    /// The pilot `number` of a fleet; its flight follows from the seed.
    pub fn new(scene: Scene, seed: u64, number: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let heading = random.random_range(-std::f64::consts::PI..std::f64::consts::PI);
        Self { scene, random, heading, course_until: SimTick(0) }
    }

    /// The controls for a tick.
    pub fn steer(&mut self, own: &OwnState, tick: SimTick) -> Controls {
        let state = &own.state;
        match self.scene {
            Scene::Idle | Scene::Still => Controls::default(),
            Scene::Roam => {
                if state.position.length() > FAR && state.position.dot(DVec2::from_angle(self.heading)) > 0.0 {
                    self.heading = (-state.position).to_angle() + self.random.random_range(-0.8..0.8);
                }
                towards(own, self.heading, 127, 0)
            }
            Scene::Gather => {
                let way = MEETING - state.position;
                let heading = match way.length() {
                    // Round the point, at a distance that differs from ship to ship.
                    far if far > 160.0 => way.to_angle(),
                    _ => way.to_angle() + std::f64::consts::FRAC_PI_2,
                };
                towards(own, heading, 90, 0)
            }
            Scene::Fight => {
                let way = ARENA - (state.position + state.velocity * FORESIGHT_S);
                if way.length() > ARENA_RADIUS {
                    return towards(own, way.to_angle(), 127, Controls::FIRE);
                }
                if tick >= self.course_until {
                    self.course_until = tick + COURSE_TICKS;
                    self.heading = self.random.random_range(-std::f64::consts::PI..std::f64::consts::PI);
                }
                towards(own, self.heading, 60, Controls::FIRE)
            }
        }
    }
}

/// Turns to `heading` and thrusts.
fn towards(own: &OwnState, heading: f64, thrust: i8, buttons: u8) -> Controls {
    let error = wrap_angle(heading - own.state.angle) - own.state.angular_velocity * 0.2;
    // The cast saturates.
    let turn = (error * 150.0).clamp(-127.0, 127.0) as i8;
    let thrust = if error.abs() < 0.8 { thrust } else { 0 };
    Controls { thrust, turn, buttons }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::{
        rules::flight::{FlightState, HullKind, step},
        world::{ids::NetId, sector::SectorId},
    };
    use std::collections::BTreeSet;

    /// Flies for `seconds` and returns where the ship was each second, and whether it ever fired.
    fn flight(scene: Scene, number: u64, seconds: u64) -> (Vec<DVec2>, bool) {
        let mut pilot = Pilot::new(scene, 7, number);
        let mut own = OwnState {
            net_id: NetId(1),
            boarding: 1,
            tick: SimTick(0),
            input_tick: SimTick(0),
            inputs_applied: 0,
            state: FlightState { position: DVec2::new(200.0, -100.0), ..FlightState::default() },
        };
        let (mut places, mut fired) = (Vec::new(), false);
        for tick in 1..=seconds * 30 {
            let controls = pilot.steer(&own, SimTick(tick));
            fired |= controls.holds(Controls::FIRE);
            own.state = step(&own.state, controls, &HullKind::Scout.spec());
            if tick % 30 == 0 {
                places.push(own.state.position);
            }
        }
        (places, fired)
    }

    #[test]
    fn a_roamer_crosses_sectors_in_its_own_direction() {
        let ends: Vec<DVec2> = (0..4).filter_map(|number| flight(Scene::Roam, number, 60).0.last().copied()).collect();
        let sectors: BTreeSet<SectorId> = ends.iter().map(|end| SectorId::containing(*end)).collect();
        assert!(sectors.len() >= 3, "{ends:?}");
        assert!(ends.iter().all(|end| end.length() > 2_000.0), "{ends:?}");
    }

    #[test]
    fn a_fight_and_a_meeting_stay_in_one_sector() {
        for number in 0..4 {
            for scene in [Scene::Fight, Scene::Gather] {
                let (places, fired) = flight(scene, number, 60);
                assert_eq!(fired, scene == Scene::Fight);
                let late = &places[25..];
                assert!(
                    late.iter().all(|place| SectorId::containing(*place) == SectorId::new(0, 0)),
                    "{scene:?} {late:?}"
                );
            }
        }
        assert_eq!(flight(Scene::Still, 1, 2), (vec![DVec2::new(200.0, -100.0); 2], false));
    }
}
