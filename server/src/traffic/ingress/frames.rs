//! Handles frames of shards and players: each goes to its capability.

use super::refusals::refuse_packet;
use crate::{
    audit::census::Censuses,
    economy::{dealing::DealDesk, goods::OreMoves},
    handoff::{effects::HandoffEffects, machine::Event},
    players::{chat::ChatSent, session::Players, ships::Ships},
    replication::{
        ends::{End, Ends},
        records::Records,
        space::Space,
    },
    territory::{lease_grants::LeaseGrants, shards::Shards},
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{MessageWriter, ParamSet, Res, ResMut},
};
use bytes::Bytes;
use sidereal_process::log_limited;
use sidereal_protocol::{
    frames::{
        control::{ToServer, ToShard, decode_frame},
        messages::FromPlayer,
    },
    rules::shot::Shot,
    world::{ids::ShardId, sector::SectorId},
};
use std::net::SocketAddr;

/// The senders of frames, and what needs no other capability.
#[derive(SystemParam)]
pub struct Senders<'w> {
    /// The connections to the peers.
    link: ResMut<'w, Link>,
    /// Connected shards.
    shards: ResMut<'w, Shards>,
    /// Connected players.
    players: ResMut<'w, Players>,
    /// The holders of sectors.
    leases: Res<'w, LeaseGrants>,
}

impl Senders<'_> {
    /// The next frame with the shard that sent it; `None` for a player's.
    fn next(&mut self, space: &Space) -> Option<(SocketAddr, Bytes, Option<ShardId>)> {
        let (address, bytes) = self.link.transport.recv_stream()?;
        let shard = self.shards.at(&address);
        if let Some(shard) = shard {
            self.shards.note_activity(shard, space.clock.tick);
        }
        Some((address, bytes, shard))
    }

    /// A shot that continues into another shard's sector.
    fn pass_shot(&mut self, from: ShardId, shot: Shot, to: SectorId) {
        if let Some(next) = self.leases.table.holder(to)
            && next != from
        {
            self.link.to_shard(next, &ToShard::Shot(shot));
        }
    }
}

/// All capabilities that a frame can be for, one at a time.
#[derive(SystemParam)]
pub struct Capabilities<'w, 's> {
    one: ParamSet<
        'w,
        's,
        (Senders<'w>, HandoffEffects<'w>, Ships<'w>, Records<'w>, Ends<'w>, DealDesk<'w>, OreMoves<'w>, Censuses<'w>),
    >,
    spoken: MessageWriter<'w, ChatSent>,
}

impl Capabilities<'_, '_> {
    fn senders(&mut self) -> Senders<'_> {
        self.one.p0()
    }

    fn handoffs(&mut self) -> HandoffEffects<'_> {
        self.one.p1()
    }

    fn ships(&mut self) -> Ships<'_> {
        self.one.p2()
    }

    fn records(&mut self) -> Records<'_> {
        self.one.p3()
    }

    fn ends(&mut self) -> Ends<'_> {
        self.one.p4()
    }

    fn deals(&mut self) -> DealDesk<'_> {
        self.one.p5()
    }

    fn ore_moves(&mut self) -> OreMoves<'_> {
        self.one.p6()
    }

    fn censuses(&mut self) -> Censuses<'_> {
        self.one.p7()
    }

    fn on_frame(&mut self, space: &mut Space, shard: ShardId, frame: ToServer) {
        match frame {
            ToServer::Prepare { record, to, attempt } => {
                let news = self.handoffs().on_prepare(space, shard, attempt, *record, to);
                self.ships().on_news(space, news);
            }
            ToServer::Accept { id, epoch } => self.on_event(space, Event::Accept { from: shard, id, epoch }),
            ToServer::Refuse { id, epoch, reason } => {
                log_limited!(info, %shard, %id, epoch, ?reason, "offer refused");
                self.on_event(space, Event::Refuse { from: shard, id, epoch });
            }
            ToServer::Adopted { id, epoch, waited_us, .. } => {
                let news = self.handoffs().on_adopted(space, shard, (id, epoch), waited_us);
                self.ships().on_news(space, news);
            }
            ToServer::Record(record) => self.records().on_record(space, shard, *record),
            ToServer::Destroyed { id, epoch, version, tick, by, wreck } => {
                if space.mirror.is_authority(shard, id, epoch) {
                    let end = End { id, fence: (epoch, version), tick, by, wreck };
                    self.ends().on_destroyed(space, shard, end);
                } else {
                    space.tally.stale += 1;
                }
            }
            ToServer::Withdrawn { record } => self.ships().on_withdrawn(space, shard, *record),
            ToServer::OreMove(order) => self.ore_moves().on_ore_move(space, shard, order),
            ToServer::Deal { key, ship, verdict } => self.deals().on_verdict(space, shard, key, ship, verdict),
            ToServer::Impact(impact) => self.handoffs().pass_on(space, impact),
            ToServer::Shot { shot, to } => self.senders().pass_shot(shard, shot, to),
            ToServer::Census { tick, entities, inputs_applied } => {
                self.censuses().compare(space, shard, tick, &entities, inputs_applied);
            }
            ToServer::Crashed { at } => self.senders().shards.crashed(shard, at),
            ToServer::Drained => self.senders().shards.drained(shard),
        }
    }

    fn on_event(&mut self, space: &mut Space, event: Event) {
        let news = self.handoffs().step(space, event);
        self.ships().on_news(space, news);
    }

    /// A frame of a player: chat texts and requests.
    fn on_player_frame(&mut self, space: &mut Space, address: SocketAddr, bytes: &[u8]) {
        if !self.senders().players.by_address.contains_key(&address) {
            return;
        }
        match decode_frame(bytes) {
            Ok(FromPlayer::Say(say)) => drop(self.spoken.write(ChatSent { from: address, say })),
            Ok(FromPlayer::Respawn) => self.ships().on_respawn(space, address),
            Ok(FromPlayer::Deal(deal)) => self.deals().on_deal(space, address, &deal),
            Err(problem) => {
                let Senders { players, link, .. } = &mut self.senders();
                refuse_packet(players, link, &mut space.tally, address, &problem);
            }
        }
    }
}

/// Handles all received frames of shards and players.
pub fn handle_frames(mut space: Space, mut capabilities: Capabilities) {
    while let Some((address, bytes, shard)) = capabilities.senders().next(&space) {
        let Some(shard) = shard else {
            capabilities.on_player_frame(&mut space, address, &bytes);
            continue;
        };
        match decode_frame::<ToServer>(&bytes) {
            Ok(frame) => capabilities.on_frame(&mut space, shard, frame),
            Err(problem) => {
                log_limited!(warn, %shard, %problem, "frame refused");
                space.tally.violations += 1;
            }
        }
    }
}
