//! Free space to fly in: the sectors around the centre without rocks in the way.

use crate::cluster::Cluster;
use sidereal_protocol::{DVec2, record::EntityKind, rules::flight::FlightState, world::ids::EntityId};
use sidereal_server::replication::mirror::Mirror;

/// Moves every rock of the sectors beside the border to their far edge, out of the ships' way.
pub fn clear_the_arena(cluster: &mut Cluster) {
    let mirror = cluster.server.world().resource::<Mirror>();
    let mut rocks: Vec<(EntityId, DVec2)> = mirror
        .iter()
        .map(|(id, entry)| (id, &entry.record))
        .filter(|(_, record)| record.kind == EntityKind::Asteroid)
        .map(|(id, record)| (id, record.state.position))
        .filter(|(_, at)| at.x.abs() < 1_000.0 && (0.0..1_000.0).contains(&at.y))
        .collect();
    rocks.sort_by(|a, b| a.1.x.total_cmp(&b.1.x));
    for (side, range) in [(-1.0, -1_000.0..0.0), (1.0, 0.0..1_000.0)] {
        let here = rocks.iter().filter(|(_, at)| range.contains(&at.x));
        for (number, (id, _)) in here.enumerate() {
            let position = DVec2::new(side * (930.0 - (number / 7) as f64 * 120.0), 60.0 + (number % 7) as f64 * 130.0);
            cluster.place(*id, FlightState { position, ..FlightState::default() });
        }
    }
}
