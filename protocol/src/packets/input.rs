//! A player's inputs on their way to the shard.
//!
//! A client stamps an input with its own tick, one per tick, and sends it with all inputs that are not acknowledged
//! yet. The server forwards each once. The shard applies each once, in order, a fixed delay after its tick.

use crate::{
    DecodeError,
    limits::MAX_UNACKNOWLEDGED_INPUTS,
    packets::{
        bits::{BitReader, BitWriter},
        lane,
    },
    rules::flight::Controls,
    world::tick::{SimTick, TICK_HZ},
};
use serde::{Deserialize, Serialize};

/// Ticks between an input's stamp and the tick that applies it, at first.
pub const FIRST_INPUT_DELAY_TICKS: u8 = 2;

/// The longest such delay, ticks: 0.4 s. Inputs that arrive later than that are applied together, in one step.
pub const MAX_INPUT_DELAY_TICKS: u8 = 12;

/// How far an input's stamp may be ahead of the receiver's tick, ticks: 3 s, more than the clock of a working client. An
/// input beyond that is rejected: it would wait, and those after it too.
pub const MAX_INPUT_LEAD_TICKS: u64 = 3 * TICK_HZ as u64;

/// A player's intent for one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The client's tick: the stamp by which the input is applied once and acknowledged.
    pub tick: SimTick,
    /// The controls.
    pub controls: Controls,
    /// How far behind `tick` the player saw the others, quarters of a tick; 255 means that or more. Only sent with
    /// controls that are aimed ([`Controls::is_aimed`]), else zero.
    pub view_lag: u8,
}

/// What a client sends every tick: all inputs that are not acknowledged, oldest first.
///
/// Layout after the kind byte, bit-packed: tick of the first (varint, groups of 8), count (6 bits). Then per input: the
/// step from the previous tick minus one (varint, groups of 2; not for the first), one bit that is 1 if the controls
/// are those of the previous input, otherwise thrust, turn, buttons (8 bits each), and the view lag (8 bits) if the
/// controls are aimed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputPacket {
    /// Strictly rising ticks, at most [`MAX_UNACKNOWLEDGED_INPUTS`].
    pub inputs: Vec<Input>,
}

impl InputPacket {
    /// Packs `inputs`; if there are more than [`MAX_UNACKNOWLEDGED_INPUTS`], the newest of them.
    ///
    /// # Panics
    /// In debug builds, when ticks do not rise strictly. The caller's queue is ordered.
    pub fn encode(inputs: &[Input]) -> Vec<u8> {
        let inputs = &inputs[inputs.len().saturating_sub(MAX_UNACKNOWLEDGED_INPUTS)..];
        let mut writer = BitWriter::with_capacity(32);
        writer.write(u64::from(lane::INPUTS), 8);
        writer.write_varint(inputs.first().map_or(0, |input| input.tick.0), 8);
        writer.write(inputs.len() as u64, 6);
        let mut previous: Option<Input> = None;
        for input in inputs {
            if let Some(previous) = previous {
                debug_assert!(input.tick > previous.tick, "ticks rise strictly");
                writer.write_varint(input.tick.since(previous.tick).saturating_sub(1), 2);
            }
            let repeats = previous.is_some_and(|previous| previous.controls == input.controls);
            writer.write_bool(repeats);
            if !repeats {
                writer.write(input.controls.thrust as u8 as u64, 8);
                writer.write(input.controls.turn as u8 as u64, 8);
                writer.write(u64::from(input.controls.buttons), 8);
            }
            if input.controls.is_aimed() {
                writer.write(u64::from(input.view_lag), 8);
            }
            previous = Some(*input);
        }
        writer.finish()
    }

    /// Reads what [`InputPacket::encode`] wrote, kind byte included.
    ///
    /// # Errors
    /// Any [`DecodeError`]; a packet with an error is rejected completely.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = BitReader::new(bytes);
        let kind = reader.read(8)? as u8;
        if kind != lane::INPUTS {
            return Err(DecodeError::UnknownKind(kind));
        }
        let mut tick = reader.read_varint(8)?;
        let count = reader.read(6)? as usize;
        if count > MAX_UNACKNOWLEDGED_INPUTS {
            return Err(DecodeError::OutOfRange("input count"));
        }
        let mut inputs: Vec<Input> = Vec::with_capacity(count);
        for index in 0..count {
            if index > 0 {
                let step = reader.read_varint(2)?;
                tick = tick
                    .checked_add(step)
                    .and_then(|tick| tick.checked_add(1))
                    .ok_or(DecodeError::OutOfRange("input tick"))?;
            }
            let controls = match (reader.read_bool()?, inputs.last()) {
                (true, Some(previous)) => previous.controls,
                (true, None) => return Err(DecodeError::OutOfRange("first input repeats")),
                (false, _) => Controls {
                    thrust: reader.read(8)? as u8 as i8,
                    turn: reader.read(8)? as u8 as i8,
                    buttons: reader.read(8)? as u8,
                },
            };
            let view_lag = if controls.is_aimed() { reader.read(8)? as u8 } else { 0 };
            inputs.push(Input { tick: SimTick(tick), controls, view_lag });
        }
        Ok(Self { inputs })
    }
}
