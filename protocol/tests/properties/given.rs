//! Test values: what the processes send to each other, including the ends of every range.

use proptest::{collection, num, option, prelude::*};
use sidereal_protocol::{
    DVec2,
    frames::{
        control::{GhostImpact, ImpactCause, Lease, RefuseReason, ShipInputs, ToServer, ToShard},
        messages::Credential,
    },
    limits::MAX_NAME_BYTES,
    packets::{
        input::Input,
        motion::{EngineGlow, Motion, SectorUpdate},
        own_state::OwnState,
    },
    record::{
        EntityKind, EntityRecord,
        formats::{Format1, Format2, Format3, OldMind, OldPilot, OldWarhead},
    },
    rules::{
        economy::{Bargain, DealKey, DealRefusal, Goods, OreMove, Weapon},
        flight::{Controls, FlightState, HullKind},
        shot::{BEAM_RANGE, Beam, MAX_SHOT_LEAD_TICKS, Shot, ShotHit, ShotId},
    },
    world::{
        ids::{AccountId, EntityId, NetId, NetIdBlock, ShardId},
        sector::{SECTOR_SIZE, SectorId},
        tick::SimTick,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    f64::consts::PI,
    ops::RangeInclusive,
};
use uuid::Uuid;

/// Every finite number, the smallest and the largest among them.
pub fn finite() -> impl Strategy<Value = f64> {
    let any = num::f64::POSITIVE | num::f64::NEGATIVE | num::f64::NORMAL | num::f64::SUBNORMAL | num::f64::ZERO;
    prop_oneof![8 => any, 1 => Just(f64::MAX), 1 => Just(f64::MIN), 1 => Just(0.0)]
}

/// Numbers that no state may contain.
pub fn not_finite() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)]
}

pub fn finite_vector() -> impl Strategy<Value = DVec2> {
    (finite(), finite()).prop_map(|(x, y)| DVec2::new(x, y))
}

/// A vector with both components from `-reach` to `reach`, on the edges and at rest now and then.
pub fn vector(reach: f64) -> impl Strategy<Value = DVec2> {
    let along = move || prop_oneof![8 => -reach..=reach, 1 => Just(0.0), 1 => Just(reach), 1 => Just(-reach)];
    (along(), along()).prop_map(|(x, y)| DVec2::new(x, y))
}

/// Headings in (-π, π], many of them beside the seam.
pub fn angle() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -PI..=PI,
        2 => (0.0..1e-2).prop_map(|short| PI - short),
        2 => (1e-15..1e-2).prop_map(|past| -PI + past),
        1 => Just(PI),
        1 => Just((-PI).next_up()),
        1 => Just(0.0),
    ]
}

pub fn finite_state() -> impl Strategy<Value = FlightState> {
    (finite_vector(), finite_vector(), finite(), finite()).prop_map(|(position, velocity, angle, angular_velocity)| {
        FlightState { position, velocity, angle, angular_velocity }
    })
}

pub fn controls() -> impl Strategy<Value = Controls> {
    let axis = || prop_oneof![6 => any::<i8>(), 1 => Just(0), 1 => Just(127), 1 => Just(-128)];
    (axis(), axis(), any::<u8>()).prop_map(|(thrust, turn, buttons)| Controls { thrust, turn, buttons })
}

/// Every hull that flies.
pub fn hull_kind() -> impl Strategy<Value = HullKind> {
    prop_oneof![3 => sold_hull(), 1 => Just(HullKind::Drone), 1 => Just(HullKind::Missile)]
}

/// Every hull that a player's ship can have.
pub fn sold_hull() -> impl Strategy<Value = HullKind> {
    prop_oneof![Just(HullKind::Scout), Just(HullKind::Hauler), Just(HullKind::Gunship)]
}

/// Addresses near the origin, anywhere, and at the ends.
pub fn sector() -> impl Strategy<Value = SectorId> {
    let along = || prop_oneof![4 => -9..=9, 4 => any::<i32>(), 1 => Just(i32::MIN), 1 => Just(i32::MAX)];
    (along(), along()).prop_map(|(x, y)| SectorId::new(x, y))
}

pub fn tick() -> impl Strategy<Value = SimTick> {
    prop_oneof![4 => 0..100_000u64, 4 => any::<u64>(), 1 => Just(u64::MAX)].prop_map(SimTick)
}

