//! The flight model: finite, bounded, and the same in every process.

use crate::{given, repeatable};
use proptest::{collection, prelude::*};
use sidereal_protocol::rules::flight::{Controls, FlightState, MAX_SPEED, step, wrap_angle};
use sidereal_protocol::world::tick::TICK_SECONDS;
use std::f64::consts::{PI, TAU};

/// What a length's rounding may add to a speed.
const ROUNDING: f64 = 1e-9;

/// States that occur in a world: any position, any possible speed.
fn state() -> impl Strategy<Value = FlightState> {
    (given::vector(2e12), given::vector(MAX_SPEED), given::angle(), -8.0..8.0f64).prop_map(
        |(position, velocity, angle, angular_velocity)| FlightState {
            position,
            velocity: velocity.clamp_length_max(MAX_SPEED),
            angle,
            angular_velocity,
        },
    )
}

fn bits_of(state: &FlightState) -> [u64; 6] {
    let FlightState { position, velocity, angle, angular_velocity } = *state;
    [position.x, position.y, velocity.x, velocity.y, angle, angular_velocity].map(f64::to_bits)
}

fn in_half_a_turn(angle: f64) -> bool {
    angle > -PI && angle <= PI
}

proptest! {
    #![proptest_config(repeatable())]

    /// Also from states that no flight leads to: a record or a packet may contain them.
    #[test]
    fn no_state_and_no_controls_lead_out_of_bounds(
        start in prop_oneof![state(), given::finite_state()],
        hands in collection::vec(given::controls(), 1..100),
        hull in given::hull_kind(),
    ) {
        let mut state = start;
        for controls in hands {
            state = step(&state, controls, &hull.spec());
            prop_assert!(state.is_finite(), "{start:?} {controls:?} led to {state:?}");
            prop_assert!(state.velocity.length() <= MAX_SPEED + ROUNDING, "{} units/s", state.velocity.length());
            prop_assert!(in_half_a_turn(state.angle), "{} rad", state.angle);
        }
    }

    #[test]
    fn the_same_flight_comes_out_bit_by_bit(
        start in prop_oneof![state(), given::finite_state()],
        hands in collection::vec(given::controls(), 1..100),
        hull in given::hull_kind(),
    ) {
        let fly = |start: FlightState| hands.iter().fold(start, |state, &controls| step(&state, controls, &hull.spec()));
        prop_assert_eq!(bits_of(&fly(start)), bits_of(&fly(start)));
        // A replay from any point of it gives the same result.
        let half = hands.len() / 2;
        let middle = hands[..half].iter().fold(start, |state, &controls| step(&state, controls, &hull.spec()));
        let end = hands[half..].iter().fold(middle, |state, &controls| step(&state, controls, &hull.spec()));
        prop_assert_eq!(bits_of(&end), bits_of(&fly(start)));
    }

    #[test]
    fn a_tick_moves_by_the_new_velocity(start in state(), controls in given::controls(), hull in given::hull_kind()) {
        let next = step(&start, controls, &hull.spec());
        let moved = next.position - start.position;
        let off = (moved - next.velocity * TICK_SECONDS).abs().max_element();
        prop_assert!(off <= 1e-9 + 2.0 * f64::EPSILON * start.position.abs().max_element(), "off by {off}");
        let turned = wrap_angle(next.angle - start.angle - next.angular_velocity * TICK_SECONDS);
        prop_assert!(turned.abs() < 1e-12, "off by {turned} rad");
    }

    #[test]
    fn an_engine_lifts_no_ship_above_what_it_holds(
        start in state(),
        controls in given::controls(),
        hull in given::hull_kind(),
    ) {
        let spec = hull.spec();
        let next = step(&start, controls, &spec);
        let boosts = controls.holds(Controls::BOOST) && controls.thrust > 0;
        let limit = if boosts { spec.boost_speed } else { spec.max_speed };
        prop_assert!(next.velocity.length() <= start.velocity.length().max(limit) + ROUNDING);
        prop_assert!(next.angular_velocity.abs() <= start.angular_velocity.abs().max(spec.turn_rate) + ROUNDING);
    }

    #[test]
    fn controls_mean_what_they_say(start in state(), controls in given::controls(), hull in given::hull_kind()) {
        let known = Controls::FIRE | Controls::BOOST | Controls::BRAKE;
        let plain = Controls { buttons: controls.buttons & known & !Controls::FIRE, ..controls };
        prop_assert_eq!(step(&start, controls, &hull.spec()), step(&start, plain, &hull.spec()));
        let least = Controls { thrust: -128, turn: -128, ..plain };
        let full = Controls { thrust: -127, turn: -127, ..plain };
        prop_assert_eq!(step(&start, least, &hull.spec()), step(&start, full, &hull.spec()));
    }

    #[test]
    fn coasting_for_no_time_changes_nothing(start in state()) {
        prop_assert_eq!(bits_of(&start.coast(0.0)), bits_of(&start));
    }

    #[test]
    fn an_angle_is_brought_into_half_a_turn(
        angle in prop_oneof![given::finite(), -20.0..20.0f64, given::angle()],
        turns in -3..=3i32,
    ) {
        let wrapped = wrap_angle(angle);
        prop_assert!(in_half_a_turn(wrapped), "{angle} became {wrapped}");
        prop_assert_eq!(wrap_angle(wrapped).to_bits(), wrapped.to_bits(), "what is in range stays as it is");
        if angle.abs() < 100.0 {
            let again = wrap_angle(angle + f64::from(turns) * TAU);
            let difference = (again - wrapped).abs();
            prop_assert!(difference.min(TAU - difference) < 1e-12, "{again} instead of {wrapped}");
        }
    }

    #[test]
    fn an_angle_in_range_stays_as_it_is(angle in given::angle()) {
        prop_assume!(in_half_a_turn(angle));
        prop_assert_eq!(wrap_angle(angle).to_bits(), angle.to_bits());
    }
}

#[test]
fn the_seam_is_at_half_a_turn() {
    assert_eq!(wrap_angle(PI), PI);
    assert_eq!(wrap_angle(-PI), PI);
    assert!(wrap_angle(PI.next_up()) < 0.0);
    assert!(wrap_angle((-PI).next_up()) < 0.0);
    assert_eq!(wrap_angle(-0.0), 0.0);
}
