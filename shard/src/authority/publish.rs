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
        ids::{EntityId, NetId},
        kind::EntityKind,
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

/// The components of an own body whose states are sent.
#[derive(QueryData)]
#[query_data(mutable)]
pub(crate) struct Published {
    body: &'static Body,
    flight: Ref<'static, Flight>,
    helm: Option<Ref<'static, Helm>>,
    authority: Ref<'static, Authority>,
    lights: Option<Ref<'static, Lights>>,
    input: Option<&'static PilotInput>,
    replication: &'static mut Replication,
}

impl PublishedItem<'_, '_> {
    /// Whether something of its motion may differ from what was last sent. A body at rest is not looked at further.
    fn may_differ(&self) -> bool {
        self.flight.is_changed()
            || self.authority.is_changed()
            || self.helm.as_ref().is_some_and(|helm| helm.is_changed())
            || self.lights.as_ref().is_some_and(|lights| lights.is_changed())
    }

    fn motion(&self) -> Motion {
        let glow = glow(self.helm.as_deref(), self.lights.as_deref());
        Motion { net_id: self.body.net_id, state: self.flight.0, glow }
    }

    /// The motion and its sector, if it is to be sent: on `refresh`, and if it differs from what was last sent. It
    /// counts as sent then.
    fn news(&mut self, refresh: bool) -> Option<(SectorId, Motion)> {
        let _at = suspect::at(self.body.id);
        let (sector, motion) = (self.authority.sector, self.motion());
        let is_known = |(known, sent): &(SectorId, Motion)| *known == sector && !differs(sent, &motion);
        if !refresh && self.replication.motion_sent.as_ref().is_some_and(is_known) {
            return None;
        }
        self.replication.motion_sent = Some((sector, motion));
        Some((sector, motion))
    }
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
        if let Some((sector, motion)) = it.news(true) {
            motions.entry(sector).or_default().push(motion);
        }
        own_states.extend(it.input.map(|input| own_state(it.body, &it.flight, input, now)));
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

/// Shots, hits and beams that are sent in one sector.
#[derive(Default)]
struct Fire {
    shots: Vec<Shot>,
    hits: Vec<ShotHit>,
    beams: Vec<Beam>,
}

/// What is sent of shots and beams, by sector.
fn fire(shots: &Shots, beams: &Beams) -> BTreeMap<SectorId, Fire> {
    let mut fire: BTreeMap<SectorId, Fire> = BTreeMap::new();
    shots.to_send().for_each(|shot| fire.entry(shot.sector).or_default().shots.push(shot));
    shots.hits().for_each(|(sector, hit)| fire.entry(sector).or_default().hits.push(hit));
    beams.to_send().for_each(|(sector, beam)| fire.entry(sector).or_default().beams.push(beam));
    fire
}

/// Sends the motion of every sector.
pub(crate) fn publish_motion(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    shots: Res<Shots>,
    beams: Res<Beams>,
    mut lane: ResMut<Outbox<LaneDatagram>>,
    mut bodies: Query<Published>,
) {
    let now = clock.tick;
    let is_refreshed = |net_id: NetId| (now.0 + u64::from(net_id.0)).is_multiple_of(REFRESH_TICKS);
    let mut news: Vec<(SectorId, Motion)> = Vec::new();
    for mut it in &mut bodies {
        if it.may_differ() && !is_refreshed(it.body.net_id) {
            news.extend(it.news(false));
        }
    }
    for entity in registry.with_net_ids(is_refreshed) {
        news.extend(bodies.get_mut(entity).ok().and_then(|mut it| it.news(true)));
    }
    news.sort_unstable_by_key(|(sector, motion)| (*sector, motion.net_id));
    let mut fire = fire(&shots, &beams);
    let mut motions: Vec<Motion> = Vec::new();
    let mut send = |sector: SectorId, motions: &[Motion], Fire { shots, hits, beams }: Fire| {
        let parts = SectorNews { motions, shots: &shots, hits: &hits, beams: &beams };
        for packet in encode_sector_update(sector, now, parts) {
            lane.push(LaneDatagram(packet.bytes));
        }
    };
    for of_sector in news.chunk_by(|(one, _), (other, _)| one == other) {
        motions.clear();
        motions.extend(of_sector.iter().map(|(_, motion)| *motion));
        let sector = of_sector[0].0;
        send(sector, &motions, fire.remove(&sector).unwrap_or_default());
    }
    for (sector, fire) in fire {
        send(sector, &[], fire);
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
        .of(|kind| kind == EntityKind::Ship)
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
    bodies: &mut QueryState<(Entity, &Body, &mut Authority, &mut Replication), Without<PendingDeal>>,
) {
    let now = world.resource::<SimClock>().tick;
    let is_due =
        |replication: &Replication| replication.changed && now.since(replication.record_sent) >= RECORD_INTERVAL_TICKS;
    // While a deal is unsettled, the record in its answer may be the valid one.
    let mut due: Vec<(NetId, EntityId, Entity)> = bodies
        .iter(world)
        .filter(|(.., replication)| is_due(replication))
        .map(|(entity, body, ..)| (body.net_id, body.id, entity))
        .collect();
    due.sort_unstable();
    for (_, id, entity) in due {
        // While it leaves, the record in `Prepare` is the valid one.
        if world.resource::<Handoffs>().is_leaving(id) {
            continue;
        }
        let _at = suspect::at(id);
        let Ok((.., mut authority, mut replication)) = bodies.get_mut(world, entity) else { continue };
        replication.changed = false;
        replication.record_sent = now;
        authority.version += 1;
        let Some(record) = spawn::record(world, entity, now) else { continue };
        world.resource_mut::<Outbox<ToServer>>().push(ToServer::Record(Box::new(record)));
    }
}