fn net_id() -> impl Strategy<Value = NetId> {
    prop_oneof![4 => 0..200_000u32, 4 => any::<u32>(), 1 => Just(u32::MAX)].prop_map(NetId)
}

pub fn entity_id() -> impl Strategy<Value = EntityId> {
    any::<u128>().prop_map(|id| EntityId(Uuid::from_u128(id)))
}

/// At most so many motions, and so many shots, hits and beams each; positions and speeds cover the range of a packet.
pub fn news(motions: usize, events: usize) -> impl Strategy<Value = SectorUpdate> {
    let tick = prop_oneof![4 => 0..100_000u64, 1 => 0..u64::MAX / 2].prop_map(SimTick);
    (sector(), tick).prop_flat_map(move |(sector, tick)| {
        (
            Just(sector),
            Just(tick),
            collection::btree_map(net_id(), motion_in(sector), 0..=motions),
            collection::vec(shot_in(sector, tick), 0..=events),
            collection::vec(hit_in(sector, tick), 0..=events),
            collection::vec(beam_in(sector, tick), 0..=events),
        )
            .prop_map(|(sector, tick, motions, shots, hits, beams)| SectorUpdate {
                sector,
                tick,
                motions: named(motions),
                shots,
                hits,
                beams,
            })
    })
}

fn named(motions: BTreeMap<NetId, Motion>) -> Vec<Motion> {
    motions.into_iter().map(|(net_id, motion)| Motion { net_id, ..motion }).collect()
}

/// From half a sector before `sector` to half a sector behind it.
pub fn position_near(sector: SectorId) -> impl Strategy<Value = DVec2> {
    vector(SECTOR_SIZE).prop_map(move |from_center| sector.center() + from_center)
}

fn motion_in(sector: SectorId) -> impl Strategy<Value = Motion> {
    let velocity = prop_oneof![4 => vector(1024.0), 1 => vector(0.2), 1 => Just(DVec2::ZERO)];
    let angular_velocity = prop_oneof![4 => -8.0..=8.0f64, 1 => -0.02..0.02f64, 1 => Just(0.0)];
    (position_near(sector), velocity, angle(), angular_velocity, any::<[bool; 4]>()).prop_map(
        |(position, velocity, angle, angular_velocity, [thrust, boost, mining, tractor])| Motion {
            net_id: NetId(0),
            state: FlightState { position, velocity, angle, angular_velocity },
            glow: EngineGlow { thrust, boost, mining, tractor },
        },
    )
}

/// A shot fired up to the farthest that a packet of `now` may be behind it.
fn shot_id(now: SimTick) -> impl Strategy<Value = ShotId> {
    let lead = now.0..=now.0.saturating_add(MAX_SHOT_LEAD_TICKS);
    let tick = prop_oneof![2 => now.0.saturating_sub(12)..=now.0, 2 => lead, 1 => 0..=now.0].prop_map(SimTick);
    (net_id(), tick).prop_map(|(shooter, tick)| ShotId { shooter, tick })
}

fn shot_in(sector: SectorId, now: SimTick) -> impl Strategy<Value = Shot> {
    (shot_id(now), position_near(sector), vector(1024.0))
        .prop_map(move |(id, origin, velocity)| Shot::new(id, sector, origin, velocity))
}

fn hit_in(sector: SectorId, now: SimTick) -> impl Strategy<Value = ShotHit> {
    (shot_id(now), net_id(), position_near(sector)).prop_map(|(id, target, position)| ShotHit { id, target, position })
}

/// A beam to any side, sometimes of no length or of the whole range; net id 0 means no target.
fn beam_in(sector: SectorId, now: SimTick) -> impl Strategy<Value = Beam> {
    let length = prop_oneof![4 => 0.0..=BEAM_RANGE, 1 => Just(BEAM_RANGE), 1 => Just(0.0)];
    let target = option::of(net_id().prop_filter("nobody", |target| target.0 != 0));
    (shot_id(now), target, position_near(sector), angle(), length).prop_map(|(id, target, origin, angle, length)| {
        Beam { id, origin, end: origin + DVec2::from_angle(angle) * length, target }
    })
}

