//! What is sent to the peers in a tick: own states to their pilots, sectors' motion to their audiences, then everything
//! in one burst.

use crate::{
    audit::tally::Tally,
    clock::Clock,
    players::session::Players,
    replication::{
        audience::Member,
        interest::Interest,
        motion_plane::{MotionPlane, SectorPacket},
    },
    traffic::link::Link,
};
use bevy::prelude::{Res, ResMut};
use sidereal_protocol::{packets::bundle::Bundler, world::sector::SectorId};
use sidereal_transport::{LaneBatch, SharedDatagrams};
use std::collections::BTreeMap;

/// Sectors' packets that are being joined.
#[derive(Default)]
struct OpenBundle {
    bundler: Bundler,
    /// Motions in each datagram.
    motions: Vec<u32>,
}

/// Sectors' packets, joined to datagrams that any number of peers get.
struct Bundle {
    datagrams: SharedDatagrams,
    /// Motions in each datagram.
    motions: Vec<u32>,
}

impl OpenBundle {
    fn add(&mut self, packets: &[SectorPacket]) {
        for packet in packets {
            let index = self.bundler.push(&packet.bytes);
            self.motions.resize(self.motions.len().max(index + 1), 0);
            self.motions[index] += packet.motions;
        }
    }

    fn finish(self) -> Bundle {
        Bundle { datagrams: SharedDatagrams::new(self.bundler.finish()), motions: self.motions }
    }
}

impl Bundle {
    /// Sends a member as much as its budget allows. What is left out for a player is counted as thinned out.
    fn deliver(&self, member: &mut Member, batch: &mut LaneBatch, tally: &mut Tally) {
        if self.datagrams.is_empty() {
            return;
        }
        let count = member.spend(self.datagrams.payload_lengths());
        batch.push(&member.peer, &self.datagrams, count);
        if member.is_player() {
            tally.thinned += (self.datagrams.len() - count) as u64;
            tally.motions_delivered += self.motions.iter().take(count).map(|motions| u64::from(*motions)).sum::<u64>();
            tally.motion_bytes += self.datagrams.payload_lengths().take(count).sum::<usize>() as u64;
        }
    }
}

/// Sends each pilot the states of the own ship.
pub fn publish_own_states(link: Res<Link>, mut players: ResMut<Players>) {
    let mut batch = LaneBatch::default();
    for (peer, states) in players.take_own_states() {
        batch.push(peer, &SharedDatagrams::new([states]), 1);
    }
    link.transport.send_batch(batch);
}

/// Sends the tick's motion: each sector is packed once, each audience's sectors are joined once, and every member gets
/// the same bytes.
pub fn publish_motion(
    clock: Res<Clock>,
    link: Res<Link>,
    mut interest: ResMut<Interest>,
    mut motion: ResMut<MotionPlane>,
    mut tally: ResMut<Tally>,
) {
    let now = clock.tick;
    let mut batch = LaneBatch::default();
    for audience in interest.audiences().iter_mut() {
        let mut bundle = OpenBundle::default();
        for sector in audience.due(now) {
            bundle.add(motion.packets(sector, now));
        }
        let bundle = bundle.finish();
        for member in &mut audience.members {
            member.refill();
            bundle.deliver(member, &mut batch, &mut tally);
        }
    }
    welcome_newcomers(&mut interest, &motion, &mut batch, &mut tally);
    tally.sector_packets += motion.take_packed();
    link.transport.send_batch(batch);
}

/// Sends everything in a sector to the peers into whose view it came, as far as their budgets allow it after what moves.
fn welcome_newcomers(interest: &mut Interest, motion: &MotionPlane, batch: &mut LaneBatch, tally: &mut Tally) {
    let mut packed: BTreeMap<SectorId, Bundle> = BTreeMap::new();
    for (address, sector) in interest.take_newcomers() {
        let bundle = packed.entry(sector).or_insert_with(|| {
            let mut bundle = OpenBundle::default();
            bundle.add(&motion.full_packets(sector));
            bundle.finish()
        });
        let Some(member) = interest.audiences().member_of(&address, sector) else { continue };
        if !member.has_room_for(bundle.datagrams.payload_lengths().sum()) {
            interest.postpone(address, sector);
            continue;
        }
        bundle.deliver(member, batch, tally);
    }
}

/// Passes everything of this update to the network at once.
pub fn flush(link: Res<Link>) {
    link.transport.flush();
}
