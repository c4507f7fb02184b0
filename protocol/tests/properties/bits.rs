//! Bits, varints, zigzag, and the quantised ranges by themselves.

use crate::repeatable;
use proptest::{collection, prelude::*};
use sidereal_protocol::{
    DecodeError,
    packets::{
        bits::{BitReader, BitWriter, Quantiser, unzigzag, varint_bits, zigzag},
        precision::{ANGLE, ANGULAR_VELOCITY, POSITION, VELOCITY},
    },
};
use std::f64::consts::PI;

/// Each field's quantiser with the ends of its range.
const FIELDS: [(Quantiser, f64, f64); 4] =
    [(POSITION, -500.0, 1500.0), (VELOCITY, -1024.0, 1024.0), (ANGLE, -PI, PI), (ANGULAR_VELOCITY, -8.0, 8.0)];

/// One of several values to write in sequence.
#[derive(Debug, Clone, Copy)]
enum Field {
    Bits { value: u64, width: u32 },
    Bool(bool),
    Varint { value: u64, group: u32 },
}

/// Small numbers and large ones alike.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(value, shift)| value >> shift)
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        (any::<u64>(), 1..=57u32).prop_map(|(value, width)| Field::Bits { value, width }),
        any::<bool>().prop_map(Field::Bool),
        (number(), 1..=57u32).prop_map(|(value, group)| Field::Varint { value, group }),
    ]
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn fields_come_back_in_order_whatever_their_widths(fields in collection::vec(field(), 0..40)) {
        let mut writer = BitWriter::default();
        let mut bits = 0;
        for field in &fields {
            match *field {
                Field::Bits { value, width } => writer.write(value, width),
                Field::Bool(value) => writer.write_bool(value),
                Field::Varint { value, group } => writer.write_varint(value, group),
            }
            bits += match *field {
                Field::Bits { width, .. } => width as usize,
                Field::Bool(_) => 1,
                Field::Varint { value, group } => varint_bits(value, group),
            };
            prop_assert_eq!(writer.bit_len(), bits);
        }
        let bytes = writer.finish();
        prop_assert_eq!(bytes.len(), bits.div_ceil(8));

        let mut reader = BitReader::new(&bytes);
        for field in &fields {
            match *field {
                Field::Bits { value, width } => prop_assert_eq!(reader.read(width)?, value & ((1 << width) - 1)),
                Field::Bool(value) => prop_assert_eq!(reader.read_bool()?, value),
                Field::Varint { value, group } => prop_assert_eq!(reader.read_varint(group)?, value),
            }
        }
        prop_assert!(reader.remaining_bits() < 8, "only the filling of the last byte is left");
        prop_assert_eq!(reader.clone().read(8), Err(DecodeError::Truncated));
    }

    #[test]
    fn reading_any_bytes_ends(bytes in collection::vec(any::<u8>(), 0..64), group in 1..=57u32) {
        let mut reader = BitReader::new(&bytes);
        let mut left = reader.remaining_bits();
        while reader.read_varint(group).is_ok() {
            prop_assert!(reader.remaining_bits() < left);
            left = reader.remaining_bits();
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused(group in 1..=57u32, extra in 0..4u32) {
        let mut writer = BitWriter::default();
        for _ in 0..64u32.div_ceil(group) + extra {
            writer.write(u64::MAX, group);
            writer.write_bool(true);
        }
        writer.write(1, group);
        writer.write_bool(false);
        let bytes = writer.finish();
        prop_assert_eq!(BitReader::new(&bytes).read_varint(group), Err(DecodeError::OutOfRange("varint")));
    }

    #[test]
    fn zigzag_is_undone_and_keeps_small_magnitudes_small(value in any::<i64>(), small in -1000..1000i64) {
        prop_assert_eq!(unzigzag(zigzag(value)), value);
        prop_assert_eq!(zigzag(unzigzag(value as u64)), value as u64);
        prop_assert!(zigzag(small) <= 2 * small.unsigned_abs());
    }

    #[test]
    fn a_value_in_range_comes_back_within_the_error_bound(share in 0.0..=1.0f64) {
        for (quantiser, minimum, maximum) in FIELDS {
            let value = (minimum + (maximum - minimum) * share).clamp(minimum, maximum);
            let back = quantiser.unpack(quantiser.pack(value));
            prop_assert!((back - value).abs() <= quantiser.error_bound(), "{value} came back as {back}");
        }
    }

    #[test]
    fn a_value_out_of_range_becomes_the_nearest_end(past in 0.0..1e300f64) {
        for (quantiser, minimum, maximum) in FIELDS {
            prop_assert_eq!(quantiser.unpack(quantiser.pack(minimum - past)), minimum);
            prop_assert_eq!(quantiser.unpack(quantiser.pack(maximum + past)), maximum);
        }
    }
}

#[test]
fn every_step_of_every_field_packs_to_itself() {
    for (quantiser, minimum, maximum) in FIELDS {
        for step in 0..1u64 << quantiser.bits() {
            let value = quantiser.unpack(step);
            assert!((minimum..=maximum).contains(&value), "step {step} is {value}");
            assert_eq!(quantiser.pack(value), step);
        }
    }
}

#[test]
fn what_is_no_number_packs_into_the_range() {
    for (quantiser, minimum, maximum) in FIELDS {
        assert_eq!(quantiser.unpack(quantiser.pack(f64::NAN)), minimum);
        assert_eq!(quantiser.unpack(quantiser.pack(f64::NEG_INFINITY)), minimum);
        assert_eq!(quantiser.unpack(quantiser.pack(f64::INFINITY)), maximum);
    }
}