/// At most `most` inputs with rising ticks, close together and far apart, held and changed controls.
pub fn inputs(most: usize) -> impl Strategy<Value = Vec<Input>> {
    let one_by_one = (0..1_000_000u64, 0..=most).prop_map(|(first, count)| (first..).take(count).collect());
    let anywhere = collection::btree_set(any::<u64>(), 0..=most);
    let ticks = prop_oneof![one_by_one.boxed(), anywhere.boxed()];
    let hands = (collection::vec(controls(), 1..=4), collection::vec((0..4usize, any::<u8>()), most));
    (ticks, hands).prop_map(|(ticks, (hands, choices)): (BTreeSet<u64>, _)| {
        let input = |(tick, (choice, lag)): (u64, (usize, u8))| {
            let controls: Controls = hands[choice % hands.len()];
            let view_lag = if controls.holds(Controls::BEAM) { lag } else { 0 };
            Input { tick: SimTick(tick), controls, view_lag }
        };
        ticks.into_iter().zip(choices).map(input).collect()
    })
}

pub fn own_state() -> impl Strategy<Value = OwnState> {
    (net_id(), any::<u32>(), tick(), tick(), any::<u64>(), finite_state()).prop_map(
        |(net_id, boarding, tick, input_tick, inputs_applied, state)| OwnState {
            net_id,
            boarding,
            tick,
            input_tick,
            inputs_applied,
            state,
        },
    )
}

/// Every record that [`EntityRecord::validate`] lets pass, many of them with sections that nobody here knows.
pub fn record() -> impl Strategy<Value = EntityRecord> {
    (format_3(), collection::btree_map(UNKNOWN_SECTIONS, (any::<u8>(), bytes(40)), 0..3)).prop_map(|(old, unknown)| {
        let mut record = EntityRecord::try_from(old).expect("such a record was stored");
        for (id, (version, bytes)) in unknown {
            record.sections.put(id, version, &bytes);
        }
        record
    })
}

/// Numbers of sections that this build does not know.
pub const UNKNOWN_SECTIONS: RangeInclusive<u16> = 1000..=u16::MAX;

/// At most `most` bytes.
pub fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    collection::vec(any::<u8>(), 0..=most)
}

/// Every record of the last format without sections that was stored.
pub fn format_3() -> impl Strategy<Value = Format3> {
    let kind = prop_oneof![
        sold_hull().prop_map(|hull| (EntityKind::Ship, Some(hull))),
        Just((EntityKind::Drone, Some(HullKind::Drone))),
        Just((EntityKind::Missile, Some(HullKind::Missile))),
        Just((EntityKind::Asteroid, None)),
        Just((EntityKind::Station, None)),
        Just((EntityKind::Crate, None)),
    ];
    let who = (entity_id(), net_id(), kind, option::of(any::<u128>()), name(MAX_NAME_BYTES));
    let when = (any::<[u64; 2]>(), tick(), [waiting(), waiting()], sector());
    let how = (finite_state(), f64::MIN_POSITIVE..=500.0, any::<[u16; 2]>());
    let mind = (finite_vector(), finite(), option::of(entity_id())).prop_map(|(home, patrol_phase, target)| OldMind {
        home,
        patrol_phase,
        target,
    });
    let fire = (waiting(), waiting(), entity_id(), option::of(entity_id()), tick());
    let trade = (option::of(entity_id()), 0..8u8, any::<u32>(), waiting());
    let minds = (option::of(pilot()), option::of(mind));
    (who, when, how, minds, fire, trade).prop_map(|(who, when, how, (pilot, mind), fire, trade)| {
        let (docked, fitted, ore, expires) = trade;
        let (launcher_ready, beam_ready, shooter, target, ends) = fire;
        let (id, net_id, (kind, hull_kind), owner, name) = who;
        let ([epoch, version], tick, [weapon_ready, settled_at], sector) = when;
        let (state, radius, [one, other]) = how;
        let body = Format1 {
            id,
            net_id,
            kind,
            hull_kind,
            owner: owner.map(|owner| AccountId(Uuid::from_u128(owner))),
            name,
            epoch,
            version,
            tick,
            sector,
            state,
            radius,
            hull: one.min(other),
            hull_max: one.max(other),
            weapon_ready,
            settled_at,
            pilot,
            mind,
        };
        let warhead = (kind == EntityKind::Missile).then_some(OldWarhead { shooter, target, expires: ends });
        let before = Format2 { before: body, launcher_ready, beam_ready, warhead };
        let docked = docked.filter(|_| kind == EntityKind::Ship);
        Format3 { before, docked, fitted, ore, expires }
    })
}

