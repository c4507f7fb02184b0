//! Deals: checked here by the rules of space, settled by the server's ledger.
//!
//! Runs in the shard, on the server's request. If a deal is allowed, the answer holds the ship's record after the deal,
//! with a new version; the ship itself does not change yet. Until the server reports the result, the ship is locked:
//! its inputs have no effect, nothing damages it, it is not handed over, none of its other records is sent, and no
//! other deal is allowed. So the database has that record and the payment from one transaction, or neither. There is no
//! time limit: only the ledger has the result.
//!
//! The record before the deal may still have to be sent, if the server drains or withdraws the ship without a result.
//! One version number is left free for it, below that of the record after the deal: whichever arrives first, the paid
//! one wins.
//!
//! A docked ship is held at the station's edge and has no collider. Nothing touches or hits it.

use crate::{
    app::{clock::SimClock, report::Totals},
    authority::withdrawal,
    bodies::{
        authority::Authority,
        body::{self, Body, Flight, Planned},
        parts::AppRecordParts,
        registry::Registry,
        spawn,
    },
    economy::ship_locks::{Docked, PendingDeal},
    handoff::machine::Handoffs,
    link::mailbox::Outbox,
    schedule::{BorderSystems, SimStep},
};
use avian2d::prelude::{Collider, RigidBody};
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    frames::control::ToServer,
    record::{DockedAt, EntityRecord, ShipHull, Structure},
    rules::{
        economy::{Bargain, DOCKING_RANGE, DOCKING_SPEED, DealKey, DealRefusal, Fitted, TRADING_RANGE},
        flight::FlightState,
    },
    world::{
        ids::EntityId,
        tick::{SimTick, TICK_HZ},
    },
};
use std::f64::consts::TAU;

/// Adds deals.
pub(crate) struct DockingPlugin;

impl Plugin for DockingPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<Docked>()
            .add_record_part::<PendingDeal>()
            .add_systems(SimStep, watch_withdrawals.in_set(BorderSystems::Withdrawals));
    }
}

/// How long the withdrawal of a ship waits for its deal to be settled, ticks: 5 s.
pub const WITHDRAWAL_TICKS: u64 = 5 * TICK_HZ as u64;

/// Gap between a station and a docked ship, units: they do not touch when it undocks.
const DOCK_GAP: f64 = 1.0;

/// Positions around a station that are tried for a ship that undocks.
const PLACES: u32 = 32;

type Verdict = Result<Option<Box<EntityRecord>>, DealRefusal>;

/// Answers whether `ship` may make the deal. If that changes its record, the ship is locked from now on.
pub(crate) fn judge_deal(
    world: &mut World,
    key: DealKey,
    ship: EntityId,
    bargain: &Bargain,
    partner: Option<EntityId>,
) {
    let verdict = verdict(world, key, ship, bargain, partner);
    world.resource_mut::<Outbox<ToServer>>().push(ToServer::Deal { key, ship, verdict });
}

fn verdict(world: &mut World, key: DealKey, ship: EntityId, bargain: &Bargain, partner: Option<EntityId>) -> Verdict {
    let now = world.resource::<SimClock>().tick;
    if bargain.validate().is_err() {
        world.resource_mut::<Totals>().frames_refused += 1;
        return Err(DealRefusal::NotMine);
    }
    let mut record = own_ship(world, ship, now).ok_or(DealRefusal::NotMine)?;
    let entity = world.resource::<Registry>().get(ship).ok_or(DealRefusal::NotMine)?;
    if let Some(pending) = world.get::<PendingDeal>(entity) {
        return if pending.key == key { Ok(Some(pending.after.clone())) } else { Err(DealRefusal::Busy) };
    }
    if let Bargain::Offer { .. } | Bargain::Accept | Bargain::Decline = bargain {
        return judge_trade(world, &record, partner).map(|()| None);
    }
    judge(world, &mut record, bargain)?;
    // The version before is left for the record before the deal, should it have to be sent.
    record.version += 2;
    let after = Box::new(record);
    world.entity_mut(entity).insert(PendingDeal { key, after: after.clone(), withdraw_by: None });
    Ok(Some(after))
}

