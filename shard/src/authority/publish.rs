//! What a tick sends to the server: motion, own states, records.
//!
//! Runs in the shard, at the end of each tick. Motion goes as datagrams, newest wins: changes, and every entity at
//! least once a second. Records go reliably, only after something besides motion changed, and at most a few times a
//! second per entity.

use crate::{
    app::{clock::SimClock, suspect},
    authority::replication::Replication,
    bodies::{
        authority::Authority,
        body::{Body, Flight, Helm, Lights},
        parts::AppRecordParts,
        registry::Registry,
        spawn,
    },
    economy::ship_locks::PendingDeal,
    flight::inputs::PilotInput,
    handoff::machine::Handoffs,
    link::mailbox::{LaneDatagram, Outbox},
    schedule::{PublishSystems, SimStep},
    weapons::{beams::Beams, bullets::Shots},
};
use bevy::{ecs::query::QueryData, prelude::*};
use sidereal_protocol::{
    frames::control::ToServer,
    packets::{
        motion::{EngineGlow, Motion, SectorNews, encode_sector_update},
        own_state::{OwnState, encode_own_states},
        precision,
    },
    rules::{
        flight::{Controls, FlightState},
        shot::{Beam, Shot, ShotHit},
    },
    world::{
        sector::SectorId,
        tick::{SimTick, TICK_HZ},
    },
};
use std::collections::BTreeMap;

/// Adds the publishing of motion, own states and records.
pub(crate) struct PublishPlugin;

impl Plugin for PublishPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<Replication>().add_systems(
            SimStep,
            (
                publish_motion.in_set(PublishSystems::Motion),
                publish_own_states.in_set(PublishSystems::OwnStates),
                publish_records.in_set(PublishSystems::Records),
            ),
        );
    }
}

/// The motion of every entity is sent at least every so many ticks: 1 s.
pub const REFRESH_TICKS: u64 = TICK_HZ as u64;

/// Least interval between two records of one entity, ticks: 0.1 s. A ship under fire then sends ten a second, not one
/// per bullet.
pub const RECORD_INTERVAL_TICKS: u64 = 3;

#[derive(Default)]
struct News {
    motions: Vec<Motion>,
    shots: Vec<Shot>,
    hits: Vec<ShotHit>,
    beams: Vec<Beam>,
}

impl News {
    fn parts(&self) -> SectorNews<'_> {
        SectorNews { motions: &self.motions, shots: &self.shots, hits: &self.hits, beams: &self.beams }
    }
}

/// The components of an own body whose states are sent.
#[derive(QueryData)]
#[query_data(mutable)]
pub(crate) struct Published {
    body: &'static Body,
    flight: &'static Flight,
    helm: Option<&'static Helm>,
    authority: &'static Authority,
    lights: Option<&'static Lights>,
    input: Option<&'static PilotInput>,
    replication: &'static mut Replication,
}

/// Sends the state after `now`, for subscribers and for its pilot, of each of `entities` that is this shard's own, in
/// an update of its own sector. The caller sorts them by net id.
pub(crate) fn publish_at_once(
    now: SimTick,
    entities: impl Iterator<Item = Entity>,
    bodies: &mut Query<Published>,
    lane: &mut Outbox<LaneDatagram>,
) {
    let mut motions: BTreeMap<SectorId, Vec<Motion>> = BTreeMap::new();
    let mut own_states = Vec::new();
    for entity in entities {
        let Ok(mut it) = bodies.get_mut(entity) else { continue };
        // The server has a newer state already: the one in the record.
        if it.authority.ahead.is_some() {
            continue;
        }
        let motion = Motion { net_id: it.body.net_id, state: it.flight.0, glow: glow(it.helm, it.lights) };
        it.replication.motion_sent = Some((it.authority.sector, motion));
        motions.entry(it.authority.sector).or_default().push(motion);
        own_states.extend(it.input.map(|input| own_state(it.body, it.flight, input, now)));
    }
    for (sector, motions) in motions {
        let news = SectorNews { motions: &motions, shots: &[], hits: &[], beams: &[] };
        for packet in encode_sector_update(sector, now, news) {
            lane.push(LaneDatagram(packet.bytes));
        }
    }
    for packet in encode_own_states(&own_states) {
        lane.push(LaneDatagram(packet));
    }
}