/// The end of a waiting time; zero for none.
fn waiting() -> impl Strategy<Value = SimTick> {
    prop_oneof![1 => Just(SimTick(0)), 2 => tick()]
}

fn pilot() -> impl Strategy<Value = OldPilot> {
    (any::<u32>(), tick(), any::<u64>(), controls(), any::<u8>(), any::<u8>()).prop_map(
        |(boarding, last_input, inputs_applied, controls, input_delay_ticks, rewind)| OldPilot {
            boarding,
            last_input,
            inputs_applied,
            controls: (controls.thrust, controls.turn, controls.buttons),
            input_delay_ticks,
            rewind,
        },
    )
}

/// Text of every script, at most `most` bytes of UTF-8.
fn name(most: usize) -> impl Strategy<Value = String> {
    ".{0,64}".prop_map(move |mut text: String| {
        text.truncate(text.floor_char_boundary(most));
        text
    })
}

pub fn credential() -> impl Strategy<Value = Credential> {
    ("(?s).{0,200}", name(100)).prop_map(|(secret, name)| Credential { secret, name })
}

fn shot() -> impl Strategy<Value = Shot> {
    (net_id(), tick(), sector(), finite_vector(), finite_vector()).prop_map(
        |(shooter, tick, sector, origin, velocity)| Shot { id: ShotId { shooter, tick }, sector, origin, velocity },
    )
}

fn impact() -> impl Strategy<Value = GhostImpact> {
    let shot = || (net_id(), tick()).prop_map(|(shooter, tick)| ShotId { shooter, tick });
    let cause = prop_oneof![
        shot().prop_map(ImpactCause::Bullet),
        shot().prop_map(ImpactCause::Beam),
        shot().prop_map(ImpactCause::Tractor),
        entity_id().prop_map(ImpactCause::Missile),
        entity_id().prop_map(|other| ImpactCause::Contact { other }),
    ];
    (entity_id(), option::of(entity_id()), cause, finite_vector(), any::<u16>(), tick()).prop_map(
        |(target, source, cause, impulse, damage, tick)| GhostImpact { target, source, cause, impulse, damage, tick },
    )
}

fn leases() -> impl Strategy<Value = Vec<Lease>> {
    collection::vec((sector(), any::<u64>()).prop_map(|(sector, epoch)| Lease { sector, epoch }), 0..=16)
}

pub fn net_ids() -> impl Strategy<Value = NetIdBlock> {
    any::<[u32; 2]>().prop_map(|[next, end]| NetIdBlock { next, end })
}

fn ship_inputs() -> impl Strategy<Value = ShipInputs> {
    (entity_id(), any::<u32>(), any::<u8>(), inputs(20)).prop_map(|(id, boarding, rewind, inputs)| ShipInputs {
        id,
        boarding,
        rewind,
        inputs,
    })
}

pub fn to_shard() -> impl Strategy<Value = ToShard> {
    prop_oneof![
        (any::<u32>(), tick(), any::<u16>(), any::<u64>(), net_ids()).prop_map(
            |(shard, sim_tick, naia_tick, id_seed, net_ids)| ToShard::Welcome {
                shard: ShardId(shard),
                sim_tick,
                naia_tick,
                id_seed,
                net_ids,
            },
        ),
        net_ids().prop_map(ToShard::NetIds),
        (leases(), collection::vec(record(), 0..=4)).prop_map(|(leases, records)| ToShard::Grant { leases, records }),
        record().prop_map(|record| ToShard::Offer { record: Box::new(record) }),
        (record(), inputs(20)).prop_map(|(record, inputs)| ToShard::Commit { record: Box::new(record), inputs }),
        (entity_id(), any::<u64>()).prop_map(|(id, epoch)| ToShard::Release { id, epoch }),
        (entity_id(), any::<u32>()).prop_map(|(id, attempt)| ToShard::Abort { id, attempt }),
        prop::collection::vec(ship_inputs(), 0..4).prop_map(ToShard::Inputs),
        entity_id().prop_map(|id| ToShard::Withdraw { id }),
        impact().prop_map(ToShard::Impact),
        shot().prop_map(ToShard::Shot),
        (deal_key(), entity_id(), bargain(), option::of(entity_id()))
            .prop_map(|(key, ship, bargain, partner)| ToShard::Deal { key, ship, bargain, partner }),
        (deal_key(), entity_id(), any::<bool>()).prop_map(|(key, ship, done)| ToShard::Settled { key, ship, done }),
        (entity_id(), any::<u32>()).prop_map(|(id, ore)| ToShard::Holdings { id, ore }),
        Just(ToShard::Drain),
    ]
}

