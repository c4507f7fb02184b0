//! Sections of records: written, read, carried by who does not know them, and the formats before there were any.

use crate::{given, repeatable};
use proptest::{collection, prelude::*};
use serde::{Deserialize, Serialize};
use sidereal_protocol::{
    DecodeError,
    frames::control::encode_frame,
    limits::MAX_RECORD_BYTES,
    record::{
        BeamReady, DockedAt, DroneMind, EntityKind, EntityRecord, ExpiresAt, GunReady, LauncherReady, OreLoad,
        Presence, RECORD_FORMAT, SECTIONS, Section, Sections, SettledAt, ShipHull, Structure, Warhead,
        formats::{Format1, Format3},
        read_exactly,
    },
    rules::{economy::Fitted, flight::HullKind},
    world::{ids::EntityId, kind::Ore, tick::SimTick},
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The bytes of a record of an older format. A frame is plain postcard, as what follows a record's format byte.
fn stored(format: u8, old: &impl Serialize) -> Vec<u8> {
    [vec![format], encode_frame(old).expect("a record is short")].concat()
}

/// Reads a stored record of an older format, in today's and back, and not at all if it is cut short.
fn read(format: u8, old: &impl Serialize) -> Result<EntityRecord, TestCaseError> {
    let bytes = stored(format, old);
    let record = EntityRecord::decode(&bytes)?;
    let anew = record.encode()?;
    prop_assert_eq!(anew[0], RECORD_FORMAT);
    prop_assert_eq!(&EntityRecord::decode(&anew)?, &record, "stored again in the new format");
    for length in 1..bytes.len() {
        let early = EntityRecord::decode(&bytes[..length]);
        prop_assert!(matches!(early, Err(DecodeError::Malformed(_))), "{length} bytes gave {early:?}");
    }
    Ok(record)
}

/// What a kind may have of what every record had a place for.
fn of_kind<T: Default>(value: T, may_have: bool) -> T {
    if may_have { value } else { T::default() }
}

fn is_body_of(record: &EntityRecord, old: &Format1) -> Result<(), TestCaseError> {
    let (kind, spec) = (old.kind, old.kind.spec());
    prop_assert_eq!((record.id, record.net_id, record.kind, record.owner), (old.id, old.net_id, kind, old.owner));
    prop_assert_eq!((&record.name, record.fence()), (&old.name, (old.epoch, old.version)));
    prop_assert_eq!((record.tick, record.sector, record.state), (old.tick, old.sector, old.state));
    let structure = Structure { radius: old.radius, hull: old.hull, hull_max: old.hull_max };
    prop_assert_eq!((record.hull_kind(), record.structure()), (old.hull_kind, structure));
    let ready = record.get::<GunReady>().unwrap_or_default().0;
    prop_assert_eq!(ready, of_kind(old.weapon_ready, spec.is_craft()));
    prop_assert_eq!(record.get::<SettledAt>().unwrap_or_default().0, old.settled_at);
    prop_assert_eq!(record.pilot(), of_kind(old.pilot, kind == EntityKind::Ship));
    prop_assert_eq!(record.get::<DroneMind>(), of_kind(old.mind, kind == EntityKind::Drone));
    Ok(())
}

/// A section whose second version has another layout.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Shield {
    points: u32,
    side: u8,
}

/// Its first version: points alone, of all sides.
#[derive(Serialize, Deserialize)]
struct Shield1 {
    points: u16,
}

impl Section for Shield {
    const ID: u16 = 900;
    const VERSION: u8 = 2;
    const NAME: &'static str = "shield";

    fn presence(_: EntityKind) -> Presence {
        Presence::Optional
    }

