//! A player's own packets: inputs up, exact states down.

use crate::{given, repeatable};
use proptest::{collection, prelude::*};
use sidereal_protocol::{
    DecodeError,
    limits::{MAX_LANE_BYTES, MAX_UNACKNOWLEDGED_INPUTS},
    packets::{
        input::{Input, InputPacket},
        own_state::{OWN_STATE_BYTES, OWN_STATES_PER_PACKET, OwnState, decode_own_states, encode_own_states},
    },
    rules::flight::Controls,
    world::tick::SimTick,
};

/// Bit by bit: `==` treats 0 and -0 as equal.
fn bits_of(state: &OwnState) -> [u64; 6] {
    let state = state.state;
    [state.position.x, state.position.y, state.velocity.x, state.velocity.y, state.angle, state.angular_velocity]
        .map(f64::to_bits)
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn the_newest_inputs_come_back_from_a_lane_datagram(inputs in given::inputs(100)) {
        let bytes = InputPacket::encode(&inputs);
        prop_assert!(bytes.len() <= MAX_LANE_BYTES, "{} bytes", bytes.len());
        let newest = &inputs[inputs.len().saturating_sub(MAX_UNACKNOWLEDGED_INPUTS)..];
        prop_assert_eq!(&InputPacket::decode(&bytes)?.inputs, newest);
    }

    #[test]
    fn an_input_packet_that_ends_early_is_refused(inputs in given::inputs(60)) {
        let bytes = InputPacket::encode(&inputs);
        for length in 0..bytes.len() {
            prop_assert_eq!(InputPacket::decode(&bytes[..length]), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn what_a_pilot_saw_is_told_with_a_beam_only(inputs in given::inputs(60), lag in any::<u8>()) {
        let lagging: Vec<Input> = inputs.iter().map(|input| Input { view_lag: lag, ..*input }).collect();
        let bytes = InputPacket::encode(&lagging);
        for (back, input) in InputPacket::decode(&bytes)?.inputs.iter().zip(&lagging) {
            let told = if input.controls.holds(Controls::BEAM) { lag } else { 0 };
            prop_assert_eq!(*back, Input { view_lag: told, ..*input });
        }
    }

    #[test]
    fn own_states_come_back_bit_by_bit(states in collection::vec(given::own_state(), 0..=40)) {
        let packets = encode_own_states(&states);
        prop_assert_eq!(packets.len(), states.len().div_ceil(OWN_STATES_PER_PACKET));
        let mut back = Vec::new();
        for bytes in packets {
            prop_assert!(bytes.len() <= MAX_LANE_BYTES, "{} bytes", bytes.len());
            back.extend(decode_own_states(&bytes)?);
        }
        prop_assert_eq!(&back, &states);
        prop_assert!(back.iter().map(bits_of).eq(states.iter().map(bits_of)));
    }

    #[test]
    fn own_states_that_end_within_a_state_are_refused(
        states in collection::vec(given::own_state(), 1..=OWN_STATES_PER_PACKET),
    ) {
        let bytes = encode_own_states(&states).concat();
        for length in (0..bytes.len()).filter(|length| length % OWN_STATE_BYTES != 1) {
            prop_assert_eq!(decode_own_states(&bytes[..length]), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn a_packet_with_a_number_that_is_not_finite_is_refused(
        mut states in collection::vec(given::own_state(), 1..=OWN_STATES_PER_PACKET),
        whose in any::<prop::sample::Index>(),
        which in 0..6usize,
        number in given::not_finite(),
    ) {
        let state = &mut whose.get_mut(&mut states).state;
        *[
            &mut state.position.x,
            &mut state.position.y,
            &mut state.velocity.x,
            &mut state.velocity.y,
            &mut state.angle,
            &mut state.angular_velocity,
        ][which] = number;
        let bytes = encode_own_states(&states).concat();
        prop_assert_eq!(decode_own_states(&bytes), Err(DecodeError::OutOfRange("own state")));
    }
}

/// As many as a packet repeats, all of them different, each with a beam, as far apart as ticks can be.
#[test]
fn the_longest_input_packet_fits_a_datagram() {
    let apart = u64::MAX / MAX_UNACKNOWLEDGED_INPUTS as u64;
    let inputs: Vec<Input> = (1..=MAX_UNACKNOWLEDGED_INPUTS as u64)
        .map(|index| Input {
            tick: SimTick(index * apart),
            controls: Controls { thrust: index as i8, turn: -(index as i8), buttons: u8::MAX },
            view_lag: u8::MAX - index as u8,
        })
        .collect();
    let bytes = InputPacket::encode(&inputs);
    assert!(bytes.len() <= MAX_LANE_BYTES, "{} bytes", bytes.len());
    assert_eq!(InputPacket::decode(&bytes).expect("what was encoded").inputs, inputs);
}

#[test]
fn more_states_than_a_datagram_holds_are_refused() {
    let bytes =
        [vec![sidereal_protocol::packets::lane::OWN_STATES], vec![0; (OWN_STATES_PER_PACKET + 1) * OWN_STATE_BYTES]];
    assert!(matches!(decode_own_states(&bytes.concat()), Err(DecodeError::TooLong { .. })));
}
