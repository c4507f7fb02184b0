//! Bullets in flight: received once or several times, drawn by computing their path.
//!
//! Pure except that it is a resource. The own ship's shots are shown at once, predicted, and are replaced by the
//! shard's when they arrive. Others' are drawn at the playback's moment. An own bullet starts at the own ship's moment,
//! which is ahead, and falls back to the others' during its first second, so that it leaves the muzzle where the player
//! sees it and hits where the target is drawn.

use crate::view::ShotInFlight;
use bevy::{math::DVec2, prelude::Resource};
use sidereal_protocol::{
    rules::{
        flight::FlightState,
        shot::{BULLET_LIFE_TICKS, BULLET_SPEED, Shot, ShotHit, ShotId},
    },
    world::{
        ids::NetId,
        sector::SectorId,
        tick::{SimTick, TICK_SECONDS},
    },
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The most bullets followed; more are dropped and counted. A ship has 8 in flight.
pub const MAX_SHOTS: usize = 1024;

/// The most hits that wait for their moment; beyond it the oldest is shown early.
const MAX_WAITING_HITS: usize = 256;

/// Ticks after which an ended shot's id is dropped: by then no repetition of it arrives any more.
const REMEMBER_TICKS: u64 = 90;

/// A predicted shot and a shard's are the same one if their ticks differ by no more than this.
const SAME_SHOT_TICKS: u64 = 6;

/// A predicted shot that the shard does not confirm within this many ticks was wrong.
const UNCONFIRMED_TICKS: f64 = 30.0;

/// Ticks in which an own bullet falls back from the own ship's moment to the others'.
const FALL_BACK_TICKS: f64 = 30.0;

#[derive(Debug, Clone, Copy)]
struct Flying {
    shot: Shot,
    own: bool,
    predicted: bool,
    /// The deviation of the drawing after the shard's path replaced the predicted one.
    offset: DVec2,
}

/// All known bullets.
#[derive(Resource, Debug, Default)]
pub struct ShotBook {
    flying: BTreeMap<ShotId, Flying>,
    /// Ended shots, and shard's ids of predicted ones.
    ended: BTreeSet<(SimTick, ShotId)>,
    waiting: VecDeque<(SimTick, ShotHit)>,
    weapon_ready: SimTick,
    /// The last drawn moment: of others, and of the own ship.
    moment: (f64, f64),
    dropped: u64,
}

impl ShotBook {
    /// The trigger is held at the world's tick `tick`: adds a predicted shot, if the weapon is ready by then. `state`
    /// is the ship after that tick, `muzzle` the bullet's start.
    pub fn fire(&mut self, shooter: NetId, tick: SimTick, state: &FlightState, muzzle: DVec2, interval_ticks: u64) {
        if !self.can_fire(tick) {
            return;
        }
        self.weapon_ready = tick + interval_ticks;
        let shot = leaving(ShotId { shooter, tick }, state, muzzle);
        self.flying.insert(shot.id, Flying { shot, own: true, predicted: true, offset: DVec2::ZERO });
    }

    fn can_fire(&self, tick: SimTick) -> bool {
        tick >= self.weapon_ready && self.flying.len() < MAX_SHOTS
    }

    /// Receives `shot` from a sector's update, perhaps repeatedly. `own` is the own ship's net id. True if it is new,
    /// and followed from now on.
    pub fn receive(&mut self, shot: &Shot, own: Option<NetId>, interval_ticks: u64) -> bool {
        let id = shot.id;
        if self.ended.contains(&(id.tick, id)) {
            return false;
        }
        if let Some(known) = self.flying.get(&id)
            && !known.predicted
        {
            return false;
        }
        let is_own = own == Some(id.shooter);
        let mut offset = DVec2::ZERO;
        if is_own {
            self.weapon_ready = self.weapon_ready.max(id.tick + interval_ticks);
            if let Some(predicted) = self.predicted_twin(id) {
                let (play, own_tick) = self.moment;
                let told = Flying { shot: *shot, own: true, predicted: false, offset };
                offset = drawn_position(&predicted, play, own_tick) - drawn_position(&told, play, own_tick);
            }
        } else if self.flying.len() >= MAX_SHOTS {
            self.dropped += 1;
            return false;
        }
        self.flying.insert(id, Flying { shot: *shot, own: is_own, predicted: false, offset });
        true
    }

    /// Removes the predicted shot that corresponds to `id`, if there is one.
    fn predicted_twin(&mut self, id: ShotId) -> Option<Flying> {
        let from = ShotId { shooter: id.shooter, tick: SimTick(id.tick.0.saturating_sub(SAME_SHOT_TICKS)) };
        let to = ShotId { shooter: id.shooter, tick: id.tick + SAME_SHOT_TICKS };
        let twin = self
            .flying
            .range(from..=to)
            .filter(|(_, flying)| flying.predicted)
            .min_by_key(|(known, _)| known.tick.0.abs_diff(id.tick.0))
            .map(|(known, _)| *known)?;
        self.flying.remove(&twin)
    }

    /// Receives a hit from a sector's update of `tick`, perhaps repeatedly.
    pub fn hear_hit(&mut self, hit: &ShotHit, tick: SimTick) {
        if !self.ended.insert((hit.id.tick, hit.id)) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING_HITS {
            // Shown at the next advance, early rather than never.
            if let Some((when, _)) = self.waiting.front_mut() {
                *when = SimTick(0);
            }
            self.dropped += 1;
            return;
        }
        self.waiting.push_back((tick, *hit));
    }

    /// Advances the time: others are drawn at `play`, the own ship at `own_tick`. Returns the hits whose moment has
    /// come.
    pub fn advance(&mut self, play: f64, own_tick: f64, delta_s: f64) -> Vec<ShotHit> {
        self.moment = (play, own_tick);
        let mut due = Vec::new();
        let flying = &mut self.flying;
        self.waiting.retain(|(tick, hit)| {
            // An own hit is shown at once: the player waits for it.
            let is_own = flying.get(&hit.id).is_some_and(|flying| flying.own);
            let is_due = is_own || tick.0 as f64 <= play;
            if is_due {
                due.push(*hit);
            }
            !is_due
        });
        for hit in &due {
            flying.remove(&hit.id);
        }
        let left = 0.5f64.powf(delta_s / crate::replication::smoothing::OFFSET_HALF_LIFE_S);
        let ended = &mut self.ended;
        flying.retain(|id, flying| {
            flying.offset *= left;
            let age = drawn_at(flying, play, own_tick) - id.tick.0 as f64;
            let unconfirmed = flying.predicted && own_tick - id.tick.0 as f64 > UNCONFIRMED_TICKS;
            let over = age > BULLET_LIFE_TICKS as f64;
            if over {
                ended.insert((id.tick, *id));
            }
            !(over || unconfirmed)
        });
        let oldest = SimTick((play.max(0.0) as u64).saturating_sub(REMEMBER_TICKS));
        *ended = ended.split_off(&(oldest, ShotId { shooter: NetId(0), tick: SimTick(0) }));
        due
    }

    /// The bullets to draw.
    pub fn drawn(&self, play: f64, own_tick: f64) -> impl Iterator<Item = ShotInFlight> {
        self.flying.values().filter_map(move |flying| {
            let at = drawn_at(flying, play, own_tick);
            let age = at - flying.shot.id.tick.0 as f64;
            // Not yet fired at the drawn moment.
            (age >= 0.0).then(|| ShotInFlight {
                shot: flying.shot,
                own: flying.own,
                predicted: flying.predicted,
                position: drawn_position(flying, play, own_tick),
                age_s: age * TICK_SECONDS,
            })
        })
    }

    /// The own bullet at the muzzle, whose tick is not drawn yet at `own_tick`: so a shot is visible in the frame that
    /// reads the trigger. It was fired, or will be at `fires_at` if the weapon is ready by then. `state` and `muzzle`
    /// are the ship's as drawn.
    pub fn at_muzzle(
        &self,
        shooter: NetId,
        own_tick: f64,
        fires_at: Option<SimTick>,
        (state, muzzle): (&FlightState, DVec2),
    ) -> Option<ShotInFlight> {
        let fired = self.flying.values().filter(|flying| flying.predicted).map(|flying| flying.shot.id.tick);
        let waiting = fired.filter(|tick| tick.0 as f64 > own_tick).min();
        let tick = waiting.or_else(|| fires_at.filter(|tick| self.can_fire(*tick)))?;
        let shot = leaving(ShotId { shooter, tick }, state, muzzle);
        Some(ShotInFlight { shot, own: true, predicted: true, position: muzzle, age_s: 0.0 })
    }

    /// The own ship is another one: its weapon is ready, predicted shots of the old one are removed.
    pub fn board(&mut self) {
        self.weapon_ready = SimTick(0);
        self.flying.retain(|_, flying| !flying.predicted);
    }

    /// Number of bullets in flight.
    pub fn len(&self) -> usize {
        self.flying.len()
    }

    /// Whether no bullet is in flight.
    pub fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// Number of shots and hits that were dropped at the limit.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// A bullet that leaves a ship with this `state`.
fn leaving(id: ShotId, state: &FlightState, muzzle: DVec2) -> Shot {
    let velocity = state.velocity + state.heading() * BULLET_SPEED;
    Shot::new(id, SectorId::containing(muzzle), muzzle, velocity)
}

fn drawn_at(flying: &Flying, play: f64, own_tick: f64) -> f64 {
    if !flying.own {
        return play;
    }
    let age = (own_tick - flying.shot.id.tick.0 as f64).max(0.0);
    own_tick - (own_tick - play).max(0.0) * (age / FALL_BACK_TICKS).min(1.0)
}

fn drawn_position(flying: &Flying, play: f64, own_tick: f64) -> DVec2 {
    flying.shot.position_at(drawn_at(flying, play, own_tick)) + flying.offset
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NetId = NetId(1);

    fn shot(shooter: NetId, tick: u64) -> Shot {
        Shot::new(
            ShotId { shooter, tick: SimTick(tick) },
            SectorId::new(0, 0),
            DVec2::new(100.0, 100.0),
            DVec2::new(480.0, 0.0),
        )
    }

    fn fire(book: &mut ShotBook, tick: u64) {
        book.fire(ME, SimTick(tick), &FlightState::default(), DVec2::new(100.0, 100.0), 6);
    }

    #[test]
    fn a_repeated_shot_is_one_shot_even_after_its_end() {
        let mut book = ShotBook::default();
        for _ in 0..3 {
            book.receive(&shot(NetId(9), 50), Some(ME), 6);
        }
        assert_eq!(book.len(), 1);
        let hit = ShotHit { id: shot(NetId(9), 50).id, target: ME, position: DVec2::ZERO };
        book.hear_hit(&hit, SimTick(60));
        book.hear_hit(&hit, SimTick(61));
        assert!(book.advance(59.0, 70.0, 0.03).is_empty());
        assert_eq!(book.advance(60.0, 71.0, 0.03), vec![hit]);
        book.receive(&shot(NetId(9), 50), Some(ME), 6);
        assert!(book.is_empty());
    }

    #[test]
    fn a_predicted_shot_becomes_the_shards() {
        let mut book = ShotBook::default();
        fire(&mut book, 50);
        fire(&mut book, 51);
        assert_eq!(book.len(), 1, "the weapon is not ready yet");
        book.advance(45.0, 52.0, 0.0);
        let before = book.drawn(45.0, 52.0).next().unwrap();
        book.receive(&shot(ME, 51), Some(ME), 6);
        let after = book.drawn(45.0, 52.0).next().unwrap();
        assert_eq!(book.len(), 1);
        assert!(before.predicted && !after.predicted && after.own);
        assert!(before.position.distance(after.position) < 1e-9);
        fire(&mut book, 56);
        assert_eq!(book.len(), 1, "the shard's shot set the weapon's time");
        fire(&mut book, 57);
        assert_eq!(book.len(), 2);
    }

    #[test]
    fn a_shot_is_at_the_muzzle_from_the_trigger_on_and_flies_from_its_tick_on() {
        let mut book = ShotBook::default();
        let (state, muzzle) = (FlightState::default(), DVec2::new(100.0, 100.0));
        let seen = |book: &ShotBook, own_tick: f64, fires_at: Option<u64>| {
            let waits = book.at_muzzle(ME, own_tick, fires_at.map(SimTick), (&state, muzzle));
            (waits.map(|shot| shot.shot.id.tick.0), book.drawn(45.0, own_tick).count())
        };
        assert_eq!(seen(&book, 49.2, None), (None, 0), "nobody pulls the trigger");
        assert_eq!(seen(&book, 49.2, Some(50)), (Some(50), 0), "its tick is still to come");
        fire(&mut book, 50);
        assert_eq!(seen(&book, 49.7, Some(51)), (Some(50), 0), "its tick is not drawn yet");
        assert_eq!(seen(&book, 50.1, Some(51)), (None, 1), "it flies, and the weapon is not ready");
        assert_eq!(seen(&book, 55.1, Some(56)), (Some(56), 1));
    }

    #[test]
    fn a_shot_that_the_shard_never_made_goes_away() {
        let mut book = ShotBook::default();
        fire(&mut book, 50);
        book.advance(45.0, 70.0, 0.03);
        assert_eq!(book.len(), 1);
        book.advance(75.0, 81.0, 0.03);
        assert!(book.is_empty());
    }

    #[test]
    fn an_own_bullet_leaves_the_muzzle_now_and_ends_among_the_others() {
        let mut book = ShotBook::default();
        fire(&mut book, 50);
        book.receive(&shot(ME, 50), Some(ME), 6);
        let start = book.drawn(40.0, 50.0).next().unwrap();
        assert!(start.position.distance(DVec2::new(100.0, 100.0)) < 0.1);
        let late = book.drawn(75.0, 85.0).next().unwrap();
        assert!((late.age_s - 25.0 * TICK_SECONDS).abs() < 1e-9);
    }

    #[test]
    fn the_number_of_shots_is_bounded() {
        let mut book = ShotBook::default();
        for shooter in 0..MAX_SHOTS as u32 + 10 {
            book.receive(&shot(NetId(shooter + 10), 50), Some(ME), 6);
        }
        assert_eq!(book.len(), MAX_SHOTS);
        assert_eq!(book.dropped(), 10);
    }
}
