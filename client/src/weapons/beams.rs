//! Beams: received once or several times, drawn for a moment.
//!
//! Pure except that it is a resource. Runs in the player client and in bots. The own ship's beams are shown at once, as
//! predicted from the player's view, and are replaced by the shard's when they arrive. Others' are shown when the
//! playback reaches their moment.

use crate::view::BeamShown;
use bevy::{math::DVec2, prelude::Resource};
use sidereal_protocol::{
    rules::shot::{BEAM_INTERVAL_TICKS, BEAM_RANGE, Beam, ShotId},
    world::{ids::NetId, tick::SimTick},
};
use std::collections::BTreeSet;

/// How long a beam is shown, seconds.
pub const BEAM_SECONDS: f64 = 0.28;

/// The most beams shown or waiting; more are dropped and counted. Each is over in a third of a second.
pub const MAX_BEAMS: usize = 256;

/// The most beam ids remembered; the oldest are dropped. Some seconds of [`MAX_BEAMS`] at a time.
const MAX_KNOWN: usize = 2048;

/// Ticks after which a beam's id is dropped: by then no repetition of it arrives any more.
const REMEMBER_TICKS: u64 = 90;

/// A predicted beam that the shard does not confirm within this many ticks was wrong.
const UNCONFIRMED_TICKS: f64 = 30.0;

/// The most predicted beams that wait for the shard's confirmation; the oldest is dropped. One is fired in each
/// [`BEAM_INTERVAL_TICKS`].
const MAX_FORESEEN: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Shown {
    beam: Beam,
    own: bool,
    foreseen: bool,
    /// Seconds since it was first shown; `None` before its moment.
    age_s: Option<f64>,
    /// Its hit is still to be reported.
    hit_untold: bool,
}

impl Shown {
    fn told(beam: &Beam, own: bool, age_s: Option<f64>) -> Self {
        Self { beam: *beam, own, foreseen: false, age_s, hit_untold: beam.target.is_some() }
    }
}

/// All known beams.
#[derive(Resource, Debug, Default)]
pub struct BeamBook {
    shown: Vec<Shown>,
    /// Received already.
    known: BTreeSet<(SimTick, ShotId)>,
    /// Predicted beams of the own ship that the shard has not confirmed yet, oldest first.
    foreseen: Vec<ShotId>,
    dropped: u64,
}

/// Where a beam from `origin` along the unit vector `direction` ends among `circles` (id, centre, radius), and which
/// one it hits: the first one in its way, or none at [`BEAM_RANGE`]. A circle that contains the origin is hit at once.
pub fn trace(
    origin: DVec2,
    direction: DVec2,
    circles: impl IntoIterator<Item = (NetId, DVec2, f64)>,
) -> (DVec2, Option<NetId>) {
    let mut nearest = (BEAM_RANGE, None);
    for (id, middle, radius) in circles {
        let way = middle - origin;
        let ahead = way.dot(direction);
        let aside = way.perp_dot(direction).abs();
        if aside > radius || (ahead < 0.0 && way.length() > radius) {
            continue;
        }
        let reach = (ahead - (radius * radius - aside * aside).sqrt()).max(0.0);
        if reach < nearest.0 {
            nearest = (reach, Some(id));
        }
    }
    (origin + direction * nearest.0, nearest.1)
}

impl BeamBook {
    /// Adds a predicted beam of the own ship.
    pub fn foresee(&mut self, beam: Beam) {
        if self.foreseen.len() >= MAX_FORESEEN {
            self.foreseen.remove(0);
        }
        self.foreseen.push(beam.id);
        if self.shown.len() < MAX_BEAMS {
            self.shown.push(Shown { beam, own: true, foreseen: true, age_s: Some(0.0), hit_untold: false });
        }
    }