/// The record of an own ship that is not leaving.
fn own_ship(world: &World, id: EntityId, now: SimTick) -> Option<EntityRecord> {
    let entity = world.entity(world.resource::<Registry>().get(id)?);
    let (body, authority) = (entity.get::<Body>()?, entity.get::<Authority>()?);
    let stays = authority.ahead.is_none() && !world.resource::<Handoffs>().is_leaving(id);
    (body.is_ship() && stays).then(|| spawn::record_of(world, id, now)).flatten()
}

/// Changes `record` to the ship after the deal.
fn judge(world: &mut World, record: &mut EntityRecord, bargain: &Bargain) -> Result<(), DealRefusal> {
    let Some(station) = record.docked() else {
        if *bargain != Bargain::Dock {
            return Err(DealRefusal::NotDocked);
        }
        let station = nearest_station(world, record.state.position).ok_or(DealRefusal::NoStation)?;
        if record.state.velocity.length() > DOCKING_SPEED {
            return Err(DealRefusal::TooFast);
        }
        record.set(DockedAt(station.id));
        hold(record, &station);
        return Ok(());
    };
    match *bargain {
        Bargain::Dock => return Err(DealRefusal::Docked),
        Bargain::Undock => {
            if let Some(station) = find_station(world, station) {
                record.state.position = clear_place(world, record, &station);
            }
            record.remove::<DockedAt>();
        }
        Bargain::BuyHull(hull) => {
            if record.hull_kind() == Some(hull) {
                return Err(DealRefusal::HasIt);
            }
            if record.ore() > hull.hold() {
                return Err(DealRefusal::HoldTooSmall);
            }
            let spec = hull.spec();
            record.set(ShipHull(hull));
            record.set(Structure::whole(spec.radius, spec.hull));
            record.remove::<Fitted>();
            if let Some(station) = find_station(world, station) {
                hold(record, &station);
            }
        }
        Bargain::BuyWeapon(weapon) => {
            if record.fitted().has(weapon) {
                return Err(DealRefusal::HasIt);
            }
            record.set(record.fitted().with(weapon));
        }
        Bargain::Repair => {
            let structure = record.structure();
            if structure.hull >= structure.hull_max {
                return Err(DealRefusal::Whole);
            }
            record.set(Structure { hull: structure.hull_max, ..structure });
        }
        // The ledger owns the ore.
        _ => {}
    }
    Ok(())
}

/// Checks that both ships of a trade are in space, or both docked, and near each other. Whether a ghost is docked is
/// not known here: its own shard checks that.
fn judge_trade(world: &World, ship: &EntityRecord, partner: Option<EntityId>) -> Result<(), DealRefusal> {
    let entity = partner.and_then(|id| world.resource::<Registry>().get(id)).ok_or(DealRefusal::TooFar)?;
    let flight = world.get::<Flight>(entity).ok_or(DealRefusal::TooFar)?;
    if flight.0.position.distance(ship.state.position) > TRADING_RANGE {
        return Err(DealRefusal::TooFar);
    }
    let docked = world.get::<Authority>(entity).map(|_| world.get::<Docked>(entity).is_some());
    match (ship.docked().is_some(), docked) {
        (true, Some(false)) => Err(DealRefusal::Docked),
        (false, Some(true)) => Err(DealRefusal::NotDocked),
        _ => Ok(()),
    }
}

/// A station, own or a ghost.
struct Station {
    id: EntityId,
    position: DVec2,
    radius: f64,
}

fn station(body: &Body, flight: &Flight) -> Option<Station> {
    body.is_station().then_some(Station { id: body.id, position: flight.0.position, radius: body.radius })
}

fn find_station(world: &World, id: EntityId) -> Option<Station> {
    let entity = world.entity(world.resource::<Registry>().get(id)?);
    station(entity.get::<Body>()?, entity.get::<Flight>()?)
}

fn nearest_station(world: &World, position: DVec2) -> Option<Station> {
    let registry = world.resource::<Registry>();
    let stations = registry.in_order().filter_map(|entity| {
        let entity = world.entity(entity);
        station(entity.get::<Body>()?, entity.get::<Flight>()?)
    });
    stations
        .map(|station| (station.position.distance(position) - station.radius, station))
        .filter(|(distance, _)| *distance <= DOCKING_RANGE)
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, station)| station)
}

