//! The size of an update with 200 moving ships on the wire, and the rounding of their positions.
//!
//! `cargo run -p sidereal-protocol --example sector_update`

use bevy::math::DVec2;
use sidereal_protocol::{
    DecodeError,
    packets::motion::{EngineGlow, Motion, SectorNews, SectorUpdate, encode_sector_update},
    rules::flight::FlightState,
    world::{
        ids::NetId,
        sector::{SECTOR_SIZE, SectorId},
        tick::SimTick,
    },
};

fn main() -> Result<(), DecodeError> {
    let sector = SectorId { x: 3, y: -2 };
    // On a circle of 400 units round the sector's centre, at 100 units/s along it. Net ids rise strictly.
    let centre = sector.center();
    let motions: Vec<Motion> = (0..200u32)
        .map(|number| {
            let angle = f64::from(number) * std::f64::consts::TAU / 200.0;
            let out = DVec2::from_angle(angle);
            let state = FlightState {
                position: centre + out * 400.0,
                velocity: out.perp() * 100.0,
                angle: angle + std::f64::consts::FRAC_PI_2,
                angular_velocity: 0.25,
            };
            Motion { net_id: NetId(number + 1), state, glow: EngineGlow { thrust: true, ..EngineGlow::default() } }
        })
        .collect();

    let news = SectorNews { motions: &motions, ..SectorNews::default() };
    let packets = encode_sector_update(sector, SimTick(9_000), news);
    let bytes: usize = packets.iter().map(|packet| packet.bytes.len()).sum();
    println!("{} motions in {} datagrams, {:.1} bytes each", motions.len(), packets.len(), bytes as f64 / 200.0);

    let mut farthest = 0.0f64;
    for packet in &packets {
        let update = SectorUpdate::decode(&packet.bytes)?;
        assert_eq!((update.sector, update.tick), (sector, SimTick(9_000)));
        for motion in &update.motions {
            let sent = &motions[motion.net_id.0 as usize - 1];
            farthest = farthest.max(motion.state.position.distance(sent.state.position));
        }
    }
    println!("the farthest that a position moved by rounding: {farthest:.4} units of a sector's {SECTOR_SIZE}");

    // A decoder never panics, and rejects a packet with any invalid part.
    let cut = &packets[0].bytes[..packets[0].bytes.len() / 2];
    println!("half a packet: {}", SectorUpdate::decode(cut).expect_err("it is cut"));
    Ok(())
}