    /// Receives `beam` from a sector's update, perhaps repeatedly. `own` is the own ship's net id. True if it is new.
    pub fn receive(&mut self, beam: &Beam, own: Option<NetId>) -> bool {
        let id = beam.id;
        if !self.known.insert((id.tick, id)) {
            return false;
        }
        if self.known.len() > MAX_KNOWN {
            self.known.pop_first();
        }
        let own = own == Some(id.shooter);
        let twin = if own { self.foreseen_twin(id) } else { None };
        let seen = twin.and_then(|twin| self.shown.iter_mut().find(|shown| shown.foreseen && shown.beam.id == twin));
        let age_s = match (seen, twin) {
            // The predicted beam continues as the confirmed one.
            (Some(seen), _) => {
                *seen = Shown::told(beam, own, seen.age_s);
                return true;
            }
            // The confirmation came when it was over: it is not shown again, but its hit is reported.
            (None, Some(_)) => Some(BEAM_SECONDS),
            (None, None) => None,
        };
        if self.shown.len() < MAX_BEAMS {
            self.shown.push(Shown::told(beam, own, age_s));
        } else {
            self.dropped += 1;
        }
        true
    }

    /// Removes the predicted beam that corresponds to `id`, if there is one: the oldest that is near enough in time.
    fn foreseen_twin(&mut self, id: ShotId) -> Option<ShotId> {
        let near = |foreseen: &ShotId| {
            foreseen.shooter == id.shooter && foreseen.tick.0.abs_diff(id.tick.0) < BEAM_INTERVAL_TICKS
        };
        let index = self.foreseen.iter().position(near)?;
        Some(self.foreseen.remove(index))
    }

    /// Advances the time: others are drawn at `play`, the own ship at `own_tick`. Returns the shard's beams that hit
    /// something and whose moment has come, each once.
    pub fn advance(&mut self, play: f64, own_tick: f64, delta_s: f64) -> Vec<Beam> {
        let mut hits = Vec::new();
        for shown in &mut self.shown {
            match &mut shown.age_s {
                Some(age_s) => *age_s += delta_s,
                waiting if shown.own || shown.beam.id.tick.0 as f64 <= play => *waiting = Some(0.0),
                _ => continue,
            }
            if std::mem::take(&mut shown.hit_untold) {
                hits.push(shown.beam);
            }
        }
        self.shown.retain(|shown| shown.age_s.is_none_or(|age_s| age_s < BEAM_SECONDS));
        self.foreseen.retain(|id| own_tick - id.tick.0 as f64 <= UNCONFIRMED_TICKS);
        let oldest = SimTick((play.max(0.0) as u64).saturating_sub(REMEMBER_TICKS));
        self.known = self.known.split_off(&(oldest, ShotId { shooter: NetId(0), tick: SimTick(0) }));
        hits
    }

    /// The beams to draw.
    pub fn drawn(&self) -> impl Iterator<Item = BeamShown> {
        self.shown.iter().filter_map(|shown| {
            shown.age_s.map(|age_s| BeamShown { beam: shown.beam, own: shown.own, foreseen: shown.foreseen, age_s })
        })
    }

    /// The own ship is another one: predictions for the old one will not be confirmed.
    pub fn board(&mut self) {
        self.foreseen.clear();
        self.shown.retain(|shown| !shown.foreseen);
    }

    /// Number of beams that are shown or wait for their moment.
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether there is no beam.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Number of beams that were dropped at the limit.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ME: NetId = NetId(1);

    fn beam(shooter: NetId, tick: u64, target: Option<NetId>) -> Beam {
        let id = ShotId { shooter, tick: SimTick(tick) };
        Beam { id, origin: DVec2::ZERO, end: DVec2::new(200.0, 0.0), target }
    }

    #[test]
    fn a_repeated_beam_is_shown_once_and_when_its_moment_comes() {
        let mut book = BeamBook::default();
        let told = beam(NetId(9), 50, Some(ME));
        let news: Vec<bool> = (0..3).map(|_| book.receive(&told, Some(ME))).collect();
        assert_eq!(news, [true, false, false]);
        assert!(book.advance(49.5, 60.0, 0.016).is_empty());
        assert_eq!(book.drawn().count(), 0, "the shooter is drawn before it");
        assert_eq!(book.advance(50.0, 60.5, 0.016), [told]);
        assert_eq!(book.drawn().count(), 1);
        assert!(book.advance(50.5, 61.0, 0.016).is_empty(), "a hit is told once");
        book.advance(60.0, 70.0, BEAM_SECONDS);
        assert!(book.is_empty());
        assert!(!book.receive(&told, Some(ME)));
    }

