//! Handles datagrams: motion and own states from shards, inputs from players.

use super::refusals::refuse_packet;
use crate::{
    players::session::{MAX_OWN_STATES, Players, Ship},
    replication::{mirror::Holder, motion_plane::SectorChange, space::Space},
    territory::{lease_grants::LeaseGrants, shards::Shards},
    traffic::link::Link,
};
use bevy::prelude::{Res, ResMut};
use sidereal_process::log_limited;
use sidereal_protocol::{
    DecodeError,
    frames::control::{ShipInputs, ToShard},
    packets::{
        input::InputPacket,
        lane,
        motion::SectorUpdate,
        own_state::{OwnState, decode_own_states},
    },
    world::ids::ShardId,
};
use std::{collections::BTreeMap, net::SocketAddr};

/// The most entries of a frame of inputs: with 60 inputs in each it stays under half of the longest frame.
const MAX_SHIPS_PER_FRAME: usize = 512;

/// The inputs counted in a ship's own state were applied.
fn on_own_state(space: &mut Space, players: &mut Players, shard: ShardId, state: OwnState) {
    let Some(id) = space.mirror.id_of(state.net_id) else { return };
    let Some(entry) = space.mirror.get_mut(id) else { return };
    if entry.holder != Holder::Shard(shard) {
        space.tally.stale += 1;
        return;
    }
    if let Some(mut pilot) = entry.record.pilot() {
        // States of an earlier boarding no longer count, and its player must not use them.
        if pilot.boarding != state.boarding {
            return;
        }
        pilot.last_input = pilot.last_input.max(state.input_tick);
        pilot.inputs_applied = pilot.inputs_applied.max(state.inputs_applied);
        entry.record.set(pilot);
    }
    let Some(owner) = entry.record.owner else { return };
    let Some(player) = players.of_mut(owner) else { return };
    if player.ship == Ship::Flying(id) && state.tick > player.own_tick {
        player.own_tick = state.tick;
        if player.own_states.len() == MAX_OWN_STATES {
            player.own_states.remove(0);
        }
        player.own_states.push(state);
    }
}

/// A datagram of a player: inputs, and nothing else.
fn on_player_datagram(
    space: &mut Space,
    players: &mut Players,
    link: &mut Link,
    outgoing: &mut Outgoing,
    address: SocketAddr,
    bytes: &[u8],
) {
    let now = space.clock.tick;
    let Some(player) = players.by_address.get_mut(&address) else { return };
    if player.packet_allowance == 0 {
        space.tally.inputs_over_rate += 1;
        return;
    }
    player.packet_allowance -= 1;
    let decoded = match bytes.first() {
        Some(&lane::INPUTS) => InputPacket::decode(bytes),
        other => Err(DecodeError::UnknownKind(other.copied().unwrap_or(0))),
    };
    let inputs = match decoded {
        Ok(packet) => player.inputs.take(now, &packet.inputs),
        Err(problem) => return refuse_packet(players, link, &mut space.tally, address, &problem),
    };
    if inputs.is_empty() {
        return;
    }
    if let Ship::Flying(id) = player.ship {
        space.tally.inputs_forwarded += inputs.len() as u64;
        if let Some(Holder::Shard(shard)) = space.mirror.get(id).map(|entry| entry.holder) {
            let (boarding, rewind) = (player.boarding, player.rewind);
            outgoing.push(link, shard, ShipInputs { id, boarding, rewind, inputs });
        }
    }
}

/// Players' inputs that arrived together: one frame for each shard.
#[derive(Default)]
struct Outgoing(BTreeMap<ShardId, Vec<ShipInputs>>);

impl Outgoing {
    fn push(&mut self, link: &mut Link, shard: ShardId, inputs: ShipInputs) {
        let waiting = self.0.entry(shard).or_default();
        waiting.push(inputs);
        if waiting.len() == MAX_SHIPS_PER_FRAME {
            link.to_shard(shard, &ToShard::Inputs(std::mem::take(waiting)));
        }
    }

    fn send(self, link: &mut Link) {
        for (shard, inputs) in self.0 {
            if !inputs.is_empty() {
                link.to_shard(shard, &ToShard::Inputs(inputs));
            }
        }
    }
}

/// Handles the lane's datagrams: motion and own states from shards, inputs from players.
pub fn handle_lane(
    mut space: Space,
    mut link: ResMut<Link>,
    mut players: ResMut<Players>,
    mut shards: ResMut<Shards>,
    leases: Res<LeaseGrants>,
) {
    let mut changes: Vec<SectorChange> = Vec::new();
    let mut outgoing = Outgoing::default();
    let now = space.clock.tick;
    while let Some((address, bytes)) = link.transport.recv_lane() {
        let Some(shard) = shards.at(&address) else {
            on_player_datagram(&mut space, &mut players, &mut link, &mut outgoing, address, &bytes);
            continue;
        };
        shards.note_activity(shard, now);
        let problem = match bytes.first() {
            Some(&lane::SECTOR_UPDATE) => match SectorUpdate::decode(&bytes) {
                Ok(update) => {
                    if leases.table.holder(update.sector) == Some(shard) {
                        space.motion.apply(shard, &update, now, &mut changes);
                    } else {
                        space.tally.stale += 1;
                    }
                    None
                }
                Err(problem) => Some(problem),
            },
            Some(&lane::OWN_STATES) => match decode_own_states(&bytes) {
                Ok(states) => {
                    for state in states {
                        on_own_state(&mut space, &mut players, shard, state);
                    }
                    None
                }
                Err(problem) => Some(problem),
            },
            other => Some(sidereal_protocol::DecodeError::UnknownKind(other.copied().unwrap_or(0))),
        };
        if let Some(problem) = problem {
            log_limited!(warn, %shard, %problem, "datagram refused");
            space.tally.violations += 1;
        }
    }
    outgoing.send(&mut link);
    space.change_rooms(&changes);
}
