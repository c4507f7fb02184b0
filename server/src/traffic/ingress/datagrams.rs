//! Datagrams, as they come: motion and own states from shards, inputs from players.

use crate::{
    core::Core,
    players::session::{MAX_OWN_STATES, Ship},
    replication::{mirror::Holder, motion_plane::SectorChange},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    DecodeError,
    control::ToShard,
    ids::ShardId,
    input::InputPacket,
    lane,
    motion::SectorUpdate,
    own_state::{OwnState, decode_own_states},
};
use std::net::SocketAddr;

/// Refused packets after which a session is closed.
const MAX_VIOLATIONS: u32 = 100;

impl Core<'_, '_> {
    /// The pilot's inputs that are in a ship's state were applied.
    fn on_own_state(&mut self, shard: ShardId, state: OwnState) {
        let Some(id) = self.space.mirror.id_of(state.net_id) else { return };
        let Some(entry) = self.space.mirror.get_mut(id) else { return };
        if entry.holder != Holder::Shard(shard) {
            self.space.tally.stale += 1;
            return;
        }
        if let Some(pilot) = &mut entry.record.pilot {
            // Of the hands that have let go nothing counts any more, and the player is not to build on it.
            if pilot.boarding != state.boarding {
                return;
            }
            pilot.last_input = pilot.last_input.max(state.input_tick);
            pilot.inputs_applied = pilot.inputs_applied.max(state.inputs_applied);
        }
        let Some(owner) = entry.record.owner else { return };
        let Some(player) = self.players.of_mut(owner) else { return };
        if player.ship == Ship::Flying(id) && state.tick > player.own_tick {
            player.own_tick = state.tick;
            if player.own_states.len() == MAX_OWN_STATES {
                player.own_states.remove(0);
            }
            player.own_states.push(state);
        }
    }

    /// A datagram of a player: inputs, and nothing else.
    fn on_player_datagram(&mut self, address: SocketAddr, bytes: &[u8]) {
        let now = self.space.clock.tick;
        let Some(player) = self.players.by_address.get_mut(&address) else { return };
        if player.packet_allowance == 0 {
            self.space.tally.inputs_over_rate += 1;
            return;
        }
        player.packet_allowance -= 1;
        let decoded = match bytes.first() {
            Some(&lane::INPUTS) => InputPacket::decode(bytes),
            other => Err(DecodeError::UnknownKind(other.copied().unwrap_or(0))),
        };
        let inputs = match decoded {
            Ok(packet) => player.inputs.take(now, &packet.inputs),
            Err(problem) => return self.on_bad_packet(address, &problem),
        };
        if inputs.is_empty() {
            return;
        }
        if let Ship::Flying(id) = player.ship {
            self.space.tally.inputs_forwarded += inputs.len() as u64;
            if let Some(Holder::Shard(shard)) = self.space.mirror.get(id).map(|entry| entry.holder) {
                let (boarding, rewind) = (player.boarding, player.rewind);
                self.link.to_shard(shard, &ToShard::Inputs { id, boarding, rewind, inputs });
            }
        }
    }

    /// A player sent what no honest client sends.
    pub(super) fn on_bad_packet(&mut self, address: SocketAddr, problem: &DecodeError) {
        self.space.tally.bad_packets += 1;
        let Some(player) = self.players.by_address.get_mut(&address) else { return };
        player.violations += 1;
        if player.violations == 1 || player.violations == MAX_VIOLATIONS {
            log_limited!(warn, name = %player.name, %problem, count = player.violations, "packet refused");
        }
        if player.violations == MAX_VIOLATIONS {
            self.link.transport.close(&address, "too many malformed packets");
        }
    }
}

/// Takes in the lane's datagrams: motion and own states from shards, inputs from players.
pub fn handle_lane(mut core: Core) {
    let mut changes: Vec<SectorChange> = Vec::new();
    let now = core.space.clock.tick;
    while let Some((address, bytes)) = core.link.transport.recv_lane() {
        let Some(shard) = core.shards.at(&address) else {
            core.on_player_datagram(address, &bytes);
            continue;
        };
        core.shards.hear(shard, now);
        let problem = match bytes.first() {
            Some(&lane::SECTOR_UPDATE) => match SectorUpdate::decode(&bytes) {
                Ok(update) => {
                    if core.leases.table.holder(update.sector) == Some(shard) {
                        core.space.motion.apply(shard, &update, now, &mut changes);
                    } else {
                        core.space.tally.stale += 1;
                    }
                    None
                }
                Err(problem) => Some(problem),
            },
            Some(&lane::OWN_STATES) => match decode_own_states(&bytes) {
                Ok(states) => {
                    for state in states {
                        core.on_own_state(shard, state);
                    }
                    None
                }
                Err(problem) => Some(problem),
            },
            other => Some(sidereal_protocol::DecodeError::UnknownKind(other.copied().unwrap_or(0))),
        };
        if let Some(problem) = problem {
            log_limited!(warn, %shard, %problem, "datagram refused");
            core.space.tally.violations += 1;
        }
    }
    core.space.change_rooms(&changes);
}