    #[test]
    fn a_foreseen_beam_becomes_the_shards_at_its_age() {
        let mut book = BeamBook::default();
        book.foresee(beam(ME, 60, None));
        book.advance(50.0, 60.0, 0.1);
        let told = beam(ME, 63, Some(NetId(5)));
        assert!(book.receive(&told, Some(ME)));
        let shown: Vec<_> = book.drawn().collect();
        assert_eq!(shown, [BeamShown { beam: told, own: true, foreseen: false, age_s: 0.1 }]);
        assert_eq!(book.advance(51.0, 61.0, 0.0), [told], "its moment is now, not the others'");
    }

    #[test]
    fn a_beam_that_is_told_late_does_not_flash_twice_but_its_hit_is_told() {
        let mut book = BeamBook::default();
        book.foresee(beam(ME, 60, None));
        book.advance(55.0, 65.0, BEAM_SECONDS);
        assert!(book.is_empty());
        let told = beam(ME, 62, Some(NetId(5)));
        book.receive(&told, Some(ME));
        assert_eq!(book.advance(56.0, 66.0, 0.016), [told]);
        assert_eq!(book.drawn().count(), 0);
    }

    #[test]
    fn foreseen_beams_meet_the_shards_in_their_order() {
        let mut book = BeamBook::default();
        book.foresee(beam(ME, 60, None));
        book.foresee(beam(ME, 90, None));
        for (index, tick) in [64, 94].into_iter().enumerate() {
            book.receive(&beam(ME, tick, None), Some(ME));
            assert_eq!(book.drawn().filter(|shown| shown.foreseen).count(), 1 - index);
        }
        assert_eq!(book.len(), 2, "none is shown beside its twin");
        // One that the shard has sent without a prediction here is shown as it is.
        book.receive(&beam(ME, 300, None), Some(ME));
        assert_eq!(book.len(), 3);
    }

    #[test]
    fn a_foreseen_beam_that_never_was_does_not_take_the_next_ones_place() {
        let mut book = BeamBook::default();
        book.foresee(beam(ME, 60, None));
        book.advance(85.0, 95.0, 1.0);
        book.foresee(beam(ME, 95, None));
        book.receive(&beam(ME, 97, None), Some(ME));
        assert!(book.drawn().all(|shown| !shown.foreseen));
        book.board();
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn the_number_of_beams_is_bounded() {
        let mut book = BeamBook::default();
        for shooter in 0..MAX_KNOWN as u32 + 10 {
            book.receive(&beam(NetId(shooter + 10), 50, None), Some(ME));
            book.foresee(beam(ME, 50 + u64::from(shooter), None));
        }
        assert_eq!(book.len(), MAX_BEAMS);
        assert!(book.known.len() <= MAX_KNOWN && book.foreseen.len() <= MAX_FORESEEN);
        assert!(book.dropped() > 0);
    }

    proptest! {
        /// Compared with the simple method: steps along the beam until a circle is touched.
        #[test]
        fn a_beam_ends_at_the_first_circle_in_its_way(
            angle in -3.1f64..3.1,
            circles in prop::collection::vec((-500.0f64..500.0, -500.0f64..500.0, 1.0f64..60.0), 0..8),
        ) {
            let direction = DVec2::from_angle(angle);
            let origin = DVec2::new(2e9, -1e9);
            let circles: Vec<_> = circles
                .into_iter()
                .enumerate()
                .map(|(index, (x, y, radius))| (NetId(index as u32), origin + DVec2::new(x, y), radius))
                .collect();
            let (end, target) = trace(origin, direction, circles.iter().copied());
            let inside = |at: DVec2, slack: f64| {
                circles.iter().filter(|(_, middle, radius)| at.distance(*middle) <= radius + slack).map(|(id, ..)| *id)
                    .collect::<Vec<_>>()
            };
            let reach = end.distance(origin);
            prop_assert!(reach <= BEAM_RANGE + 1e-3);
            let steps = (reach.max(0.5) - 0.5) as u32;
            for step in 0..steps {
                let at = origin + direction * f64::from(step);
                prop_assert!(inside(at, -0.01).is_empty(), "through {:?} at {step}", inside(at, -0.01));
            }
            match target {
                Some(target) => prop_assert!(inside(end, 0.01).contains(&target)),
                None => prop_assert!((reach - BEAM_RANGE).abs() < 1e-3),
            }
        }
    }
}
