//! A record with sections, one of which this build does not know; and what records take, beside the format before them.
//!
//! `cargo run --release -p sidereal-protocol --example entity_record`

use bevy::math::DVec2;
use sidereal_protocol::{
    DecodeError,
    record::{
        EntityKind, EntityRecord, Presence, Section, Structure, Warhead,
        formats::{Format1, Format2, Format3, OldMind, OldPilot, OldWarhead},
    },
    rules::flight::{Controls, HullKind},
    world::{
        ids::{AccountId, EntityId, NetId},
        sector::SectorId,
        tick::SimTick,
    },
};
use std::{hint::black_box, time::Instant};

/// Repetitions of a measured call.
const ROUNDS: u32 = 100_000;

/// A section of somebody else's game: its number is not in this crate's list.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Paint {
    red: u8,
    green: u8,
    blue: u8,
}

impl Section for Paint {
    const ID: u16 = 5_000;
    const NAME: &'static str = "paint";

    fn presence(kind: EntityKind) -> Presence {
        if kind == EntityKind::Ship { Presence::Optional } else { Presence::Never }
    }
}

/// A record as a database of format 3 holds it: moving, with every field that its kind uses.
fn before_sections(kind: EntityKind) -> Format3 {
    let now = SimTick(900_000);
    let position = DVec2::new(1_234.5, -678.9);
    let is_ship = kind == EntityKind::Ship;
    let id = EntityId::from_halves(0x0190_aaaa_bbbb_7ccc, kind as u64);
    let at_rest = EntityRecord::at_rest(id, kind, position, now);
    let body = Format1 {
        id,
        net_id: NetId(70_000),
        kind,
        hull_kind: match kind {
            EntityKind::Ship => Some(HullKind::Hauler),
            EntityKind::Drone => Some(HullKind::Drone),
            EntityKind::Missile => Some(HullKind::Missile),
            EntityKind::Asteroid | EntityKind::Station | EntityKind::Crate => None,
        },
        owner: is_ship.then_some(AccountId(id.0)),
        name: if is_ship { "Grace Hopper".to_owned() } else { String::new() },
        epoch: 12,
        version: 345,
        tick: now,
        sector: SectorId::containing(position),
        state: at_rest.state,
        radius: 14.0,
        hull: 80,
        hull_max: 120,
        weapon_ready: if kind.spec().is_craft() { now } else { SimTick(0) },
        settled_at: now,
        pilot: is_ship.then_some(OldPilot {
            boarding: 7,
            last_input: now,
            inputs_applied: 3_000,
            controls: (127, -20, Controls::FIRE),
            input_delay_ticks: 3,
            rewind: 9,
        }),
        mind: (kind == EntityKind::Drone).then_some(OldMind { home: position, patrol_phase: 1.0, target: Some(id) }),
    };
    let wait = if is_ship { now } else { SimTick(0) };
    let warhead = OldWarhead { shooter: id, target: Some(id), expires: now };
    let warhead = (kind == EntityKind::Missile).then_some(warhead);
    Format3 {
        before: Format2 { before: body, launcher_ready: wait, beam_ready: wait, warhead },
        docked: None,
        fitted: u8::from(is_ship),
        ore: if matches!(kind, EntityKind::Ship | EntityKind::Asteroid | EntityKind::Crate) { 300 } else { 0 },
        expires: if kind == EntityKind::Crate { now } else { SimTick(0) },
    }
}

/// Nanoseconds that one call takes.
fn nanoseconds<T>(mut call: impl FnMut() -> T) -> f64 {
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        black_box(call());
    }
    begin.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ship = EntityRecord::try_from(before_sections(EntityKind::Ship))?.with(Paint { red: 200, green: 10, blue: 10 });
    // Another process reads the structure, and writes it. It has never heard of paint, which stays as it is.
    let mut received = EntityRecord::decode(&ship.encode()?)?;
    received.set(Structure { hull: 1, ..received.structure() });
    println!("{:?}\n", received.sections);
    assert_eq!(received.get::<Paint>(), ship.get::<Paint>());

    // What cannot be is rejected with its name.
    let mut rock = EntityRecord::at_rest(ship.id, EntityKind::Asteroid, DVec2::ZERO, SimTick(1));
    rock.sections.put(Warhead::ID, Warhead::VERSION, &[0; 33]);
    assert_eq!(rock.validate(), Err(DecodeError::OutOfRange("warhead")));

    println!("{:10}{:>18}{:>24}{:>24}", "kind", "bytes", "encode, ns", "decode, ns");
    println!("{:10}{:>10}{:>8}{:>14}{:>10}{:>14}{:>10}", "", "format 3", "now", "format 3", "now", "format 3", "now");
    for kind in EntityKind::all() {
        let old = before_sections(kind);
        let record = EntityRecord::try_from(old.clone())?;
        let (old_bytes, bytes) = (postcard::to_stdvec(&old)?, record.encode()?);
        println!(
            "{:10}{:>10}{:>8}{:>14.0}{:>10.0}{:>14.0}{:>10.0}",
            format!("{kind:?}"),
            // The format byte is in front of these.
            old_bytes.len() + 1,
            bytes.len(),
            nanoseconds(|| postcard::to_extend(&old, vec![3u8])),
            nanoseconds(|| record.encode()),
            nanoseconds(|| postcard::from_bytes::<Format3>(&old_bytes)),
            nanoseconds(|| EntityRecord::decode(&bytes)),
        );
    }
    Ok(())
}
