//! Mining: who holds the button beside a rock takes a bite out of it, twice a second.
//!
//! Runs in the shard of the ship, which looks at rocks where they are now, own ones and ghosts: nobody is hit by
//! a mining laser, so nothing is put back to where the pilot saw it. How much is where, the server's ledger says.
//! A bite is a message to it ([`OreMove`]), and the hold here grows when it answers. What is known here, the
//! room in the hold and the ore of a rock, keeps the messages down; the ledger clamps the rest.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    bodies::{
        body::{Body, Flight, Helm, Owned},
        ghosts::Ghost,
        registry::Registry,
    },
    handoff::machine::Handoffs,
    link::mailbox::Outbox,
    schedule::{SimStep, WeaponSystems},
};
use bevy::prelude::*;
use sidereal_protocol::{
    control::ToServer,
    economy::{MINING_BITE, MINING_INTERVAL_TICKS, OreMove, mined_rock},
    flight::Controls,
    record::EntityKind,
};

/// Mining.
pub(crate) struct MiningPlugin;

impl Plugin for MiningPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, mine_rocks.in_set(WeaponSystems::Mine));
    }
}

/// Units of ore for which there is room in the hold of an own ship.
pub(crate) fn room(body: &Body, owned: &Owned) -> u32 {
    body.hull_kind.map_or(0, |hull| hull.hold().saturating_sub(owned.ore))
}

/// Units of ore in a body, as far as this shard knows: of a ghost that nobody here took of it does not.
pub(crate) fn known_ore(owned: Option<&Owned>, ghost: Option<&Ghost>) -> Option<u32> {
    owned.map(|owned| owned.ore).or_else(|| ghost.and_then(|ghost| ghost.ore))
}

/// Takes a bite where a pilot wants it, the laser is ready and a rock is in range.
pub(crate) fn mine_rocks(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    handoffs: Res<Handoffs>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut bodies: Query<(&Body, &Flight, Option<&Helm>, Option<&mut Owned>, Option<&Ghost>)>,
) {
    let now = clock.tick;
    let mut seen = Vec::new();
    for ship in registry.in_order() {
        let Ok((body, flight, helm, Some(owned), _)) = bodies.get(ship) else { continue };
        let _at = suspect::at(body.id);
        let wants = body.is_ship()
            && helm.is_some_and(|helm| helm.0.holds(Controls::MINE))
            && owned.ahead.is_none()
            && !handoffs.is_leaving(body.id);
        let room = room(body, owned);
        let rocks = registry.in_order().filter_map(|entity| bodies.get(entity).ok()).filter_map(
            |(rock, flight, _, owned, ghost)| {
                let ore = known_ore(owned, ghost).unwrap_or(MINING_BITE);
                let mined = rock.kind == EntityKind::Asteroid && ore > 0;
                mined.then_some((flight.0.position, rock.radius, (rock.id, ore)))
            },
        );
        let rock = (wants && room > 0).then(|| mined_rock(&flight.0, rocks)).flatten();
        if rock.is_some() || owned.mining {
            seen.push((ship, room, rock));
        }
    }
    for (ship, room, rock) in seen {
        let Ok((body, _, _, Some(mut owned), _)) = bodies.get_mut(ship) else { continue };
        owned.mining = rock.is_some();
        if let Some((from, ore)) = rock
            && now >= owned.hold_ready
        {
            owned.hold_ready = now + MINING_INTERVAL_TICKS;
            totals.ore_moves += 1;
            outbox.push(ToServer::OreMove(OreMove { from, to: body.id, ore: MINING_BITE.min(room).min(ore) }));
        }
    }
}
