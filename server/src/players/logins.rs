//! Starts and ends players' sessions.

use super::{
    input_log::InputLog,
    rewind,
    session::{DisconnectedShip, INPUT_PACKETS_PER_SECOND, Player, Ship},
    ships::{HELD_BACK, Ships},
};
use crate::{
    replication::{interest::Interest, space::Space},
    territory::seeds,
};
use bevy::{ecs::system::SystemParam, prelude::ResMut};
use sidereal_process::log_limited;
use sidereal_protocol::{
    frames::messages::{TAKEN_OVER, ToPlayer, Welcome},
    world::{ids::AccountId, tick::SimTick},
};
use sidereal_transport::{EndCause, SessionEnd};
use std::net::SocketAddr;

/// The start and end of players' sessions. Adds the sessions' views to what [`Ships`] needs.
#[derive(SystemParam)]
pub struct Logins<'w> {
    /// Players' ships.
    ships: Ships<'w>,
    /// The peers' views.
    interest: ResMut<'w, Interest>,
}

impl Logins<'_> {
    /// A player has connected. Replaces a session that the account still has.
    pub fn player_connected(&mut self, space: &mut Space, address: SocketAddr, account: AccountId, name: String) {
        log_limited!(info, %name, %account, "player connected");
        let before = self.ships.players.by_account.get(&account).copied().and_then(|old| {
            self.ships.link.transport.close(&old, TAKEN_OVER);
            self.end_session(space, old, &SessionEnd::new(EndCause::ClosedHere, TAKEN_OVER))
        });
        let ship = self.ships.ship_for(space, account, before.map(|player| player.ship));
        let welcome = Welcome {
            sim_tick: space.clock.tick.0,
            naia_tick: space.clock.naia_tick,
            account_high: account.0.as_u64_pair().0,
            account_low: account.0.as_u64_pair().1,
            sky_seed: seeds::sky(self.ships.storage.world_seed),
        };
        let in_the_world = match &ship {
            Ship::Flying(id) => Some(*id),
            _ => None,
        };
        let is_held_back = matches!(ship, Ship::HeldBack(_));
        let rewind = rewind::measured(&self.ships.link, &space.replicas.naia, &address).unwrap_or(0);
        self.ships.players.by_account.insert(account, address);
        self.ships.players.by_address.insert(
            address,
            Player {
                account,
                name,
                ship,
                boarding: 0,
                rewind,
                peer: self.ships.link.transport.lane_peer(&address),
                inputs: InputLog::default(),
                own_states: Vec::new(),
                own_tick: SimTick(0),
                packet_allowance: INPUT_PACKETS_PER_SECOND,
                violations: 0,
                ships_flown: 0,
            },
        );
        space.tally.players_max = space.tally.players_max.max(self.ships.players.len() as u64);
        self.ships.link.notify(&address, ToPlayer::Welcome(welcome));
        if let Some(id) = in_the_world {
            self.ships.take_helm(space, account, id);
        }
        if is_held_back {
            self.ships.tell(account, HELD_BACK);
        }
    }

    /// Removes a session and returns it.
    fn end_session(&mut self, space: &mut Space, address: SocketAddr, end: &SessionEnd) -> Option<Player> {
        let player = self.ships.players.by_address.remove(&address)?;
        if self.ships.players.by_account.get(&player.account) == Some(&address) {
            self.ships.players.by_account.remove(&player.account);
        }
        space.tally.inputs_received += player.inputs.received;
        self.interest.forget(&address);
        log_limited!(info, name = %player.name, cause = ?end.cause, reason = %end.reason, "player left");
        if end.cause.is_drop() {
            space.tally.sessions_dropped += 1;
        }
        Some(player)
    }

    /// A player has disconnected: the ship stays for a while.
    pub fn player_gone(&mut self, space: &mut Space, address: SocketAddr, end: &SessionEnd) {
        let Some(player) = self.end_session(space, address, end) else { return };
        let waiting = match &player.ship {
            Ship::Waiting(record) => Some(record.id),
            Ship::HeldBack(id) => Some(*id),
            _ => None,
        };
        self.ships.goods.leaving.account_left(player.account, waiting);
        if let Ship::Flying(id) | Ship::Admitting(id) | Ship::Returning(id) = player.ship {
            let adrift = DisconnectedShip { since: space.clock.tick, asked: None };
            // A ship that is being returned is already in it.
            self.ships.players.adrift.entry(id).or_insert((player.account, adrift));
        }
    }
}
