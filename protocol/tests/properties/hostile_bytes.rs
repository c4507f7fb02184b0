//! Any bytes into every decoder: no panic, nothing beyond a limit, and what is accepted can be sent on.

use crate::{given, repeatable};
use proptest::{collection, prelude::*, sample::Index};
use serde::{Serialize, de::DeserializeOwned};
use sidereal_protocol::{
    frames::{
        control::{ToServer, ToShard, decode_frame, encode_frame},
        messages::Credential,
    },
    limits::{MAX_LANE_BYTES, MAX_NAME_BYTES, MAX_RECORD_BYTES, MAX_UNACKNOWLEDGED_INPUTS},
    packets::{
        input::InputPacket,
        lane,
        motion::{MAX_MOTIONS, MAX_SHOTS, SectorUpdate, encode_sector_update},
        own_state::{OWN_STATES_PER_PACKET, decode_own_states, encode_own_states},
    },
    record::{EntityRecord, RECORD_FORMAT, SECTIONS},
    rules::{
        flight::{self, Controls, HullKind},
        shot::{BEAM_RANGE, MAX_SHOT_LEAD_TICKS, ShotId},
    },
    world::sector::SECTOR_SIZE,
};
use std::fmt::Debug;

/// The bytes of everything that has a decoder.
fn sent() -> impl Strategy<Value = Vec<u8>> {
    let update = given::news(40, 8).prop_map(|news| {
        let packets = encode_sector_update(news.sector, news.tick, news.parts());
        packets.into_iter().next().map(|packet| packet.bytes).unwrap_or_default()
    });
    let states = collection::vec(given::own_state(), 0..=OWN_STATES_PER_PACKET);
    prop_oneof![
        2 => update,
        2 => given::inputs(60).prop_map(|inputs| InputPacket::encode(&inputs)),
        1 => states.prop_map(|states| encode_own_states(&states).concat()),
        2 => given::record().prop_map(|record| record.encode().expect("a record is short")),
        2 => given::format_3().prop_map(|old| [vec![3], encode_frame(&old).expect("a record is short")].concat()),
        2 => given::to_shard().prop_map(|message| encode_frame(&message).expect("the message is short")),
        2 => given::to_server().prop_map(|message| encode_frame(&message).expect("the message is short")),
        1 => given::credential().prop_map(|credential| credential.encode()),
    ]
}

/// Bytes that pass the first check of one decoder or another.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        Just(lane::SECTOR_UPDATE),
        Just(lane::OWN_STATES),
        Just(lane::INPUTS),
        Just(RECORD_FORMAT),
        Just(RECORD_FORMAT - 1),
        0..16u8,
        any::<u8>(),
    ];
    // Noise of all bytes fails at its first varint: half of it is of few bits.
    let byte = prop_oneof![any::<u8>(), Just(0u8), (0..8u32).prop_map(|bit| 1u8 << bit)];
    (first, collection::vec(byte, 0..MAX_LANE_BYTES + 50)).prop_map(|(first, mut bytes)| {
        bytes.insert(0, first);
        bytes
    })
}

fn try_every_decoder(bytes: &[u8]) -> Result<(), TestCaseError> {
    try_update(bytes)?;
    try_inputs(bytes)?;
    try_own_states(bytes)?;
    try_record(bytes)?;
    try_frame::<ToShard>(bytes)?;
    try_frame::<ToServer>(bytes)?;
    if let Ok(credential) = Credential::decode(bytes) {
        prop_assert_eq!(credential.encode(), bytes);
    }
    Ok(())
}

fn try_update(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(update) = SectorUpdate::decode(bytes) else { return Ok(()) };
    let SectorUpdate { sector, tick, motions, shots, hits, beams } = &update;
    prop_assert!(motions.len() <= MAX_MOTIONS && shots.len() <= MAX_SHOTS && hits.len() <= MAX_SHOTS);
    prop_assert!(beams.len() <= MAX_SHOTS);
    prop_assert!(motions.windows(2).all(|pair| pair[0].net_id < pair[1].net_id));
    prop_assert!(motions.iter().all(|motion| motion.state.is_finite()));
    let ids = shots.iter().map(|shot| shot.id).chain(hits.iter().map(|hit| hit.id));
    let ids = ids.chain(beams.iter().map(|beam| beam.id));
    let too_early = |id: &ShotId| id.tick.since(*tick) > MAX_SHOT_LEAD_TICKS;
    prop_assert!(!ids.into_iter().any(|id| too_early(&id)));
    let positions = motions.iter().map(|motion| motion.state.position);
    let positions = positions.chain(beams.iter().map(|beam| beam.origin));
    let positions = positions.chain(shots.iter().map(|shot| shot.origin)).chain(hits.iter().map(|hit| hit.position));
    for position in positions {
        prop_assert!(sector.overshoot(position) <= SECTOR_SIZE * 0.5 + 1e-3, "{position} of {sector}");
    }
    let reach = beams.iter().map(|beam| (beam.end - beam.origin).length()).fold(0.0, f64::max);
    prop_assert!(reach <= BEAM_RANGE + 1.1, "a beam of {reach} units");
    prop_assert!(beams.iter().all(|beam| beam.target.is_none_or(|target| target.0 != 0)));
    let (mut again, mut packets) = (update.clone(), 0);
    (again.motions, again.shots, again.hits, again.beams) = (vec![], vec![], vec![], vec![]);
    for packet in encode_sector_update(*sector, *tick, update.parts()) {
        let part = SectorUpdate::decode(&packet.bytes)?;
        again.motions.extend(part.motions);
        again.shots.extend(part.shots);
        again.hits.extend(part.hits);
        again.beams.extend(part.beams);
        packets += 1;
    }
    prop_assert!(packets <= 1, "it fitted one packet before");
    prop_assert_eq!(again, update);
    Ok(())
}