    fn read(version: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match version {
            2 => read_exactly(bytes),
            1 => read_exactly(bytes).map(|Shield1 { points }| Self { points: points.into(), side: 0 }),
            version => Err(DecodeError::UnknownSectionVersion { section: Self::NAME, version }),
        }
    }
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn a_record_of_format_3_says_the_same_in_sections(old in given::format_3()) {
        let record = read(3, &old)?;
        is_body_of(&record, &old.before.before)?;
        let (kind, spec) = (record.kind, record.kind.spec());
        let (launcher, beam) = (old.before.launcher_ready, old.before.beam_ready);
        prop_assert_eq!(record.get::<LauncherReady>().unwrap_or_default().0, of_kind(launcher, kind == EntityKind::Ship));
        prop_assert_eq!(record.get::<BeamReady>().unwrap_or_default().0, of_kind(beam, kind == EntityKind::Ship));
        prop_assert_eq!(record.warhead(), old.before.warhead);
        prop_assert_eq!(record.docked(), old.docked);
        prop_assert_eq!(record.fitted(), of_kind(old.fitted, kind == EntityKind::Ship));
        prop_assert_eq!(record.ore(), of_kind(old.ore, spec.ore != Ore::None));
        prop_assert_eq!(record.get::<ExpiresAt>().unwrap_or_default().0, of_kind(old.expires, spec.ore == Ore::Cargo));
    }

    #[test]
    fn a_record_of_format_2_has_nothing_of_the_economy(old in given::format_3()) {
        let old = old.before;
        let record = read(2, &old)?;
        is_body_of(&record, &old.before)?;
        prop_assert_eq!(record.warhead(), old.warhead);
        prop_assert_eq!((record.docked(), record.fitted(), record.ore()), (None, Fitted::default(), 0));
        prop_assert_eq!(record.get::<ExpiresAt>(), None);
    }

    #[test]
    fn a_record_of_format_1_waits_for_no_weapon_that_it_did_not_know(old in given::format_3()) {
        let old = old.before.before;
        if old.kind == EntityKind::Missile {
            let missile = EntityRecord::decode(&stored(1, &old));
            prop_assert_eq!(missile, Err(DecodeError::OutOfRange("warhead")));
            return Ok(());
        }
        let record = read(1, &old)?;
        is_body_of(&record, &old)?;
        prop_assert_eq!((record.get::<LauncherReady>(), record.get::<BeamReady>()), (None, None));
        prop_assert_eq!((record.warhead(), record.docked(), record.fitted()), (None, None, Fitted::default()));
    }

    #[test]
    fn an_old_record_with_what_is_another_kinds_is_refused(
        old in given::format_3(),
        hull in proptest::option::of(given::hull_kind()),
        id in given::entity_id(),
    ) {
        let body = &old.before.before;
        let fits = match body.kind {
            EntityKind::Ship => hull.is_some_and(|hull| hull.price().is_some()),
            _ => hull == body.hull_kind,
        };
        let mut odd = old.clone();
        odd.before.before.hull_kind = hull;
        let wanted = if fits { Ok(()) } else { Err(DecodeError::OutOfRange("hull_kind")) };
        prop_assert_eq!(EntityRecord::decode(&stored(3, &odd)).map(drop), wanted);
        let mut odd = old.clone();
        odd.before.warhead = match body.kind {
            EntityKind::Missile => None,
            _ => Some(Warhead { shooter: id, target: None, expires: SimTick(1) }),
        };
        prop_assert_eq!(EntityRecord::decode(&stored(3, &odd)), Err(DecodeError::OutOfRange("warhead")));
        if body.kind != EntityKind::Ship {
            let odd = Format3 { docked: Some(id), ..old };
            prop_assert_eq!(EntityRecord::decode(&stored(3, &odd)), Err(DecodeError::OutOfRange("docked")));
        }
    }

