//! Frames of shards and players, as they come: each goes to the capability that it concerns.

use crate::{audit::census, core::Core, economy::goods::on_ore_move, handoff::machine::Event, players::chat::Spoken};
use sidereal_process::log_limited;
use sidereal_protocol::{
    control::{ToServer, ToShard, decode_frame},
    ids::ShardId,
    messages::FromPlayer,
};
use std::net::SocketAddr;

impl Core<'_, '_> {
    fn on_frame(&mut self, shard: ShardId, frame: ToServer) {
        match frame {
            ToServer::Granted { .. } => {}
            ToServer::Prepare { record, to, attempt } => self.on_prepare(shard, attempt, *record, to),
            ToServer::Accept { id, epoch } => {
                self.transfer(Event::Accept { from: shard, id, epoch });
            }
            ToServer::Refuse { id, epoch, reason } => {
                log_limited!(info, %shard, %id, epoch, ?reason, "offer refused");
                self.transfer(Event::Refuse { from: shard, id, epoch });
            }
            ToServer::Adopted { id, epoch, waited_us, .. } => {
                self.transfers.answered(id, waited_us);
                self.transfer(Event::Adopted { from: shard, id, epoch });
            }
            ToServer::Record(record) => self.on_record(shard, *record),
            ToServer::Destroyed { id, epoch, version, tick, by, wreck } => {
                if self.space.mirror.is_authority(shard, id, epoch) {
                    let fence = (epoch, version);
                    self.on_destroyed(shard, id, fence, tick, by, wreck);
                } else {
                    self.space.tally.stale += 1;
                }
            }
            ToServer::Withdrawn { record } => self.on_withdrawn(shard, *record),
            ToServer::OreMove(order) => on_ore_move(&mut self.goods, &mut self.space, shard, order),
            ToServer::Deal { key, ship, verdict } => self.on_verdict(shard, key, ship, verdict),
            ToServer::Impact(impact) => self.pass_on(impact),
            ToServer::Shot { shot, to } => {
                if let Some(next) = self.leases.table.holder(to)
                    && next != shard
                {
                    self.link.to_shard(next, &ToShard::Shot(shot));
                }
            }
            ToServer::Census { tick, entities, inputs_applied } => {
                let around = (&mut *self.audit, &mut self.space, &mut *self.link, &*self.transfers);
                census::compare(around, shard, tick, &entities, inputs_applied);
            }
            ToServer::Crashed { at } => {
                self.shards.crashed(shard, at);
            }
            ToServer::Drained => {
                self.shards.drained(shard);
            }
        }
    }

    /// A frame of a player: what is said and asked for.
    fn on_player_frame(&mut self, address: SocketAddr, bytes: &[u8]) {
        if !self.players.by_address.contains_key(&address) {
            return;
        }
        match decode_frame(bytes) {
            Ok(FromPlayer::Say(say)) => drop(self.spoken.write(Spoken { from: address, say })),
            Ok(FromPlayer::Respawn) => self.on_respawn(address),
            Ok(FromPlayer::Deal(deal)) => self.on_deal(address, &deal),
            Err(problem) => self.on_bad_packet(address, &problem),
        }
    }
}

/// Handles the frames of shards and players as they come.
pub fn handle_frames(mut core: Core) {
    while let Some((address, bytes)) = core.link.transport.recv_stream() {
        let Some(shard) = core.shards.at(&address) else {
            core.on_player_frame(address, &bytes);
            continue;
        };
        let now = core.space.clock.tick;
        core.shards.hear(shard, now);
        match decode_frame::<ToServer>(&bytes) {
            Ok(frame) => core.on_frame(shard, frame),
            Err(problem) => {
                log_limited!(warn, %shard, %problem, "frame refused");
                core.space.tally.violations += 1;
            }
        }
    }
}
