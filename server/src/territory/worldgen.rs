//! The contents of an unvisited sector: a function of the world's seed and the sector's coordinates.

use crate::territory::seeds;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    DVec2,
    record::{DroneMind, EntityKind, EntityRecord, ShipHull, Structure},
    rules::{
        economy::STATION_RADIUS,
        flight::{HullKind, wrap_angle},
    },
    world::{
        ids::{AccountId, EntityId},
        sector::{SECTOR_SIZE, SectorId},
        tick::SimTick,
    },
};

/// No rock within this distance of the world's centre, where new ships start, units.
const CLEAR_RADIUS: f64 = 450.0;

/// How far from the world's centre new ships start, units.
const START_RADIUS: std::ops::Range<f64> = 120.0..330.0;

/// Position of the central station, units: outside the starting positions of ships, in the ring without rocks.
const HOME_STATION: DVec2 = DVec2::new(283.0, 283.0);

/// Names of stations.
const STATION_NAMES: [&str; 8] =
    ["Antares", "Bellatrix", "Canopus", "Deneb", "Electra", "Fomalhaut", "Gacrux", "Hadar"];

fn generated_id(random: &mut Pcg64Mcg) -> EntityId {
    EntityId(uuid::Builder::from_custom_bytes(random.random()).into_uuid())
}

/// The entities of a sector at its first visit, at `tick`. The same for the same seed and sector, including ids.
pub fn sector_records(seed: u64, sector: SectorId, tick: SimTick) -> Vec<EntityRecord> {
    let mut random = Pcg64Mcg::from_seed(seeds::sector(seed, "sector", sector));
    let mut records: Vec<EntityRecord> = Vec::new();
    let rocks = random.random_range(5..=11);
    for _ in 0..rocks {
        let radius = 12.0 + 44.0 * random.random::<f64>().powi(2);
        let Some(position) = clear_spot(&mut random, sector, radius, &records) else { continue };
        let id = generated_id(&mut random);
        let structure = Structure::whole(radius, (radius * 4.0) as u16);
        records.push(EntityRecord::at_rest(id, EntityKind::Asteroid, position, tick).with(structure));
    }
    // Most sectors have a patrol; those round the centre are reserved for beginners.
    let near_home = sector.x.abs() <= 1 && sector.y.abs() <= 1;
    let drones = if near_home { 0 } else { random.random_range(0..=2) };
    for number in 0..drones {
        let spec = HullKind::Drone.spec();
        let Some(position) = clear_spot(&mut random, sector, spec.radius * 2.0, &records) else {
            continue;
        };
        let id = generated_id(&mut random);
        let patrol_phase = random.random_range(0.0..std::f64::consts::TAU);
        let mut record = EntityRecord::at_rest(id, EntityKind::Drone, position, tick)
            .with(Structure::whole(spec.radius, spec.hull))
            .with(DroneMind { home: position, patrol_phase, target: None });
        record.name = format!("Sentinel {}", number + 1);
        record.state.angle = wrap_angle(random.random_range(0.0..std::f64::consts::TAU));
        records.push(record);
    }
    records.extend(station(seed, sector, &records, tick));
    records
}

/// The station of a sector, if it has one: the four sectors round the centre share one, of the others one in nine has
/// its own. It does not touch the entities in `there`. The same for the same seed and sector.
pub fn station(seed: u64, sector: SectorId, there: &[EntityRecord], tick: SimTick) -> Option<EntityRecord> {
    // Separate from the random numbers of the other contents, which must not change with it.
    let mut random = Pcg64Mcg::from_seed(seeds::sector(seed, "station", sector));
    let home = sector == SectorId::new(0, 0);
    let near_home = (-1..=0).contains(&sector.x) && (-1..=0).contains(&sector.y);
    if !home && (near_home || random.random_range(0..9) != 0) {
        return None;
    }
    let id = generated_id(&mut random);
    let position = if home {
        HOME_STATION
    } else {
        (0..4).find_map(|_| clear_spot(&mut random, sector, STATION_RADIUS * 2.0, there))?
    };
    let name =
        format!("{} {}", STATION_NAMES[random.random_range(0..STATION_NAMES.len())], random.random_range(1..100));
    let station = EntityRecord::at_rest(id, EntityKind::Station, position, tick);
    let name = if home { "Meridian".to_owned() } else { name };
    Some(EntityRecord { name, ..station }.with(Structure::whole(STATION_RADIUS, u16::MAX)))
}

/// A player's first ship: near the centre of the world, undamaged, at rest. `attempt` moves the position.
pub fn new_ship(account: AccountId, name: &str, tick: SimTick, attempt: u64) -> EntityRecord {
    let (high, low) = account.0.as_u64_pair();
    let mut random = Pcg64Mcg::seed_from_u64(high ^ low.rotate_left(17) ^ attempt);
    let angle = random.random_range(0.0..std::f64::consts::TAU);
    let position = DVec2::from_angle(angle) * random.random_range(START_RADIUS);
    let spec = HullKind::Scout.spec();
    let id = generated_id(&mut random);
    let mut record = EntityRecord::at_rest(id, EntityKind::Ship, position, tick)
        .with(ShipHull(HullKind::Scout))
        .with(Structure::whole(spec.radius, spec.hull));
    record.owner = Some(account);
    record.name = name.to_owned();
    record.state.angle = wrap_angle(angle);
    record
}

/// A position in the sector where a circle of `radius` touches no entity; `None` if a few attempts found none.
fn clear_spot(random: &mut Pcg64Mcg, sector: SectorId, radius: f64, there: &[EntityRecord]) -> Option<DVec2> {
    (0..8).find_map(|_| {
        let edge = radius + 5.0;
        let local =
            DVec2::new(random.random_range(edge..SECTOR_SIZE - edge), random.random_range(edge..SECTOR_SIZE - edge));
        let position = sector.origin() + local;
        let clear = position.length() > CLEAR_RADIUS + radius
            && there.iter().all(|other| other.state.position.distance(position) > other.radius() + radius + 10.0);
        clear.then_some(position)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_is_the_same_every_time_and_nothing_in_it_touches() {
        for (x, y) in [(0, 0), (-3, 2), (i32::MAX, i32::MIN)] {
            let sector = SectorId::new(x, y);
            let records = sector_records(42, sector, SimTick(9));
            assert_eq!(records, sector_records(42, sector, SimTick(9)));
            assert_ne!(records, sector_records(43, sector, SimTick(9)));
            for (index, record) in records.iter().enumerate() {
                record.validate().expect("generated records are valid");
                assert_eq!(SectorId::containing(record.state.position), sector);
                for other in &records[index + 1..] {
                    let gap = record.state.position.distance(other.state.position);
                    assert!(gap > record.radius() + other.radius());
                }
            }
        }
    }
}
