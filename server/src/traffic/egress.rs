//! What is sent to the peers in a tick: own states to their pilots, sectors' motion to their subscribers, then
//! everything in one burst.

use crate::{
    audit::tally::Tally,
    clock::Clock,
    players::session::Players,
    replication::{
        interest::{Class, Interest},
        motion_plane::MotionPlane,
    },
    traffic::link::Link,
};
use bevy::prelude::{Res, ResMut};
use bytes::Bytes;
use sidereal_protocol::world::sector::SectorId;
use std::net::SocketAddr;

/// Sends each pilot the states of the own ship.
pub fn publish_own_states(interest: Res<Interest>, link: Res<Link>, mut players: ResMut<Players>) {
    for address in interest.players() {
        if let Some(states) = players.take_own_states(&address) {
            link.transport.send_lane(&address, states);
        }
    }
}

/// Sends the tick's motion: each sector is packed once, and its bytes go to every subscriber.
pub fn publish_motion(
    clock: Res<Clock>,
    link: Res<Link>,
    mut interest: ResMut<Interest>,
    mut motion: ResMut<MotionPlane>,
    mut tally: ResMut<Tally>,
) {
    let now = clock.tick;
    interest.refill_allowances();
    let mut deliveries: Vec<(Class, SocketAddr, Bytes, u32)> = Vec::new();
    let sectors: Vec<SectorId> = interest.subscribed().collect();
    for sector in sectors {
        let due = interest.due(sector, now);
        if due.is_empty() {
            continue;
        }
        for packet in motion.packets(sector, now) {
            tally.sector_packets += 1;
            for (address, class) in &due {
                deliveries.push((*class, *address, packet.bytes.clone(), packet.motions));
            }
        }
    }
    // Nearest class first, so that an exhausted budget thins the far ones.
    deliveries.sort_by_key(|(class, ..)| *class);
    for (class, address, bytes, motions) in deliveries {
        if class != Class::Border {
            let length = bytes.len() as u64;
            match interest.spend(&address, length) {
                None => continue,
                Some(false) => {
                    tally.thinned += 1;
                    continue;
                }
                Some(true) => {}
            }
            tally.motions_delivered += u64::from(motions);
            tally.motion_bytes += length;
        }
        link.transport.send_lane(&address, bytes);
    }
}

/// Passes everything of this update to the network at once.
pub fn flush(link: Res<Link>) {
    link.transport.flush();
}