pub fn to_server() -> impl Strategy<Value = ToServer> {
    let reason =
        prop_oneof![Just(RefuseReason::NoLease), Just(RefuseReason::AlreadyOwned), Just(RefuseReason::BadRecord)];
    let census = collection::vec((net_id(), any::<u64>()), 0..=60);
    prop_oneof![
        (record(), sector(), any::<u32>()).prop_map(|(record, to, attempt)| ToServer::Prepare {
            record: Box::new(record),
            to,
            attempt
        }),
        (entity_id(), any::<u64>()).prop_map(|(id, epoch)| ToServer::Accept { id, epoch }),
        (entity_id(), any::<u64>(), reason).prop_map(|(id, epoch, reason)| ToServer::Refuse { id, epoch, reason }),
        (entity_id(), any::<u64>(), tick(), any::<u32>()).prop_map(|(id, epoch, tick, waited_us)| ToServer::Adopted {
            id,
            epoch,
            tick,
            waited_us
        }),
        record().prop_map(|record| ToServer::Record(Box::new(record))),
        (entity_id(), any::<[u64; 2]>(), tick(), option::of(entity_id()), option::of(record())).prop_map(
            |(id, [epoch, version], tick, by, wreck)| ToServer::Destroyed {
                id,
                epoch,
                version,
                tick,
                by,
                wreck: wreck.map(Box::new)
            },
        ),
        (entity_id(), entity_id(), any::<u32>()).prop_map(|(from, to, ore)| ToServer::OreMove(OreMove {
            from,
            to,
            ore
        })),
        (deal_key(), entity_id(), verdict()).prop_map(|(key, ship, verdict)| ToServer::Deal { key, ship, verdict }),
        record().prop_map(|record| ToServer::Withdrawn { record: Box::new(record) }),
        impact().prop_map(ToServer::Impact),
        (shot(), sector()).prop_map(|(shot, to)| ToServer::Shot { shot, to }),
        (tick(), census, any::<u64>()).prop_map(|(tick, entities, inputs_applied)| ToServer::Census {
            tick,
            entities,
            inputs_applied
        }),
        Just(ToServer::Drained),
        proptest::option::of(entity_id()).prop_map(|at| ToServer::Crashed { at }),
    ]
}

fn deal_key() -> impl Strategy<Value = DealKey> {
    any::<u128>().prop_map(|key| DealKey(Uuid::from_u128(key)))
}

fn goods() -> impl Strategy<Value = Goods> {
    (any::<u32>(), 0..=sidereal_protocol::rules::economy::MAX_AMOUNT).prop_map(|(ore, credits)| Goods { ore, credits })
}

/// Every bargain that is in range.
pub fn bargain() -> impl Strategy<Value = Bargain> {
    let sold = prop_oneof![Just(HullKind::Scout), Just(HullKind::Hauler), Just(HullKind::Gunship)];
    prop_oneof![
        Just(Bargain::Dock),
        Just(Bargain::Undock),
        (1..=u32::MAX).prop_map(|ore| Bargain::Sell { ore }),
        sold.prop_map(Bargain::BuyHull),
        prop_oneof![Just(Weapon::RapidGun), Just(Weapon::HeavyBeam), Just(Weapon::FastLauncher)]
            .prop_map(Bargain::BuyWeapon),
        Just(Bargain::Repair),
        (1..=u32::MAX).prop_map(|ore| Bargain::Store { ore }),
        (1..=u32::MAX).prop_map(|ore| Bargain::Take { ore }),
        (net_id(), goods(), goods())
            .prop_filter("for nothing", |(_, give, want)| !(give.is_nothing() && want.is_nothing()))
            .prop_map(|(to, give, want)| Bargain::Offer { to, give, want }),
        Just(Bargain::Accept),
        Just(Bargain::Decline),
    ]
}

fn verdict() -> impl Strategy<Value = Result<Option<Box<EntityRecord>>, DealRefusal>> {
    prop_oneof![
        option::of(record()).prop_map(|record| Ok(record.map(Box::new))),
        prop_oneof![Just(DealRefusal::NotMine), Just(DealRefusal::TooFast), Just(DealRefusal::Whole)].prop_map(Err),
    ]
}
