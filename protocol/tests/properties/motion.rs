//! A sector's update: nothing lost when it is split, every field within its bound, shots exact.

use crate::{given, repeatable};
use proptest::prelude::*;
use sidereal_protocol::{
    DVec2, DecodeError,
    limits::MAX_LANE_BYTES,
    packets::{
        bits::BitWriter,
        lane,
        motion::{
            EngineGlow, MAX_MOTIONS, MAX_SHOTS, Motion, SectorHead, SectorNews, SectorUpdate, encode_sector_update,
        },
        precision::{ANGLE, ANGULAR_VELOCITY, POSITION, VELOCITY},
    },
    rules::{
        flight::{FlightState, wrap_angle},
        shot::{BEAM_RANGE, Beam, Shot, ShotHit, ShotId},
    },
    world::{ids::NetId, sector::SectorId, tick::SimTick},
};
use std::f64::consts::{PI, TAU};

fn packets(news: &SectorUpdate) -> Vec<Vec<u8>> {
    encode_sector_update(news.sector, news.tick, news.parts()).into_iter().map(|packet| packet.bytes).collect()
}

/// The larger difference of the two components.
fn apart(one: DVec2, other: DVec2) -> f64 {
    (one - other).abs().max_element()
}

/// The way round from one heading to another, radians.
fn turned(one: f64, other: f64) -> f64 {
    let difference = (one - other).abs() % TAU;
    difference.min(TAU - difference)
}

/// The bound of a position, with what f64 rounds off so far out.
fn position_bound(at: DVec2) -> f64 {
    POSITION.error_bound() + 4.0 * f64::EPSILON * at.abs().max_element()
}

fn one_beam(sector: SectorId, beam: Beam) -> Result<Result<Beam, DecodeError>, TestCaseError> {
    let packets = encode_sector_update(sector, beam.id.tick, SectorNews { beams: &[beam], ..Default::default() });
    prop_assert_eq!(packets.len(), 1);
    Ok(SectorUpdate::decode(&packets[0].bytes).map(|update| update.beams[0]))
}

