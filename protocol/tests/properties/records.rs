//! Records, control frames, credentials, and their fields in naia's components and in messages.

use crate::{given, repeatable};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use sidereal_protocol::{
    DecodeError,
    components::{Identity, Vitals},
    frames::{
        control::{ToServer, ToShard, decode_frame, encode_frame},
        messages::{Credential, ShipAssigned},
    },
    limits::{MAX_CONTROL_BYTES, MAX_NAME_BYTES, MAX_RECORD_BYTES},
    record::{DroneMind, EntityKind, EntityRecord, RECORD_FORMAT, ShipHull, Structure, Warhead},
    rules::flight::HullKind,
    world::{ids::NetId, tick::SimTick},
};
use std::fmt::Debug;

fn comes_back_whole_or_not_at_all<T>(message: &T) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = encode_frame(message)?;
    prop_assert_eq!(&decode_frame::<T>(&bytes)?, message);
    for length in 0..bytes.len() {
        let early = decode_frame::<T>(&bytes[..length]);
        prop_assert!(matches!(early, Err(DecodeError::Malformed(_))), "{length} bytes gave {early:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn a_record_comes_back_whole_or_not_at_all(record in given::record()) {
        prop_assert_eq!(record.validate(), Ok(()));
        let bytes = record.encode()?;
        prop_assert!(bytes.len() <= MAX_RECORD_BYTES);
        prop_assert_eq!(&EntityRecord::decode(&bytes)?, &record);
        prop_assert_eq!(EntityRecord::decode(&[]), Err(DecodeError::Truncated));
        for length in 1..bytes.len() {
            let early = EntityRecord::decode(&bytes[..length]);
            prop_assert!(matches!(early, Err(DecodeError::Malformed(_))), "{length} bytes gave {early:?}");
        }
    }

    #[test]
    fn a_record_of_another_format_is_refused_by_its_number(record in given::record(), format in any::<u8>()) {
        prop_assume!(!(1..=RECORD_FORMAT).contains(&format));
        let mut bytes = record.encode()?;
        bytes[0] = format;
        prop_assert_eq!(EntityRecord::decode(&bytes), Err(DecodeError::UnknownKind(format)));
    }

    #[test]
    fn the_least_record_of_a_kind_lacks_its_hull_or_its_warhead_at_most(
        id in given::entity_id(),
        sector in given::sector(),
        local in given::vector(499.0),
        tick in given::tick(),
    ) {
        let position = sector.center() + local;
        for kind in EntityKind::all() {
            let least = EntityRecord::at_rest(id, kind, position, tick);
            prop_assert_eq!((least.sector, least.tick, least.state.position), (sector, tick, position));
            prop_assert_eq!((least.radius(), least.hull(), least.structure().hull_max), (1.0, 1, 1));
            let (lacks, whole) = match kind {
                EntityKind::Ship => (Some("hull_kind"), least.clone().with(ShipHull(HullKind::Scout))),
                EntityKind::Missile => {
                    (Some("warhead"), least.clone().with(Warhead { shooter: id, target: None, expires: tick }))
                }
                _ => (None, least.clone()),
            };
            prop_assert_eq!(least.validate(), lacks.map_or(Ok(()), |name| Err(DecodeError::OutOfRange(name))));
            prop_assert_eq!(whole.validate(), Ok(()));
        }
    }

    #[test]
    fn a_record_with_a_number_that_is_not_finite_is_refused(
        record in given::record(),
        number in given::not_finite(),
        which in 0..6usize,
    ) {
        let mut record = record;
        let state = &mut record.state;
        let name = match which {
            0 => { state.position.x = number; "state" }
            1 => { state.velocity.y = number; "state" }
            2 => { state.angle = number; "state" }
            3 => { state.angular_velocity = number; "state" }
            4 => { record.set(Structure { radius: number, ..record.structure() }); "radius" }
            _ => match record.get::<DroneMind>() {
                Some(mind) => { record.set(DroneMind { patrol_phase: number, ..mind }); "mind" }
                None => return Ok(()),
            },
        };
        prop_assert_eq!(EntityRecord::decode(&record.encode()?), Err(DecodeError::OutOfRange(name)));
    }

    #[test]
    fn a_record_out_of_range_is_refused_by_its_field(record in given::record(), by in 1..9usize) {
        let long = EntityRecord { name: "n".repeat(MAX_NAME_BYTES + by), ..record.clone() };
        prop_assert_eq!(EntityRecord::decode(&long.encode()?), Err(DecodeError::OutOfRange("name")));
        for radius in [0.0, -(by as f64), 500.0 + by as f64] {
            let odd = record.clone().with(Structure { radius, ..record.structure() });
            prop_assert_eq!(EntityRecord::decode(&odd.encode()?), Err(DecodeError::OutOfRange("radius")));
        }
        let more = Structure { hull: by as u16, hull_max: by as u16 - 1, ..record.structure() };
        let more = record.with(more);
        prop_assert_eq!(EntityRecord::decode(&more.encode()?), Err(DecodeError::OutOfRange("hull")));
    }

    #[test]
    fn frames_to_a_shard_come_back_whole_or_not_at_all(message in given::to_shard()) {
        comes_back_whole_or_not_at_all(&message)?;
    }

    #[test]
    fn frames_to_the_server_come_back_whole_or_not_at_all(message in given::to_server()) {
        comes_back_whole_or_not_at_all(&message)?;
    }

    #[test]
    fn a_credential_comes_back_whole_or_not_at_all(credential in given::credential()) {
        let bytes = credential.encode();
        prop_assert_eq!(&Credential::decode(&bytes)?, &credential);
        for length in 0..bytes.len() {
            prop_assert_eq!(Credential::decode(&bytes[..length]), Err(DecodeError::Truncated));
        }
        let longer = [bytes, vec![0]].concat();
        prop_assert_eq!(Credential::decode(&longer), Err(DecodeError::OutOfRange("credential length")));
    }

    #[test]
    fn a_credential_does_not_print_its_secret(secret in "[0-9a-f]{16,64}", name in "[g-z]{0,20}") {
        let printed = format!("{:?}", Credential { secret: secret.clone(), name: name.clone() });
        prop_assert!(!printed.contains(&secret), "{printed}");
        prop_assert!(printed.contains(&name), "{printed}");
    }

    #[test]
    fn components_say_what_the_record_says(record in given::record()) {
        let identity = Identity::of(&record);
        prop_assert_eq!(identity.entity_id(), record.id);
        prop_assert_eq!(identity.net_id(), record.net_id);
        prop_assert_eq!(identity.entity_kind(), Some(record.kind));
        prop_assert_eq!(identity.hull_kind(), record.hull_kind());
        prop_assert_eq!(identity.owner(), record.owner.filter(|owner| !owner.0.is_nil()));
        prop_assert_eq!(&*identity.name, &record.name);
        let vitals = Vitals::of(&record);
        prop_assert_eq!((*vitals.hull, *vitals.hull_max), (record.hull(), record.structure().hull_max));
        let assigned = ShipAssigned::of(record.id, record.net_id);
        prop_assert_eq!((assigned.entity_id(), assigned.net_id), (record.id, record.net_id.0));
    }

    #[test]
    fn a_block_of_net_ids_from_outside_gives_each_once(start in any::<u32>(), length in -50..50i64) {
        let end = (i64::from(start) + length).clamp(0, i64::from(u32::MAX)) as u32;
        let mut block = sidereal_protocol::world::ids::NetIdBlock { next: start, end };
        let mut taken = Vec::new();
        let promised = block.remaining();
        while let Some(id) = block.take() {
            taken.push(id.0);
        }
        prop_assert_eq!(taken, (start..end).collect::<Vec<_>>());
        prop_assert_eq!(promised, end.saturating_sub(start));
        prop_assert_eq!(block.remaining(), 0);
    }
}