    #[test]
    fn a_section_of_another_kind_or_with_a_wrong_value_is_refused_by_its_name(record in given::record()) {
        let kind = record.kind;
        let id = EntityId(Uuid::from_u128(1));
        let refused = |sections: Sections, name| {
            let odd = EntityRecord { sections, ..record.clone() };
            prop_assert_eq!(EntityRecord::decode(&odd.encode()?), Err(DecodeError::OutOfRange(name)));
            Ok(())
        };
        let with = |id: u16, bytes: Vec<u8>| {
            let mut sections = record.sections.clone();
            sections.put(id, 1, &bytes);
            sections
        };
        let bytes = |value: &dyn Fn() -> Result<Vec<u8>, DecodeError>| value().expect("it is short");
        if kind != EntityKind::Ship {
            refused(with(ShipHull::ID, bytes(&|| encode_frame(&ShipHull(HullKind::Scout)))), "hull_kind")?;
            refused(with(DockedAt::ID, bytes(&|| encode_frame(&DockedAt(id)))), "docked")?;
            refused(with(Fitted::ID, bytes(&|| encode_frame(&Fitted(1)))), "fitted")?;
        } else {
            refused(with(ShipHull::ID, bytes(&|| encode_frame(&ShipHull(HullKind::Drone)))), "hull_kind")?;
            refused(with(Fitted::ID, bytes(&|| encode_frame(&Fitted(64)))), "fitted")?;
            refused(record.sections.only(|id| id != ShipHull::ID), "hull_kind")?;
        }
        if kind == EntityKind::Missile {
            refused(record.sections.only(|id| id != Warhead::ID), "warhead")?;
        } else {
            let warhead = Warhead { shooter: id, target: None, expires: SimTick(1) };
            refused(with(Warhead::ID, bytes(&|| encode_frame(&warhead))), "warhead")?;
        }
        if kind.spec().ore == Ore::None {
            refused(with(OreLoad::ID, bytes(&|| encode_frame(&OreLoad(1)))), "ore")?;
        }
        if !kind.spec().is_craft() {
            refused(with(GunReady::ID, bytes(&|| encode_frame(&GunReady(SimTick(1))))), "weapon_ready")?;
        }
    }

    #[test]
    fn a_known_section_that_cannot_be_read_is_refused(record in given::record(), version in 2..=u8::MAX) {
        for raw in record.sections.iter() {
            let raw = raw?;
            let mut later = record.clone();
            later.sections.put(raw.id, version, raw.bytes);
            let mut longer = record.clone();
            longer.sections.put(raw.id, raw.version, &[raw.bytes, &[0]].concat());
            let mut shorter = record.clone();
            shorter.sections.put(raw.id, raw.version, &raw.bytes[..raw.bytes.len().saturating_sub(1)]);
            let Some(spec) = SECTIONS.iter().find(|spec| spec.id == raw.id) else {
                prop_assert_eq!((later.validate(), longer.validate(), shorter.validate()), (Ok(()), Ok(()), Ok(())));
                continue;
            };
            let unknown = DecodeError::UnknownSectionVersion { section: spec.name, version };
            prop_assert_eq!(EntityRecord::decode(&later.encode()?), Err(unknown));
            prop_assert!(matches!(EntityRecord::decode(&longer.encode()?), Err(DecodeError::Malformed(_))));
            prop_assert!(matches!(EntityRecord::decode(&shorter.encode()?), Err(DecodeError::Malformed(_))));
        }
    }

    #[test]
    fn an_unknown_section_is_carried_unchanged(
        record in given::record(),
        id in given::UNKNOWN_SECTIONS,
        version in any::<u8>(),
        bytes in given::bytes(300),
    ) {
        let mut record = record;
        record.sections.put(id, version, &bytes);
        let mut again = EntityRecord::decode(&record.encode()?)?;
        again.set(Structure::whole(7.0, 7));
        again.remove::<SettledAt>();
        let found = again.sections.iter().map_while(Result::ok).find(|raw| raw.id == id);
        prop_assert_eq!(found.map(|raw| (raw.version, raw.bytes)), Some((version, bytes.as_slice())));
        prop_assert_eq!(again.sections.only(|id| id >= 1000), record.sections.only(|id| id >= 1000));
    }

