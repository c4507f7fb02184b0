//! Mining: a ship that holds the button near a rock extracts ore twice a second.
//!
//! Runs in the shard of the ship, against the present positions of rocks, own ones and ghosts: a mining laser hits no
//! player, so nothing is rewound. The server's ledger has the amounts. Each bite is a message to it ([`OreMove`]), and
//! the hold changes when it answers. The free space and the ore that are known here save messages; the ledger clamps
//! the rest.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    bodies::{
        authority::Authority,
        body::{Body, Flight, Helm, Lights},
        ghosts::Ghost,
        grid::Nearby,
        parts::{AppRecordParts, RecordPart},
        registry::Registry,
    },
    economy::cargo::{Cargo, room},
    handoff::machine::Handoffs,
    link::mailbox::Outbox,
    schedule::{SimStep, WeaponSystems},
    weapons::trigger,
};
use bevy::prelude::*;
use sidereal_protocol::{
    frames::control::ToServer,
    record::EntityRecord,
    rules::{
        economy::{MINING_INTERVAL_TICKS, MINING_RANGE, OreMove, mined_rock},
        tool::Tool,
    },
    world::{kind::Ore, tick::SimTick},
};

/// Adds mining.
pub(crate) struct MiningPlugin;

impl Plugin for MiningPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<MiningLaser>().add_systems(SimStep, mine_rocks.in_set(WeaponSystems::Mine));
    }
}

/// What limits how often an own ship takes in ore.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub struct MiningLaser {
    /// No bite and no collected crate before this tick.
    pub ready: SimTick,
}

impl RecordPart for MiningLaser {
    fn of(record: &EntityRecord) -> Option<Self> {
        let ready = record.tick + MINING_INTERVAL_TICKS;
        Tool::MiningLaser.is_carried_by(record.kind).then_some(Self { ready })
    }
}

/// Units of ore in a body; `None` for a ghost from which no ship of this shard has mined.
pub(crate) fn known_ore(cargo: Option<&Cargo>, ghost: Option<&Ghost>) -> Option<u32> {
    cargo.map(|cargo| cargo.ore).or_else(|| ghost.and_then(|ghost| ghost.ore))
}

/// Mines for each pilot who holds the button when the laser is ready and a rock is in range.
pub(crate) fn mine_rocks(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    handoffs: Res<Handoffs>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut ships: Query<(&Body, &Flight, &Helm, &Authority, Option<&Cargo>, &mut MiningLaser, &mut Lights)>,
    bodies: Query<(&Body, &Flight, Option<&Cargo>, Option<&Ghost>)>,
    mut nearby: Nearby,
) {
    let now = clock.tick;
    let bite = Tool::MiningLaser.spec().bite;
    for ship in registry.carrying(Tool::MiningLaser) {
        let Ok((body, flight, helm, authority, cargo, mut laser, mut lights)) = ships.get_mut(ship) else { continue };
        let _at = suspect::at(body.id);
        let wants = trigger::is_used(Tool::MiningLaser, body, helm, authority, &handoffs);
        let room = room(body, cargo);
        let find = || {
            let near = nearby.prepare(now, &registry).around(flight.0.position, MINING_RANGE);
            let rocks = near.into_iter().filter_map(|entity| bodies.get(entity).ok()).filter_map(
                |(rock, flight, cargo, ghost)| {
                    let ore = known_ore(cargo, ghost).unwrap_or(bite);
                    let mined = rock.kind.spec().ore == Ore::Deposit && ore > 0;
                    mined.then_some((flight.0.position, rock.radius, (rock.id, ore)))
                },
            );
            mined_rock(&flight.0, rocks)
        };
        let rock = (wants && room > 0).then(find).flatten();
        trigger::shine(Tool::MiningLaser, &mut lights, rock.is_some());
        if let Some((from, ore)) = rock
            && now >= laser.ready
        {
            laser.ready = trigger::ready_after(Tool::MiningLaser, body, now);
            totals.ore_moves += 1;
            outbox.push(ToServer::OreMove(OreMove { from, to: body.id, ore: bite.min(room).min(ore) }));
        }
    }
}
