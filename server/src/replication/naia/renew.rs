//! Gives entities that were in view for too many commands another naia entity (see [`super::renewal`]).

use super::{
    renewal::Renewals,
    replicas::{LEAVING_COMMANDS, Replicas},
    rooms::Rooms,
};
use crate::replication::{interest::Interest, space::Space};
use bevy::prelude::Res;
use sidereal_protocol::world::{
    ids::EntityId,
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

/// Maximum number of entities renewed per second.
const RENEWALS_PER_SECOND: usize = 64;

/// Gives an entity another naia entity, in the same rooms.
fn renew_one(space: &mut Space, id: EntityId) {
    let Some(record) = space.mirror.get(id).map(|entry| entry.record.clone()) else { return };
    let entity = space.replicas.announce(&record);
    let now = space.clock.tick;
    let Some(entry) = space.mirror.get_mut(id) else { return };
    entry.announced = now;
    space.replicas.renewals.replaced.push(std::mem::replace(&mut entry.entity, entity));
    for sector in space.replicas.rooms_of(id, record.sector) {
        space.replicas.enter_room(entity, sector);
        // The old one leaves.
        space.replicas.renewals.count(sector, LEAVING_COMMANDS);
    }
    space.tally.renewals += 1;
}

/// Renews entities that were in some peer's view for too many commands.
pub fn renew_entities(mut space: Space, interest: Res<Interest>) {
    for entity in std::mem::take(&mut space.replicas.renewals.replaced) {
        space.replicas.withdraw(entity);
    }
    let now = space.clock.tick;
    if !now.0.is_multiple_of(u64::from(TICK_HZ)) {
        return;
    }
    let views: BTreeMap<SocketAddr, BTreeSet<SectorId>> = interest.seen().collect();
    let sizes: HashMap<SectorId, u64> =
        views.values().flatten().map(|sector| (*sector, space.replicas.room_size(*sector) as u64)).collect();
    let Replicas { renewals, rooms, .. } = &mut space.replicas;
    let Renewals { told, .. } = &mut **renewals;
    let rooms: &Rooms = rooms;
    told.retain(|sector, _| rooms.has(*sector));
    // A room that is no longer in view may be gone: it was small then.
    let renew = space.replicas.renewals.look(&views, |sector| sizes.get(&sector).copied().unwrap_or_default(), now);
    if renew.is_empty() {
        return;
    }
    let mut old: Vec<(SimTick, EntityId)> = space
        .mirror
        .iter()
        .filter(|(_, entry)| renew.get(&entry.record.sector).is_some_and(|before| entry.announced < *before))
        .map(|(id, entry)| (entry.announced, id))
        .collect();
    old.sort_unstable();
    old.truncate(RENEWALS_PER_SECOND);
    for (_, id) in old {
        renew_one(&mut space, id);
    }
}