fn try_inputs(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(packet) = InputPacket::decode(bytes) else { return Ok(()) };
    prop_assert!(packet.inputs.len() <= MAX_UNACKNOWLEDGED_INPUTS);
    prop_assert!(packet.inputs.windows(2).all(|pair| pair[0].tick < pair[1].tick));
    let again = InputPacket::encode(&packet.inputs);
    prop_assert!(again.len() <= MAX_LANE_BYTES);
    prop_assert_eq!(InputPacket::decode(&again)?, packet);
    Ok(())
}

fn try_own_states(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(states) = decode_own_states(bytes) else { return Ok(()) };
    prop_assert!(states.len() <= OWN_STATES_PER_PACKET);
    for state in &states {
        let next = flight::step(&state.state, Controls::default(), &HullKind::Scout.spec());
        prop_assert!(next.is_finite(), "{state:?} flies to {next:?}");
    }
    if !states.is_empty() {
        prop_assert_eq!(encode_own_states(&states).concat(), bytes);
    }
    Ok(())
}

fn try_record(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(record) = EntityRecord::decode(bytes) else { return Ok(()) };
    // Each section of one of an older format gets a number, a version and a length.
    let added = if bytes[0] == RECORD_FORMAT { 0 } else { 3 * SECTIONS.len() };
    prop_assert_eq!(record.validate(), Ok(()));
    prop_assert!(record.name.len() <= MAX_NAME_BYTES);
    let again = record.encode()?;
    prop_assert!(again.len() <= MAX_RECORD_BYTES && again.len() <= bytes.len() + added);
    prop_assert_eq!(EntityRecord::decode(&again)?, record);
    Ok(())
}

fn try_frame<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(message) = decode_frame::<T>(bytes) else { return Ok(()) };
    // Compared by bytes: a frame is not validated, and a NaN in it equals nothing.
    let again = encode_frame(&message)?;
    let back = decode_frame::<T>(&again)?;
    prop_assert!(again.len() <= bytes.len(), "{message:?} grew");
    prop_assert_eq!(encode_frame(&back)?, again);
    Ok(())
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn noise_does_no_harm(bytes in noise()) {
        try_every_decoder(&bytes)?;
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in collection::vec(any::<u8>(), 0..300)) {
        try_every_decoder(&bytes)?;
    }

    #[test]
    fn what_is_sent_cut_short_does_no_harm(bytes in sent()) {
        for length in 0..=bytes.len() {
            try_every_decoder(&bytes[..length])?;
        }
    }

    #[test]
    fn what_is_sent_with_flipped_bits_does_no_harm(
        bytes in sent(),
        flips in collection::vec(collection::vec((any::<Index>(), 0..8u32), 1..4), 32),
        tail in collection::vec(any::<u8>(), 0..20),
    ) {
        for flip in flips {
            let mut bytes = bytes.clone();
            for (at, bit) in flip {
                if !bytes.is_empty() {
                    *at.get_mut(&mut bytes) ^= 1 << bit;
                }
            }
            try_every_decoder(&bytes)?;
            bytes.extend(&tail);
            try_every_decoder(&bytes)?;
        }
    }

    /// A count states how much follows: it must not make a decoder allocate room for it.
    #[test]
    fn a_count_without_its_elements_is_refused(variant in 0..16u8, count in 1u32.., at in 1..40usize) {
        let mut bytes = vec![0; at];
        bytes[0] = variant;
        let mut left = count;
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        try_every_decoder(&bytes)?;
    }
}

#[test]
fn every_single_byte_of_every_short_packet_does_no_harm() {
    for first in 0..=u8::MAX {
        try_every_decoder(&[first]).expect("no harm");
        for second in 0..=u8::MAX {
            try_every_decoder(&[first, second]).expect("no harm");
        }
    }
}
