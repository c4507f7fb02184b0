//! Fair play over real links: the view lag that a player's inputs claim is accepted as far as the measured link
//! explains it, and the world's seed is not sent.

use bevy::prelude::World;
use sidereal_protocol::{
    DVec2,
    rules::{
        flight::{Controls, FlightState},
        shot::MAX_REWIND_TICKS,
    },
    world::ids::EntityId,
};
use sidereal_server::{persistence::storage::Storage, territory::seeds};
use sidereal_shard::{
    beams::allowed_rewind,
    bodies::{Body, View},
    clock::SimClock,
    inputs::PilotInput,
    leases::Welcomed,
};
use sidereal_tests::cluster::{Cluster, PERFECT, Setup};
use sidereal_transport::network::memory::LinkConditions;

/// A second, ticks.
const SECOND: u64 = 30;

/// How long each link is observed, ticks.
const LOOK_TICKS: u64 = 20 * SECOND;

/// A client's frame, ms.
const FRAME_MS: u64 = 16;

/// One-way links: in a building, in a country, on a continent, across an ocean.
const LINKS: [LinkConditions; 5] = [
    PERFECT,
    LinkConditions { latency_ms: 3, jitter_ms: 2, ..PERFECT },
    LinkConditions { latency_ms: 10, jitter_ms: 3, loss: 0.005, ..PERFECT },
    LinkConditions { latency_ms: 30, jitter_ms: 6, loss: 0.01, ..PERFECT },
    LinkConditions { latency_ms: 75, jitter_ms: 12, loss: 0.01, ..PERFECT },
];

/// The claimed and the allowed view lag of one beam, ticks before the tick in which it is judged.
#[derive(Debug, Clone, Copy)]
struct Claim {
    late: f64,
    allowed: f64,
}

/// The claim of the beam that `ship` requested in the last simulated tick.
fn claim(world: &mut World, ship: EntityId) -> Option<Claim> {
    let now = world.resource::<SimClock>().tick.0 as f64;
    let mut bodies = world.query::<(&Body, &PilotInput, &View)>();
    let (_, input, view) = bodies.iter(world).find(|(body, ..)| body.id == ship)?;
    Some(Claim { late: now - view.0?, allowed: allowed_rewind(&input.pilot) })
}

fn allowed(cluster: &mut Cluster, ship: EntityId) -> Option<(usize, f64)> {
    let (shard, _) = cluster.truth(ship)?;
    let world = cluster.shards[shard].as_mut()?.world_mut();
    let mut bodies = world.query::<(&Body, &PilotInput)>();
    let (_, input) = bodies.iter(world).find(|(body, _)| body.id == ship)?;
    Some((shard, allowed_rewind(&input.pilot)))
}

/// A player alone in empty space, over `conditions`.
fn pilot(conditions: LinkConditions) -> (Cluster, usize, EntityId) {
    let mut cluster = Cluster::of(Setup { seed: 31, shards: 2, home: Some(Vec::new()), ..Setup::default() });
    let player = cluster.join_with("ada", conditions);
    cluster.until_flying(player);
    let ship = cluster.ship_of(player).expect("flying");
    (cluster, player, ship)
}

#[test]
fn an_honest_pilot_is_believed_over_every_link() {
    for conditions in LINKS {
        let (mut cluster, player, ship) = pilot(conditions);
        cluster.steer(player, Controls { thrust: 0, turn: 0, buttons: Controls::BEAM });
        let mut claims: Vec<Claim> = Vec::new();
        for tick in 0..LOOK_TICKS {
            cluster.tick_in_frames(FRAME_MS, |_, _| ());
            let claim = cluster.shards.iter_mut().flatten().find_map(|app| claim(app.world_mut(), ship));
            // Not in the seconds in which the clocks of a new client settle.
            claims.extend(claim.filter(|_| tick > 5 * SECOND));
        }
        assert!(claims.len() as u64 > LOOK_TICKS / 2, "{}", claims.len());
        let mut late: Vec<f64> = claims.iter().map(|claim| claim.late).collect();
        late.sort_by(f64::total_cmp);
        // The global limit does not depend on this link.
        let cut = claims.iter().filter(|claim| claim.late.min(MAX_REWIND_TICKS) > claim.allowed).count();
        println!(
            "{} ± {} ms: late by {:.2} to {:.2} ticks, median {:.2}, allowed {:?}; {cut} of {} are cut",
            conditions.latency_ms,
            conditions.jitter_ms,
            late[0],
            late[late.len() - 1],
            late[late.len() / 2],
            claims.last().map(|claim| claim.allowed),
            claims.len(),
        );
        assert!(cut * 200 <= claims.len(), "{cut} of {}", claims.len());
    }
}

#[test]
fn what_the_link_allows_goes_with_the_ship_over_a_border() {
    let (mut cluster, player, ship) = pilot(PERFECT);
    cluster.place(ship, FlightState { position: DVec2::new(-60.0, 40.0), ..FlightState::default() });
    cluster.ticks(5 * SECOND);
    let (source, before) = allowed(&mut cluster, ship).expect("simulated");
    assert!(before > 0.0, "the link was measured, and its shard has the limit");
    cluster.steer(player, Controls { thrust: 127, turn: 0, buttons: 0 });
    let mut crossed = false;
    for _ in 0..10 * SECOND {
        cluster.tick_once();
        // In every tick, including the first in its new shard.
        let Some((shard, now)) = allowed(&mut cluster, ship) else { continue };
        assert!((now - before).abs() <= 0.5, "{now} at shard {shard}, {before} before");
        crossed |= shard != source;
    }
    assert!(crossed);
}

#[test]
fn nobody_is_told_the_worlds_seed() {
    let (cluster, player, _) = pilot(PERFECT);
    let seed = cluster.server.world().resource::<Storage>().world_seed;
    assert_eq!(cluster.view(player).sky_seed, seeds::sky(seed));
    for shard in cluster.shards.iter().flatten() {
        assert_eq!(shard.world().resource::<Welcomed>().id_seed, seeds::shards(seed));
    }
    assert!(![seeds::sky(seed), seeds::shards(seed)].contains(&seed));
}