/// Sends the motion of every sector.
pub(crate) fn publish_motion(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    shots: Res<Shots>,
    beams: Res<Beams>,
    mut lane: ResMut<Outbox<LaneDatagram>>,
    mut bodies: Query<(&Body, &Flight, Option<&Helm>, &Authority, Option<&Lights>, &mut Replication)>,
) {
    let now = clock.tick;
    let mut news: BTreeMap<SectorId, News> = BTreeMap::new();
    for entity in registry.in_order() {
        let Ok((body, flight, helm, authority, lights, mut replication)) = bodies.get_mut(entity) else { continue };
        let _at = suspect::at(body.id);
        let motion = Motion { net_id: body.net_id, state: flight.0, glow: glow(helm, lights) };
        let refresh = (now.0 + u64::from(body.net_id.0)).is_multiple_of(REFRESH_TICKS);
        let news_to_tell = match &replication.motion_sent {
            Some((sector, sent)) => *sector != authority.sector || differs(sent, &motion),
            None => true,
        };
        if refresh || news_to_tell {
            let sector = authority.sector;
            replication.motion_sent = Some((sector, motion));
            news.entry(sector).or_default().motions.push(motion);
        }
    }
    for sector in shots.sectors().chain(beams.sectors()) {
        news.entry(sector).or_default();
    }
    for (sector, mut news) in news {
        news.shots.extend(shots.to_send_in(sector));
        news.hits.extend(shots.hits_in(sector));
        news.beams.extend(beams.to_send_in(sector));
        for packet in encode_sector_update(sector, now, news.parts()) {
            lane.push(LaneDatagram(packet.bytes));
        }
    }
}

fn glow(helm: Option<&Helm>, lights: Option<&Lights>) -> EngineGlow {
    let controls = helm.map(|helm| helm.0).unwrap_or_default();
    let thrust = controls.thrust > 0;
    let tools = lights.map(|lights| lights.0).unwrap_or_default();
    EngineGlow { thrust, boost: thrust && controls.holds(Controls::BOOST), ..tools }
}

/// Whether the difference is visible in a packet.
fn differs(sent: &Motion, now: &Motion) -> bool {
    let (one, other): (&FlightState, &FlightState) = (&sent.state, &now.state);
    sent.glow != now.glow
        || (one.position - other.position).abs().max_element() > precision::POSITION.error_bound()
        || (one.velocity - other.velocity).abs().max_element() > precision::VELOCITY.error_bound()
        || (one.angle - other.angle).abs() > precision::ANGLE.error_bound()
        || (one.angular_velocity - other.angular_velocity).abs() > precision::ANGULAR_VELOCITY.error_bound()
}

/// Sends the exact state of every ship that has a pilot.
pub(crate) fn publish_own_states(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    mut lane: ResMut<Outbox<LaneDatagram>>,
    bodies: Query<(&Body, &Flight, &Authority, &PilotInput)>,
) {
    let states: Vec<OwnState> = registry
        .in_order()
        .filter_map(|entity| bodies.get(entity).ok())
        // The previous shard has sent the state of one that is ahead of this clock.
        .filter(|(_, _, authority, _)| authority.ahead.is_none())
        .map(|(body, flight, _, input)| own_state(body, flight, input, clock.tick))
        .collect();
    for packet in encode_own_states(&states) {
        lane.push(LaneDatagram(packet));
    }
}

fn own_state(body: &Body, flight: &Flight, PilotInput { pilot, .. }: &PilotInput, tick: SimTick) -> OwnState {
    OwnState {
        net_id: body.net_id,
        boarding: pilot.boarding,
        tick,
        input_tick: pilot.last_input,
        inputs_applied: pilot.inputs_applied,
        state: flight.0,
    }
}

/// Sends the records of own bodies that changed in more than motion.
pub(crate) fn publish_records(
    world: &mut World,
    bodies: &mut QueryState<(&Body, &mut Authority, &mut Replication), Without<PendingDeal>>,
) {
    let now = world.resource::<SimClock>().tick;
    let order: Vec<Entity> = world.resource::<Registry>().in_order().collect();
    for entity in order {
        // While a deal is unsettled, the record in its answer may be the valid one.
        let Ok((body, ..)) = bodies.get(world, entity) else { continue };
        let id = body.id;
        // While it leaves, the record in `Prepare` is the valid one.
        if world.resource::<Handoffs>().is_leaving(id) {
            continue;
        }
        let _at = suspect::at(id);
        let Ok((_, mut authority, mut replication)) = bodies.get_mut(world, entity) else { continue };
        if !replication.changed || now.since(replication.record_sent) < RECORD_INTERVAL_TICKS {
            continue;
        }
        replication.changed = false;
        replication.record_sent = now;
        authority.version += 1;
        let Some(record) = spawn::record(world, entity, now) else { continue };
        world.resource_mut::<Outbox<ToServer>>().push(ToServer::Record(Box::new(record)));
    }
}
