//! Players' sessions, and the state of each player's ship.

use crate::{clock::Clock, players::input_log::InputLog};
use bevy::prelude::{Res, ResMut, Resource};
use sidereal_protocol::{
    packets::{
        input::Input,
        own_state::{OwnState, encode_own_states},
    },
    record::EntityRecord,
    world::{
        ids::{AccountId, EntityId, ShardId},
        tick::{SimTick, TICK_HZ},
    },
};
use sidereal_transport::LanePeer;
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

/// Maximum number of input packets per player and second: twice the tick rate, for bursts after a stall. Further ones
/// are dropped and counted; the next packet repeats their inputs.
pub(crate) const INPUT_PACKETS_PER_SECOND: u32 = 2 * TICK_HZ;

/// Maximum number of own states that wait for a burst: they are one packet, and older ones are useless to a client
/// that has stalled.
pub(crate) const MAX_OWN_STATES: usize = 4;

/// The state of a player's ship.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ship {
    /// Requested from the database under this token.
    Loading(u64),
    /// Its shard was requested to withdraw it because its player did not return in time; the shard's answer is
    /// awaited.
    Returning(EntityId),
    /// Waits for a shard that simulates its sector.
    Waiting(Box<EntityRecord>),
    /// Offered to a shard.
    Admitting(EntityId),
    /// In the world.
    Flying(EntityId),
    /// Held back until it is known whether shards fail because of it.
    HeldBack(EntityId),
    /// Destroyed, or set aside: waits for a respawn request.
    Lost,
}

/// One player's session.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) ship: Ship,
    /// The boarding of this session: see [`Pilot::boarding`](sidereal_protocol::record::Pilot::boarding).
    pub(crate) boarding: u32,
    /// The rewind limit of its beams: see [`Pilot::rewind`](sidereal_protocol::record::Pilot::rewind).
    pub(crate) rewind: u8,
    /// For the own states; `None` if the session had ended when it was reported.
    pub(crate) peer: Option<LanePeer>,
    pub(crate) inputs: InputLog,
    /// Acknowledged states since the last burst, to be sent in the next one: mostly one, two when the shard's and the
    /// server's ticks drift against each other.
    pub(crate) own_states: Vec<OwnState>,
    pub(crate) own_tick: SimTick,
    pub(crate) packet_allowance: u32,
    pub(crate) violations: u32,
    pub(crate) ships_flown: u64,
}

/// A ship whose player has disconnected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DisconnectedShip {
    pub(crate) since: SimTick,
    /// The shard that was requested to withdraw it.
    pub(crate) asked: Option<ShardId>,
}

/// Connected players, and ships whose players have disconnected.
#[derive(Debug, Default, Resource)]
pub struct Players {
    pub(crate) by_address: BTreeMap<SocketAddr, Player>,
    pub(crate) by_account: HashMap<AccountId, SocketAddr>,
    pub(crate) adrift: BTreeMap<EntityId, (AccountId, DisconnectedShip)>,
    /// The number of boardings in this run of the server.
    boardings: u32,
}

impl Players {
    /// The number of connected players.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether no player is connected.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// The account of a session.
    pub fn account_at(&self, address: &SocketAddr) -> Option<AccountId> {
        self.by_address.get(address).map(|player| player.account)
    }

    /// Whether an account has a session, or a ship in its grace time.
    pub fn is_here(&self, account: AccountId) -> bool {
        self.by_account.contains_key(&account) || self.adrift.values().any(|(owner, _)| *owner == account)
    }

    /// The number of ships whose players have disconnected.
    pub fn adrift(&self) -> usize {
        self.adrift.len()
    }

    /// Sessions with a ship in the world.
    pub fn flying(&self) -> impl Iterator<Item = (SocketAddr, EntityId)> + '_ {
        self.by_address.iter().filter_map(|(address, player)| match player.ship {
            Ship::Flying(id) => Some((*address, id)),
            _ => None,
        })
    }

    /// An account's session and its ship in the world.
    pub fn flying_of(&self, account: AccountId) -> Option<(SocketAddr, EntityId)> {
        let address = self.by_account.get(&account)?;
        match self.by_address.get(address)?.ship {
            Ship::Flying(id) => Some((*address, id)),
            _ => None,
        }
    }

    /// A session's account and its ship in the world.
    pub fn flying_at(&self, address: &SocketAddr) -> Option<(AccountId, EntityId)> {
        let player = self.by_address.get(address)?;
        match player.ship {
            Ship::Flying(id) => Some((player.account, id)),
            _ => None,
        }
    }

    /// The account and name of a session, with a ship or without.
    pub fn speaker(&self, address: &SocketAddr) -> Option<(AccountId, String)> {
        self.by_address.get(address).map(|player| (player.account, player.name.clone()))
    }

    /// Whether a session is bringing this ship into the world.
    pub fn brings_in(&self, ship: EntityId) -> bool {
        self.by_address.values().any(|player| match &player.ship {
            Ship::Waiting(record) => record.id == ship,
            Ship::Admitting(id) => *id == ship,
            _ => false,
        })
    }

    /// The shard that was requested to withdraw a ship whose player did not return in time.
    pub fn asked_for(&self, ship: EntityId) -> Option<ShardId> {
        self.adrift.get(&ship).and_then(|(_, adrift)| adrift.asked)
    }

    /// All sessions.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.by_address.keys().copied()
    }

    /// An account's inputs after `last`; empty if it is not connected.
    pub fn inputs_since(&self, account: AccountId, last: SimTick) -> Vec<Input> {
        self.of(account).map(|player| player.inputs.since(last)).unwrap_or_default()
    }

    /// New inputs received so far by all present sessions.
    pub fn inputs_received(&self) -> u64 {
        self.by_address.values().map(|player| player.inputs.received).sum()
    }

    /// Takes every player's own states for the next burst, packed.
    pub fn take_own_states(&mut self) -> impl Iterator<Item = (&LanePeer, Vec<u8>)> {
        self.by_address.values_mut().filter_map(|player| {
            let packed = encode_own_states(&player.own_states).pop()?;
            player.own_states.clear();
            Some((player.peer.as_ref()?, packed))
        })
    }

    pub(crate) fn of(&self, account: AccountId) -> Option<&Player> {
        self.by_address.get(self.by_account.get(&account)?)
    }

    pub(crate) fn of_mut(&mut self, account: AccountId) -> Option<&mut Player> {
        self.by_address.get_mut(self.by_account.get(&account)?)
    }

    /// A ship was destroyed.
    pub fn ship_destroyed(&mut self, owner: AccountId, id: EntityId) {
        self.adrift.remove(&id);
        if let Some(player) = self.of_mut(owner)
            && (player.ship == Ship::Flying(id) || player.ship == Ship::Returning(id))
        {
            player.ship = Ship::Lost;
        }
    }

    /// The number of the next boarding. A run of a server has fewer than 2^32.
    pub(crate) fn next_boarding(&mut self) -> u32 {
        self.boardings = self.boardings.saturating_add(1);
        self.boardings
    }
}

/// Each second, refills every player's allowance of input packets.
pub fn refill_packet_allowances(clock: Res<Clock>, mut players: ResMut<Players>) {
    if clock.tick.0.is_multiple_of(u64::from(TICK_HZ)) {
        for player in players.by_address.values_mut() {
            player.packet_allowance = INPUT_PACKETS_PER_SECOND;
        }
    }
}
