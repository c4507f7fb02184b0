//! Ticks: the world's tick follows naia's 16 bits over every wrap.

use crate::repeatable;
use proptest::{collection, prelude::*};
use sidereal_protocol::world::tick::{SimTick, TickSync};

proptest! {
    #![proptest_config(repeatable())]

    /// Each step forward, of up to 15 minutes, is queried late, early and twice.
    #[test]
    fn the_worlds_tick_follows_over_wraps_and_reorderings(
        naia in any::<u16>(),
        start in 0..u64::MAX / 2,
        steps in collection::vec((0..27_000u64, collection::vec(-5_000..5_000i64, 0..6)), 1..60),
    ) {
        let mut sync = TickSync::new(naia, SimTick(start));
        let mut now = start;
        for (forward, asides) in steps {
            now += forward;
            let asides = asides.into_iter().map(|aside| now.saturating_add_signed(aside)).filter(|&at| at >= start);
            for at in [now].into_iter().chain(asides.flat_map(|at| [at, at])).chain([now]) {
                let wrapped = naia.wrapping_add((at - start) as u16);
                prop_assert_eq!(sync.sim_tick(wrapped), SimTick(at));
            }
        }
    }

    /// There is no tick before the world's first: a query for one must not shift those that follow.
    #[test]
    fn a_late_packet_in_the_worlds_first_ticks_shifts_nothing(
        naia in any::<u16>(),
        start in 0..50u64,
        steps in collection::vec(-100..100i64, 1..60),
    ) {
        let mut sync = TickSync::new(naia, SimTick(start));
        for step in steps {
            let wrapped = naia.wrapping_add(step as u16);
            let at = start.saturating_add_signed(step);
            prop_assert_eq!(sync.sim_tick(wrapped), SimTick(at));
        }
    }

    #[test]
    fn the_time_since_a_later_tick_is_none(tick in any::<u64>(), ticks in any::<u64>()) {
        let later = SimTick(tick) + ticks;
        prop_assert_eq!(later.since(SimTick(tick)), ticks.min(u64::MAX - tick));
        prop_assert_eq!(SimTick(tick).since(later), 0);
    }
}