/// Moves the ship of `record` to the nearest point of the station's edge, at rest.
fn hold(record: &mut EntityRecord, station: &Station) {
    let outward = (record.state.position - station.position).normalize_or(DVec2::X);
    record.state = FlightState {
        position: place(station, record.radius(), outward),
        velocity: DVec2::ZERO,
        angular_velocity: 0.0,
        ..record.state
    };
}

fn place(station: &Station, radius: f64, outward: DVec2) -> DVec2 {
    station.position + outward * (station.radius + radius + DOCK_GAP)
}

/// The first position around the station where the ship touches nothing, starting from its own side.
fn clear_place(world: &mut World, ship: &EntityRecord, station: &Station) -> DVec2 {
    let outward = (ship.state.position - station.position).normalize_or(DVec2::X);
    let mut all = world.query::<(&Body, &Flight, Has<RigidBody>)>();
    let others: Vec<(&Body, &Flight)> = all
        .iter(world)
        .filter(|(body, _, rigid)| *rigid && body.id != ship.id)
        .map(|(body, flight, _)| (body, flight))
        .collect();
    let places = (0..PLACES).map(|index| {
        // On both sides in turn.
        let side = if index % 2 == 0 { 1.0 } else { -1.0 };
        let angle = side * f64::from(index.div_ceil(2)) * TAU / f64::from(PLACES);
        place(station, ship.radius(), DVec2::from_angle(angle).rotate(outward))
    });
    let clear = places.into_iter().find(|at| body::is_clear(*at, ship.radius(), others.iter().copied(), 0.0));
    clear.unwrap_or(ship.state.position)
}

/// Applies the result of a deal. A deal that is not pending here is ignored.
pub(crate) fn settle(world: &mut World, key: DealKey, ship: EntityId, done: bool) {
    let Some(entity) = world.resource::<Registry>().get(ship) else { return };
    if world.get::<PendingDeal>(entity).is_none_or(|pending| pending.key != key) {
        return;
    }
    let Some(pending) = world.entity_mut(entity).take::<PendingDeal>() else { return };
    if let Some(mut authority) = world.get_mut::<Authority>(entity) {
        // Both versions are used up, whatever the result.
        authority.version = authority.version.max(pending.after.version);
    }
    if done {
        become_record(world, entity, &pending.after);
        world.resource_mut::<Totals>().deals += 1;
    }
    if pending.withdraw_by.is_some() {
        withdrawal::withdraw(world, ship);
    }
}

/// Changes an own ship to its record after a deal: its collider is resized, removed or added. Components that no deal
/// changes are kept.
fn become_record(world: &mut World, entity: Entity, after: &EntityRecord) {
    #[cfg(feature = "journal")]
    crate::journal::remade(world, entity, after.hull());
    let (body, flight) = (Body::of(after), Flight(after.state));
    let mut entity = world.entity_mut(entity);
    match after.docked() {
        Some(station) => {
            entity.insert(Docked(station)).remove_with_requires::<(RigidBody, Collider)>();
        }
        None => {
            entity.remove::<Docked>();
            if let Some(collider) = body::collider(&body, &flight.0) {
                entity.insert(collider);
            }
        }
    }
    entity.insert((body, flight, Planned(flight.0)));
}

/// Whether the withdrawal of `id` must wait because its deal may be settled soon.
pub(crate) fn delays_withdrawal(world: &mut World, id: EntityId) -> bool {
    let by = world.resource::<SimClock>().tick + WITHDRAWAL_TICKS;
    let Some(entity) = world.resource::<Registry>().get(id) else { return false };
    let Some(mut pending) = world.get_mut::<PendingDeal>(entity) else { return false };
    pending.withdraw_by.get_or_insert(by);
    true
}

/// Withdraws ships whose deals were not settled in time, with their records before the deal.
pub(crate) fn watch_withdrawals(world: &mut World) {
    let now = world.resource::<SimClock>().tick;
    let mut ships = world.query::<(&Body, &PendingDeal)>();
    let mut overdue: Vec<EntityId> = ships
        .iter(world)
        .filter(|(_, pending)| pending.withdraw_by.is_some_and(|by| now >= by))
        .map(|(body, _)| body.id)
        .collect();
    overdue.sort();
    for id in overdue {
        withdrawal::withdraw(world, id);
    }
}