    #[test]
    fn sections_are_a_map_in_the_order_of_numbers(
        steps in collection::vec((0..300u16, proptest::option::of((any::<u8>(), given::bytes(200)))), 0..40),
        cut in 0..300u16,
    ) {
        let (mut sections, mut model) = (Sections::default(), BTreeMap::new());
        for (id, step) in steps {
            match step {
                Some((version, bytes)) => {
                    sections.put(id, version, &bytes);
                    model.insert(id, (version, bytes));
                }
                None => {
                    sections.remove(id);
                    model.remove(&id);
                }
            }
        }
        let all = |sections: &Sections| {
            sections.iter().map(|raw| raw.map(|raw| (raw.id, (raw.version, raw.bytes.to_vec())))).collect::<Result<Vec<_>, _>>()
        };
        prop_assert_eq!(all(&sections)?, model.clone().into_iter().collect::<Vec<_>>());
        let (mut low, high) = (sections.only(|id| id < cut), sections.only(|id| id >= cut));
        prop_assert_eq!(all(&low)?.len() + all(&high)?.len(), model.len());
        low.put_all(&high);
        prop_assert_eq!(&low, &sections);
        prop_assert_eq!(sections.is_empty(), model.is_empty());
    }

    #[test]
    fn sections_out_of_order_twice_or_cut_short_are_refused(record in given::record()) {
        let mut raw = Vec::new();
        for section in record.sections.iter() {
            let section = section?;
            raw.push(encode_frame(&(section.id, section.version, section.bytes))?);
        }
        // What comes before the sections, and the whole with these bytes in their place.
        let header = EntityRecord { sections: Sections::default(), ..record.clone() }.encode()?;
        let with = |sections: &[u8]| {
            let mut bytes = header[..header.len() - 1].to_vec();
            bytes.extend(encode_frame(&sections.to_vec()).expect("it is short"));
            bytes
        };
        prop_assert_eq!(EntityRecord::decode(&with(&raw.concat()))?, record);
        for at in 0..raw.len() {
            let twice = [&raw[..=at], &raw[at..]].concat().concat();
            prop_assert_eq!(EntityRecord::decode(&with(&twice)), Err(DecodeError::OutOfRange("order of sections")));
            let whole = raw.concat();
            let short = EntityRecord::decode(&with(&whole[..whole.len() - 1]));
            prop_assert!(matches!(short, Err(DecodeError::Malformed(_))), "{short:?}");
        }
        for at in 1..raw.len() {
            let mut swapped = raw.clone();
            swapped.swap(at - 1, at);
            prop_assert!(EntityRecord::decode(&with(&swapped.concat())).is_err());
        }
    }

    #[test]
    fn a_section_is_read_by_the_version_that_wrote_it(points in any::<u16>(), side in any::<u8>(), later in 3..=u8::MAX) {
        let mut sections = Sections::default();
        sections.put(Shield::ID, 1, &encode_frame(&Shield1 { points })?);
        prop_assert_eq!(sections.get::<Shield>(), Some(Shield { points: points.into(), side: 0 }));
        let today = Shield { points: u32::from(points) + 70_000, side };
        sections.set(&today);
        prop_assert_eq!(sections.get::<Shield>(), Some(today));
        prop_assert_eq!(sections.iter().next().map(|raw| raw.map(|raw| raw.version)), Some(Ok(2)));
        sections.put(Shield::ID, later, &[]);
        prop_assert_eq!(sections.get::<Shield>(), None);
    }
}

#[test]
fn records_with_too_long_sections_are_refused_before_they_are_read() {
    let id = EntityId(Uuid::from_u128(1));
    let mut record = EntityRecord::at_rest(id, EntityKind::Asteroid, sidereal_protocol::DVec2::ZERO, SimTick(1));
    record.sections.put(1000, 1, &vec![0; MAX_RECORD_BYTES]);
    assert!(matches!(record.validate(), Err(DecodeError::TooLong { limit: MAX_RECORD_BYTES, .. })));
    assert!(matches!(record.encode(), Err(DecodeError::TooLong { limit: MAX_RECORD_BYTES, .. })));
}