#[test]
fn kinds_are_known_by_their_numbers_and_no_others() {
    for number in 0..=u8::MAX {
        assert!(EntityKind::from_u8(number).is_none_or(|kind| kind as u8 == number));
        assert!(HullKind::from_u8(number).is_none_or(|kind| kind as u8 == number));
    }
    for kind in [EntityKind::Ship, EntityKind::Drone, EntityKind::Asteroid, EntityKind::Missile] {
        assert_eq!(EntityKind::from_u8(kind as u8), Some(kind));
    }
    for kind in [HullKind::Scout, HullKind::Drone, HullKind::Missile] {
        assert_eq!(HullKind::from_u8(kind as u8), Some(kind));
    }
}

#[test]
fn what_is_too_long_is_refused_before_it_is_read() {
    let record = EntityRecord::decode(&vec![RECORD_FORMAT; MAX_RECORD_BYTES + 1]);
    assert_eq!(record, Err(DecodeError::TooLong { len: MAX_RECORD_BYTES + 1, limit: MAX_RECORD_BYTES }));
    let too_long = DecodeError::TooLong { len: MAX_CONTROL_BYTES + 1, limit: MAX_CONTROL_BYTES };
    let bytes = vec![0; MAX_CONTROL_BYTES + 1];
    assert_eq!(decode_frame::<ToShard>(&bytes), Err(too_long.clone()));
    assert_eq!(decode_frame::<ToServer>(&bytes), Err(too_long));
}

#[test]
fn what_is_too_long_is_not_sent() {
    let entities = vec![(NetId(u32::MAX), u64::MAX); MAX_CONTROL_BYTES / 10];
    let census = ToServer::Census { tick: SimTick(1), entities, inputs_applied: 0 };
    assert!(matches!(encode_frame(&census), Err(DecodeError::TooLong { limit: MAX_CONTROL_BYTES, .. })));
}
