//! The exact state of a player's own ship, acknowledged against its inputs.
//!
//! A shard sends the states of all ships with a player in packets of [`OWN_STATES_PER_PACKET`]. The server forwards
//! each one to its player, byte for byte.

use crate::{
    DecodeError,
    limits::MAX_LANE_BYTES,
    packets::lane,
    rules::flight::FlightState,
    world::{ids::NetId, tick::SimTick},
};
use bevy::math::DVec2;

/// Length of one packed state, bytes.
pub const OWN_STATE_BYTES: usize = 4 * 2 + 8 * 3 + 8 * 6;

/// States that fit one lane datagram.
pub const OWN_STATES_PER_PACKET: usize = (MAX_LANE_BYTES - 1) / OWN_STATE_BYTES;

/// The state that the client reconciles with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnState {
    /// The ship.
    pub net_id: NetId,
    /// The boarding of the inputs below: see [`Pilot::boarding`](crate::record::Pilot::boarding).
    pub boarding: u32,
    /// The world's tick after which this is the state.
    pub tick: SimTick,
    /// Stamp of the last input that was applied; zero before the first.
    pub input_tick: SimTick,
    /// Number of inputs applied to this ship since the boarding began. Together with the stamp it proves that none was
    /// lost or applied twice.
    pub inputs_applied: u64,
    /// The shard's exact state, bit by bit.
    pub state: FlightState,
}

impl OwnState {
    fn pack(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.net_id.0.to_le_bytes());
        bytes.extend_from_slice(&self.boarding.to_le_bytes());
        for word in [self.tick.0, self.input_tick.0, self.inputs_applied] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let FlightState { position, velocity, angle, angular_velocity } = self.state;
        for number in [position.x, position.y, velocity.x, velocity.y, angle, angular_velocity] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn unpack(bytes: &[u8; OWN_STATE_BYTES]) -> Result<Self, DecodeError> {
        let word = |index: usize| {
            let mut word = [0u8; 8];
            word.copy_from_slice(&bytes[8 + index * 8..16 + index * 8]);
            u64::from_le_bytes(word)
        };
        let number = |index: usize| f64::from_bits(word(index));
        let state = FlightState {
            position: DVec2::new(number(3), number(4)),
            velocity: DVec2::new(number(5), number(6)),
            angle: number(7),
            angular_velocity: number(8),
        };
        if !state.is_finite() {
            return Err(DecodeError::OutOfRange("own state"));
        }
        Ok(Self {
            net_id: NetId(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            boarding: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            tick: SimTick(word(0)),
            input_tick: SimTick(word(1)),
            inputs_applied: word(2),
            state,
        })
    }
}

/// Packs states into as many datagrams as needed.
pub fn encode_own_states(states: &[OwnState]) -> Vec<Vec<u8>> {
    states
        .chunks(OWN_STATES_PER_PACKET)
        .map(|chunk| {
            let mut bytes = Vec::with_capacity(1 + chunk.len() * OWN_STATE_BYTES);
            bytes.push(lane::OWN_STATES);
            for state in chunk {
                state.pack(&mut bytes);
            }
            bytes
        })
        .collect()
}

/// Reads one datagram of [`encode_own_states`], kind byte included.
///
/// # Errors
/// Any [`DecodeError`]; a packet with an error is rejected completely.
pub fn decode_own_states(bytes: &[u8]) -> Result<Vec<OwnState>, DecodeError> {
    let (&kind, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    if kind != lane::OWN_STATES {
        return Err(DecodeError::UnknownKind(kind));
    }
    let (states, tail) = rest.as_chunks::<OWN_STATE_BYTES>();
    if !tail.is_empty() {
        return Err(DecodeError::Truncated);
    }
    if states.len() > OWN_STATES_PER_PACKET {
        return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_LANE_BYTES });
    }
    states.iter().map(OwnState::unpack).collect()
}