fn one_motion(state: FlightState) -> Result<Motion, TestCaseError> {
    let motion = Motion { net_id: NetId(7), state, glow: EngineGlow::default() };
    let sector = SectorId::containing(state.position);
    let packets = encode_sector_update(sector, SimTick(9), SectorNews { motions: &[motion], ..Default::default() });
    prop_assert_eq!(packets.len(), 1);
    let update = SectorUpdate::decode(&packets[0].bytes)?;
    prop_assert_eq!(update.motions.len(), 1);
    Ok(update.motions[0])
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn an_update_in_several_packets_loses_nothing(news in given::news(600, 150)) {
        let packets = encode_sector_update(news.sector, news.tick, news.parts());
        let entries = news.motions.len() + news.shots.len() + news.hits.len() + news.beams.len();
        prop_assert_eq!(packets.is_empty(), entries == 0);
        let (mut motions, mut shots, mut hits, mut beams) = (vec![], vec![], vec![], vec![]);
        for packet in packets {
            prop_assert!(packet.bytes.len() <= MAX_LANE_BYTES, "{} bytes", packet.bytes.len());
            let update = SectorUpdate::decode(&packet.bytes)?;
            prop_assert_eq!((update.sector, update.tick), (news.sector, news.tick));
            prop_assert_eq!(update.motions.len(), packet.motions);
            prop_assert!(update.motions.len() <= MAX_MOTIONS);
            let events = [update.shots.len(), update.hits.len(), update.beams.len()];
            prop_assert!(events.iter().all(|&count| count <= MAX_SHOTS));
            let head = SectorHead::decode(&packet.bytes)?;
            prop_assert_eq!((head.sector, head.tick, head.motions), (update.sector, update.tick, update.motions.len()));
            prop_assert_eq!([head.shots, head.hits, head.beams], events);
            prop_assert!(update.motions.len() + events.iter().sum::<usize>() > 0, "an empty packet");
            motions.extend(update.motions);
            shots.extend(update.shots);
            hits.extend(update.hits);
            beams.extend(update.beams);
        }

        prop_assert_eq!(motions.len(), news.motions.len());
        for (back, motion) in motions.iter().zip(&news.motions) {
            prop_assert_eq!((back.net_id, back.glow), (motion.net_id, motion.glow));
            let (back, state) = (back.state, motion.state);
            prop_assert!(apart(back.position, state.position) <= position_bound(state.position), "{back:?} {state:?}");
            prop_assert!(apart(back.velocity, state.velocity) <= VELOCITY.error_bound(), "{back:?} {state:?}");
            prop_assert!(turned(back.angle, state.angle) <= ANGLE.error_bound(), "{back:?} {state:?}");
            prop_assert!(
                (back.angular_velocity - state.angular_velocity).abs() <= ANGULAR_VELOCITY.error_bound(),
                "{back:?} {state:?}"
            );
        }
        prop_assert_eq!(shots, news.shots);
        prop_assert_eq!(hits.len(), news.hits.len());
        for (back, hit) in hits.iter().zip(&news.hits) {
            prop_assert_eq!((back.id, back.target), (hit.id, hit.target));
            prop_assert!(apart(back.position, hit.position) <= position_bound(hit.position), "{back:?} {hit:?}");
        }
        prop_assert_eq!(beams.len(), news.beams.len());
        for (back, beam) in beams.iter().zip(&news.beams) {
            prop_assert_eq!((back.id, back.target), (beam.id, beam.target));
            let bound = position_bound(beam.origin);
            prop_assert!(apart(back.origin, beam.origin) <= bound, "{back:?} {beam:?}");
            prop_assert!(apart(back.end, beam.end) <= 2.0 * bound, "{back:?} {beam:?}");
        }
    }

    /// The server packs what it unpacked from a shard: this adds no second error.
    #[test]
    fn an_update_that_is_passed_on_keeps_its_numbers(news in given::news(60, 10)) {
        for bytes in packets(&news) {
            let once = SectorUpdate::decode(&bytes)?;
            let again = encode_sector_update(once.sector, once.tick, once.parts());
            prop_assert_eq!(again.len(), 1);
            prop_assert_eq!(SectorUpdate::decode(&again[0].bytes)?, once);
        }
    }

    #[test]
    fn an_update_that_ends_early_is_refused(news in given::news(60, 10)) {
        for bytes in packets(&news) {
            for length in 0..bytes.len() {
                prop_assert_eq!(SectorUpdate::decode(&bytes[..length]), Err(DecodeError::Truncated));
            }
        }
    }

    #[test]
    fn headings_come_back_within_half_a_turn_and_their_bound(
        angle in prop_oneof![given::angle(), -20.0..20.0f64, Just(-PI), Just(PI.next_up()), Just(-PI.next_up())],
    ) {
        let back = one_motion(FlightState { angle, ..Default::default() })?.state.angle;
        prop_assert!(turned(back, angle) <= ANGLE.error_bound(), "{angle} came back as {back}");
        prop_assert!(back > -PI && back <= PI, "{back} is not in (-π, π]");
        prop_assert_eq!(wrap_angle(back), back);
    }

    #[test]
    fn what_is_beyond_a_fields_range_is_held_at_its_end(
        position in given::vector(1e7),
        velocity in given::vector(1e7),
        angular_velocity in -1e7..1e7f64,
    ) {
        let sector = SectorId::new(0, 0);
        let state = FlightState { position, velocity, angular_velocity, angle: 0.0 };
        let motion = Motion { net_id: NetId(7), state, glow: EngineGlow::default() };
        let bytes = &encode_sector_update(sector, SimTick(9), SectorNews { motions: &[motion], ..Default::default() })[0].bytes;
        let back = SectorUpdate::decode(bytes)?.motions[0].state;
        let held = position.clamp(DVec2::splat(-500.0), DVec2::splat(1500.0));
        prop_assert!(apart(back.position, held) <= POSITION.error_bound());
        let held = velocity.clamp(DVec2::splat(-1024.0), DVec2::splat(1024.0));
        prop_assert!(apart(back.velocity, held) <= VELOCITY.error_bound());
        let held = angular_velocity.clamp(-8.0, 8.0);
        prop_assert!((back.angular_velocity - held).abs() <= ANGULAR_VELOCITY.error_bound());
    }

    #[test]
    fn numbers_that_are_not_finite_do_not_get_out(number in given::not_finite()) {
        let numbers = DVec2::splat(number);
        let state = FlightState { position: numbers, velocity: numbers, angle: number, angular_velocity: number };
        let back = one_motion(state)?.state;
        prop_assert!(back.is_finite(), "{back:?}");
    }

    #[test]
    fn a_shot_of_a_shot_is_the_same_shot(
        sector in given::sector(),
        local in given::vector(3000.0),
        velocity in given::vector(3000.0),
        number in any::<u32>(),
        tick in given::tick(),
    ) {
        let id = ShotId { shooter: NetId(number), tick };
        let shot = Shot::new(id, sector, sector.center() + local, velocity);
        prop_assert_eq!(Shot::new(id, sector, shot.origin, shot.velocity), shot);
    }

    #[test]
    fn a_shot_keeps_its_numbers_within_the_bounds(sector in given::sector(), velocity in given::vector(1024.0),
        origin in given::vector(1000.0),
    ) {
        let origin = sector.center() + origin;
        let id = ShotId { shooter: NetId(7), tick: SimTick(9) };
        let shot = Shot::new(id, sector, origin, velocity);
        prop_assert!(apart(shot.origin, origin) <= position_bound(origin));
        prop_assert!(apart(shot.velocity, velocity) <= VELOCITY.error_bound());
        prop_assert_eq!(shot.position_at(9.0), shot.origin);
    }

    /// One invalid beam must not cost the rest of its packet.
    #[test]
    fn a_beam_beyond_its_range_ends_at_its_range(
        sector in given::sector(),
        local in given::vector(1000.0),
        angle in given::angle(),
        beyond in BEAM_RANGE + 2.0..1e6,
    ) {
        let id = ShotId { shooter: NetId(7), tick: SimTick(9) };
        let origin = sector.center() + local;
        let along = DVec2::from_angle(angle);
        let back = one_beam(sector, Beam { id, origin, end: origin + along * beyond, target: None })??;
        let bound = 2.0 * position_bound(origin);
        prop_assert!(apart(back.end, origin + along * BEAM_RANGE) <= bound, "{back:?}");
    }

    #[test]
    fn a_beam_without_numbers_still_gets_through(number in given::not_finite(), origin in any::<bool>()) {
        let id = ShotId { shooter: NetId(7), tick: SimTick(9) };
        let odd = DVec2::splat(number);
        let (origin, end) = if origin { (odd, DVec2::ZERO) } else { (DVec2::ZERO, odd) };
        let back = one_beam(SectorId::new(0, 0), Beam { id, origin, end, target: None })??;
        prop_assert!(back.origin.is_finite() && back.end.is_finite(), "{back:?}");
    }

    /// Whatever else the packet contains: no beam is drawn, and no hit reported, beyond the range.
    #[test]
    fn a_packet_with_a_beam_beyond_its_range_is_refused(
        reach in given::vector(1400.0).prop_map(|reach| reach.max(DVec2::splat(-500.0))),
        target in any::<u32>(),
    ) {
        let mut writer = BitWriter::with_capacity(64);
        writer.write(u64::from(lane::SECTOR_UPDATE), 8);
        for _ in ["sector x", "sector y", "tick"] {
            writer.write_varint(0, 8);
        }
        writer.write(0, 8);
        for count in [0, 0, 1] {
            writer.write(count, 6);
        }
        writer.write_varint(7, 8);
        writer.write_varint(0, 3);
        writer.write_varint(u64::from(target), 8);
        for number in [0.0, 0.0, reach.x, reach.y] {
            POSITION.write(&mut writer, number);
        }
        let update = SectorUpdate::decode(&writer.finish());
        if reach.length() <= BEAM_RANGE {
            let beam = update?.beams[0];
            prop_assert_eq!(beam.target, Some(NetId(target)).filter(|id| id.0 != 0));
            prop_assert!(apart(beam.end - beam.origin, reach) <= POSITION.error_bound() * 2.0, "{beam:?}");
        } else if reach.length() > BEAM_RANGE + 2.0 {
            prop_assert_eq!(update, Err(DecodeError::OutOfRange("beam")));
        }
    }
}

