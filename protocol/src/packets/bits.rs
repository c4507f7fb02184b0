//! Bit-level packing for the lane's datagrams: fixed-width fields, no alignment, little end first.
//!
//! Used by every process. It owns reading and writing of bits and the quantisation of ranges. The meaning of the fields
//! is documented with each packet ([`crate::packets::motion`], [`crate::packets::input`]).

use crate::DecodeError;

/// Writes fields of 1 to 57 bits one after the other.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), pending: 0, pending_bits: 0 }
    }

    /// Bits written so far.
    pub fn bit_len(&self) -> usize {
        self.bytes.len() * 8 + self.pending_bits as usize
    }

    /// Writes the lowest `width` bits of `value`, 1 to 57; higher bits of `value` are ignored.
    pub fn write(&mut self, value: u64, width: u32) {
        debug_assert!((1..=57).contains(&width), "width {width}");
        let value = value & ((1u64 << width) - 1);
        self.pending |= value << self.pending_bits;
        self.pending_bits += width;
        while self.pending_bits >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
    }

    /// Writes one bit.
    pub fn write_bool(&mut self, value: bool) {
        self.write(u64::from(value), 1);
    }

    /// Writes an unsigned value in groups of `group` bits, each followed by a bit that is 1 if another group follows.
    /// Small values take few bits.
    pub fn write_varint(&mut self, mut value: u64, group: u32) {
        loop {
            self.write(value, group);
            value >>= group;
            self.write_bool(value != 0);
            if value == 0 {
                break;
            }
        }
    }

    /// The bytes; the last one is padded with zero bits.
    pub fn finish(mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

/// Bits that [`BitWriter::write_varint`] takes for `value`.
pub fn varint_bits(value: u64, group: u32) -> usize {
    let significant = (64 - value.leading_zeros()).max(1);
    (significant.div_ceil(group) * (group + 1)) as usize
}

/// Maps a signed number to an unsigned one so that small magnitudes stay small.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Reads what [`BitWriter`] wrote.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bits left, including the padding of the last byte.
    pub fn remaining_bits(&self) -> usize {
        self.bytes.len() * 8 - self.position
    }

    /// Reads a field of `width` bits, 1 to 57.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer bits are left.
    pub fn read(&mut self, width: u32) -> Result<u64, DecodeError> {
        debug_assert!((1..=57).contains(&width), "width {width}");
        if self.remaining_bits() < width as usize {
            return Err(DecodeError::Truncated);
        }
        let first = self.position / 8;
        let mut word = [0u8; 8];
        let available = (self.bytes.len() - first).min(8);
        word[..available].copy_from_slice(&self.bytes[first..first + available]);
        let value = (u64::from_le_bytes(word) >> (self.position % 8)) & ((1u64 << width) - 1);
        self.position += width as usize;
        Ok(value)
    }

    /// Reads one bit.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn read_bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.read(1)? != 0)
    }

    /// Reads what [`BitWriter::write_varint`] wrote with the same `group`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end, [`DecodeError::OutOfRange`] past 64 bits.
    pub fn read_varint(&mut self, group: u32) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let part = self.read(group)?;
            if shift >= 64 || (part << shift) >> shift != part {
                return Err(DecodeError::OutOfRange("varint"));
            }
            value |= part << shift;
            shift += group;
            if !self.read_bool()? {
                return Ok(value);
            }
        }
    }
}

/// A range of reals packed into `bits` bits: `minimum ..= minimum + span`, in equal steps.
#[derive(Debug, Clone, Copy)]
pub struct Quantiser {
    minimum: f64,
    step: f64,
    bits: u32,
}

impl Quantiser {
    /// `2^bits - 1` equal steps from `minimum` to `maximum`.
    pub const fn new(minimum: f64, maximum: f64, bits: u32) -> Self {
        Self { minimum, step: (maximum - minimum) / ((1u64 << bits) - 1) as f64, bits }
    }

    /// Width of the field, bits.
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// The largest difference between a value in range and what it decodes to.
    pub fn error_bound(&self) -> f64 {
        self.step * 0.5 + self.step * 1e-6
    }

    /// The nearest step; a value out of range is clamped, NaN becomes the minimum.
    pub fn pack(&self, value: f64) -> u64 {
        let steps = ((value - self.minimum) / self.step).round();
        // A float-to-integer cast saturates, and makes NaN zero.
        (steps as u64).min((1u64 << self.bits) - 1)
    }

    /// The value of a step.
    pub fn unpack(&self, packed: u64) -> f64 {
        self.minimum + packed as f64 * self.step
    }

    /// Writes `value` as one field.
    pub fn write(&self, writer: &mut BitWriter, value: f64) {
        writer.write(self.pack(value), self.bits);
    }

    /// Reads one field.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn read(&self, reader: &mut BitReader<'_>) -> Result<f64, DecodeError> {
        Ok(self.unpack(reader.read(self.bits)?))
    }
}