/// The longest of everything, more of each than any packet can contain: every packet takes some of each.
#[test]
fn the_longest_entries_get_out_in_full_packets() {
    let sector = SectorId::new(i32::MIN, i32::MAX);
    let (tick, position) = (SimTick(i64::MAX as u64), sector.center());
    let id = |shooter: u32| ShotId { shooter: NetId(u32::MAX - shooter), tick: SimTick(0) };
    let count = 200;
    let state = FlightState { position, velocity: DVec2::splat(900.0), angle: 1.0, angular_velocity: 5.0 };
    let motions: Vec<_> = (0..count)
        .map(|index| Motion { net_id: NetId(index * 20_000_000), state, glow: EngineGlow::default() })
        .collect();
    let shots: Vec<_> = (0..count).map(|index| Shot::new(id(index), sector, position, DVec2::splat(900.0))).collect();
    let hits: Vec<_> = (0..count).map(|index| ShotHit { id: id(index), target: NetId(u32::MAX), position }).collect();
    let end = position + DVec2::new(0.0, BEAM_RANGE);
    let beams: Vec<_> =
        (0..count).map(|index| Beam { id: id(index), origin: position, end, target: Some(NetId(u32::MAX)) }).collect();
    let news = SectorNews { motions: &motions, shots: &shots, hits: &hits, beams: &beams };
    let packets = encode_sector_update(sector, tick, news);
    let mut told = [0; 4];
    for (index, packet) in packets.iter().enumerate() {
        assert!(packet.bytes.len() <= MAX_LANE_BYTES);
        let update = SectorUpdate::decode(&packet.bytes).expect("what was encoded");
        let counts = [update.motions.len(), update.shots.len(), update.hits.len(), update.beams.len()];
        let longest_entry = 40;
        let last = index + 1 == packets.len();
        assert!(last || counts.contains(&MAX_SHOTS) || packet.bytes.len() > MAX_LANE_BYTES - longest_entry);
        for (told, count) in told.iter_mut().zip(counts) {
            *told += count;
        }
    }
    assert_eq!(told, [count as usize; 4]);
}
