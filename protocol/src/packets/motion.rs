//! The motion plane: everything that moves in one sector at one tick, bit-packed.
//!
//! Shards send it to the server. The server packs what changed once per sector and tick and sends the same bytes to
//! every subscriber. Newest wins: the next packet repairs a lost one, or the rolling refresh does, which sends every
//! entity within a second.
//!
//! Layout after the kind byte: sector x and y (zigzag varints, groups of 8), tick (varint, groups of
//! 8), counts of motions (8 bits), shots, hits and beams (6 each). A motion: net id as the difference to the
//! one before (varint, groups of 4), position (2 × 17 bits), heading (11), engine (2), mining laser (1), tractor beam (1), one bit for
//! moving with velocity (2 × 14), one bit for turning with its rate (10). About 11 bytes. A shot:
//! shooter (varint, groups of 8), ticks since it was fired (zigzag varint, groups of 3), position,
//! velocity. A hit: the same name, target (varint, groups of 8), position. A beam: the same name, target
//! (zero for none), origin, and its end relative to that.

use crate::{
    DecodeError,
    limits::MAX_LANE_BYTES,
    packets::{
        bits::{BitReader, BitWriter, Quantiser, unzigzag, varint_bits, zigzag},
        lane,
        precision::{ANGLE, ANGULAR_VELOCITY, POSITION, VELOCITY},
    },
    rules::{
        flight::{FlightState, wrap_angle},
        shot::{BEAM_RANGE, Beam, MAX_SHOT_LEAD_TICKS, Shot, ShotHit, ShotId},
    },
    world::{ids::NetId, sector::SectorId, tick::SimTick},
};
use bevy::math::DVec2;

/// Motions in one packet at most: its count is 8 bits wide.
pub const MAX_MOTIONS: usize = 255;
/// Shots, and hits, in one packet at most: their counts are 6 bits wide.
pub const MAX_SHOTS: usize = 63;

/// What is visible of a ship's engine and tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineGlow {
    /// The main engine is on.
    pub thrust: bool,
    /// The booster is on.
    pub boost: bool,
    /// It mines. [`mined_rock`](crate::rules::economy::mined_rock) computes which rock.
    pub mining: bool,
    /// Its tractor beam is on. [`tractor::target`](crate::rules::tractor::target) computes what it pulls.
    pub tractor: bool,
}

/// One of the lights, by its bit in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Light {
    /// The main engine.
    Thrust = 0,
    /// The booster.
    Boost = 1,
    /// The mining laser.
    Mining = 2,
    /// The tractor beam.
    Tractor = 3,
}

impl Light {
    const ALL: [Self; 4] = [Self::Thrust, Self::Boost, Self::Mining, Self::Tractor];
}

/// Width of an [`EngineGlow`] in a packet, bits: one for each of its lights.
const GLOW_BITS: u32 = Light::ALL.len() as u32;

impl EngineGlow {
    /// The state of `light`.
    pub fn light(&mut self, light: Light) -> &mut bool {
        match light {
            Light::Thrust => &mut self.thrust,
            Light::Boost => &mut self.boost,
            Light::Mining => &mut self.mining,
            Light::Tractor => &mut self.tractor,
        }
    }

    fn bits(mut self) -> u64 {
        Light::ALL.into_iter().fold(0, |bits, light| bits | u64::from(*self.light(light)) << light as u8)
    }

    fn of_bits(bits: u64) -> Self {
        let mut glow = Self::default();
        for light in Light::ALL {
            *glow.light(light) = bits >> light as u8 & 1 == 1;
        }
        glow
    }
}

/// One entity's motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    /// Its net id.
    pub net_id: NetId,
    /// Its state at the packet's tick; world units.
    pub state: FlightState,
    /// Its engine.
    pub glow: EngineGlow,
}

/// Motion and shots of one sector at one tick. There may be several packets for one tick.
#[derive(Debug, Clone, PartialEq)]
pub struct SectorUpdate {
    /// The logical sector of everything in it.
    pub sector: SectorId,
    /// The tick after which the states hold.
    pub tick: SimTick,
    /// By strictly rising net ids.
    pub motions: Vec<Motion>,
    /// Shots fired in the last ticks; each is repeated in several packets.
    pub shots: Vec<Shot>,
    /// Shots that hit in the last ticks; each is repeated in several packets.
    pub hits: Vec<ShotHit>,
    /// Beams that were fired.
    pub beams: Vec<Beam>,
}

/// The content of a sector's update.
#[derive(Debug, Clone, Copy, Default)]
pub struct SectorNews<'a> {
    /// Motions, by strictly rising net id.
    pub motions: &'a [Motion],
    /// Shots that were fired.
    pub shots: &'a [Shot],
    /// Shots that hit.
    pub hits: &'a [ShotHit],
    /// Beams that were fired.
    pub beams: &'a [Beam],
}

/// One packet of [`encode_sector_update`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedUpdate {
    /// The datagram, kind byte included.
    pub bytes: Vec<u8>,
    /// How many motions it holds.
    pub motions: usize,
}

/// Packs a sector's motion into as many packets of at most [`MAX_LANE_BYTES`] as needed. An empty update makes no
/// packet. States are quantised, positions clamped to the range of [`POSITION`]. A decoded update
/// ([`SectorUpdate::decode`]) is packed with the same numbers.
///
/// ```
/// use sidereal_protocol::packets::motion::{EngineGlow, Motion, SectorNews, SectorUpdate, encode_sector_update};
/// use sidereal_protocol::rules::flight::FlightState;
/// use sidereal_protocol::world::{ids::NetId, sector::SectorId, tick::SimTick};
///
/// let sector = SectorId::new(3, -2);
/// let state = FlightState { position: sector.center(), angle: 0.5, ..FlightState::default() };
/// let motions = [Motion { net_id: NetId(7), state, glow: EngineGlow::default() }];
/// let packets = encode_sector_update(sector, SimTick(900), SectorNews { motions: &motions, ..SectorNews::default() });
/// let update = SectorUpdate::decode(&packets[0].bytes)?;
/// assert_eq!((update.sector, update.tick, update.motions[0].net_id), (sector, SimTick(900), NetId(7)));
/// assert!(update.motions[0].state.position.distance(sector.center()) < 0.05);
/// # Ok::<(), sidereal_protocol::DecodeError>(())
/// ```
///
/// # Panics
/// In debug builds, when net ids do not rise strictly: the caller sorts.
pub fn encode_sector_update(sector: SectorId, tick: SimTick, news: SectorNews<'_>) -> Vec<EncodedUpdate> {
    let mut packets = Vec::new();
    let SectorNews { mut motions, mut shots, mut hits, mut beams } = news;
    while !(motions.is_empty() && shots.is_empty() && hits.is_empty() && beams.is_empty()) {
        let mut bits = header_bits(sector, tick);
        let limit = MAX_LANE_BYTES * 8;
        // Shots and hits first: they are few, and useless when they arrive later than the motion.
        let shot_count = fitting(shots, MAX_SHOTS, limit, &mut bits, |_, shot| shot_bits(tick, &shot.id));
        let hit_count = fitting(hits, MAX_SHOTS, limit, &mut bits, |_, hit| hit_bits(tick, hit));
        let beam_count = fitting(beams, MAX_SHOTS, limit, &mut bits, |_, beam| beam_bits(tick, beam));
        let motion_count = fitting(motions, MAX_MOTIONS, limit, &mut bits, |previous, motion| {
            motion_bits(previous.map(|motion| motion.net_id), motion)
        });
        let packet = SectorNews {
            motions: &motions[..motion_count],
            shots: &shots[..shot_count],
            hits: &hits[..hit_count],
            beams: &beams[..beam_count],
        };
        let bytes = pack(sector, tick, packet);
        packets.push(EncodedUpdate { bytes, motions: motion_count });
        motions = &motions[motion_count..];
        shots = &shots[shot_count..];
        hits = &hits[hit_count..];
        beams = &beams[beam_count..];
    }
    packets
}

/// How many of `items` fit; adds their bits to `bits`.
fn fitting<T>(
    items: &[T],
    most: usize,
    limit: usize,
    bits: &mut usize,
    cost: impl Fn(Option<&T>, &T) -> usize,
) -> usize {
    let mut previous = None;
    let mut count = 0;
    for item in items.iter().take(most) {
        let with = *bits + cost(previous, item);
        if with > limit {
            break;
        }
        *bits = with;
        previous = Some(item);
        count += 1;
    }
    count
}

fn header_bits(sector: SectorId, tick: SimTick) -> usize {
    8 + varint_bits(zigzag(i64::from(sector.x)), 8)
        + varint_bits(zigzag(i64::from(sector.y)), 8)
        + varint_bits(tick.0, 8)
        + 8
        + 6
        + 6
        + 6
}

fn id_step(previous: Option<NetId>, id: NetId) -> u64 {
    match previous {
        Some(previous) => {
            debug_assert!(id > previous, "net ids rise strictly");
            u64::from(id.0.wrapping_sub(previous.0).wrapping_sub(1))
        }
        None => u64::from(id.0),
    }
}

fn motion_bits(previous: Option<NetId>, motion: &Motion) -> usize {
    let moving = is_moving(&motion.state);
    let turning = is_turning(&motion.state);
    varint_bits(id_step(previous, motion.net_id), 4)
        + 2 * POSITION.bits() as usize
        + ANGLE.bits() as usize
        + GLOW_BITS as usize
        + 1
        + if moving { 2 * VELOCITY.bits() as usize } else { 0 }
        + 1
        + if turning { ANGULAR_VELOCITY.bits() as usize } else { 0 }
}

fn shot_bits(now: SimTick, id: &ShotId) -> usize {
    shot_id_bits(now, id) + 2 * (POSITION.bits() + VELOCITY.bits()) as usize
}

fn hit_bits(now: SimTick, hit: &ShotHit) -> usize {
    shot_id_bits(now, &hit.id) + varint_bits(u64::from(hit.target.0), 8) + 2 * POSITION.bits() as usize
}

fn beam_bits(now: SimTick, beam: &Beam) -> usize {
    shot_id_bits(now, &beam.id)
        + varint_bits(u64::from(beam.target.map_or(0, |id| id.0)), 8)
        + 4 * POSITION.bits() as usize
}

fn shot_id_bits(now: SimTick, id: &ShotId) -> usize {
    varint_bits(u64::from(id.shooter.0), 8) + varint_bits(zigzag(shot_age(now, id)), 3)
}

/// Ticks since the shot was fired. Negative if it lies in the future of the sender's clock, by at most
/// [`MAX_SHOT_LEAD_TICKS`].
fn shot_age(now: SimTick, id: &ShotId) -> i64 {
    (now.0.wrapping_sub(id.tick.0) as i64).max(-(MAX_SHOT_LEAD_TICKS as i64))
}

/// Speeds below half a step of the velocity's quantisation count as at rest. A little less than half, because the steps
/// next to zero are there: forwarding a state must not bring it to rest.
const AT_REST_ERROR_BOUNDS: f64 = 0.999;

fn is_moving(state: &FlightState) -> bool {
    state.velocity.abs().max_element() > VELOCITY.error_bound() * AT_REST_ERROR_BOUNDS
}

fn is_turning(state: &FlightState) -> bool {
    state.angular_velocity.abs() > ANGULAR_VELOCITY.error_bound() * AT_REST_ERROR_BOUNDS
}

fn pack(sector: SectorId, tick: SimTick, news: SectorNews<'_>) -> Vec<u8> {
    let SectorNews { motions, shots, hits, beams } = news;
    let origin = sector.origin();
    let mut writer = BitWriter::with_capacity(32 + motions.len() * 12 + shots.len() * 12);
    writer.write(u64::from(lane::SECTOR_UPDATE), 8);
    writer.write_varint(zigzag(i64::from(sector.x)), 8);
    writer.write_varint(zigzag(i64::from(sector.y)), 8);
    writer.write_varint(tick.0, 8);
    writer.write(motions.len() as u64, 8);
    writer.write(shots.len() as u64, 6);
    writer.write(hits.len() as u64, 6);
    writer.write(beams.len() as u64, 6);
    let mut previous = None;
    for motion in motions {
        writer.write_varint(id_step(previous, motion.net_id), 4);
        previous = Some(motion.net_id);
        write_vector(&mut writer, &POSITION, motion.state.position - origin);
        ANGLE.write(&mut writer, wrap_angle(motion.state.angle));
        writer.write(motion.glow.bits(), GLOW_BITS);
        let moving = is_moving(&motion.state);
        writer.write_bool(moving);
        if moving {
            write_vector(&mut writer, &VELOCITY, motion.state.velocity);
        }
        let turning = is_turning(&motion.state);
        writer.write_bool(turning);
        if turning {
            ANGULAR_VELOCITY.write(&mut writer, motion.state.angular_velocity);
        }
    }
    for shot in shots {
        write_shot_id(&mut writer, tick, &shot.id);
        write_vector(&mut writer, &POSITION, shot.origin - origin);
        write_vector(&mut writer, &VELOCITY, shot.velocity);
    }
    for hit in hits {
        write_shot_id(&mut writer, tick, &hit.id);
        writer.write_varint(u64::from(hit.target.0), 8);
        write_vector(&mut writer, &POSITION, hit.position - origin);
    }
    for beam in beams {
        write_shot_id(&mut writer, tick, &beam.id);
        writer.write_varint(u64::from(beam.target.map_or(0, |id| id.0)), 8);
        write_vector(&mut writer, &POSITION, beam.origin - origin);
        write_vector(&mut writer, &POSITION, beam_reach(beam));
    }
    writer.finish()
}

/// The longest beam that a packet may contain, units: [`BEAM_RANGE`] plus rounding.
const LONGEST_BEAM: f64 = BEAM_RANGE + 1.0;

/// The end of a beam relative to its origin. No beam reaches further to any side than the range of [`POSITION`]. A
/// longer one is cut: receivers would reject its whole packet.
fn beam_reach(beam: &Beam) -> DVec2 {
    let reach = beam.end - beam.origin;
    match reach.length() {
        length if length <= LONGEST_BEAM => reach,
        length if length.is_finite() => reach * (BEAM_RANGE / length),
        _ => DVec2::ZERO,
    }
}

fn write_vector(writer: &mut BitWriter, quantiser: &Quantiser, vector: DVec2) {
    quantiser.write(writer, vector.x);
    quantiser.write(writer, vector.y);
}

fn write_shot_id(writer: &mut BitWriter, now: SimTick, id: &ShotId) {
    writer.write_varint(u64::from(id.shooter.0), 8);
    writer.write_varint(zigzag(shot_age(now, id)), 3);
}

/// The head of a [`SectorUpdate`]: all that a load test reads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorHead {
    /// The logical sector of everything in it.
    pub sector: SectorId,
    /// The tick after which the states hold.
    pub tick: SimTick,
    /// How many motions follow.
    pub motions: usize,
    /// How many shots follow.
    pub shots: usize,
    /// How many hits follow.
    pub hits: usize,
    /// How many beams follow.
    pub beams: usize,
}

impl SectorHead {
    /// Reads the head of a packet of [`encode_sector_update`], kind byte included. The rest is not checked.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut BitReader::new(bytes))
    }

    fn read(reader: &mut BitReader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.read(8)? as u8;
        if kind != lane::SECTOR_UPDATE {
            return Err(DecodeError::UnknownKind(kind));
        }
        let x = unzigzag(reader.read_varint(8)?);
        let y = unzigzag(reader.read_varint(8)?);
        let coordinate = |value: i64| i32::try_from(value).map_err(|_| DecodeError::OutOfRange("sector"));
        Ok(Self {
            sector: SectorId::new(coordinate(x)?, coordinate(y)?),
            tick: SimTick(reader.read_varint(8)?),
            motions: reader.read(8)? as usize,
            shots: reader.read(6)? as usize,
            hits: reader.read(6)? as usize,
            beams: reader.read(6)? as usize,
        })
    }
}

impl SectorUpdate {
    /// Its content, to be packed again.
    pub fn parts(&self) -> SectorNews<'_> {
        SectorNews { motions: &self.motions, shots: &self.shots, hits: &self.hits, beams: &self.beams }
    }

    /// Reads one packet of [`encode_sector_update`], kind byte included.
    ///
    /// # Errors
    /// Any [`DecodeError`]; a packet with an error is rejected completely.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_LANE_BYTES {
            return Err(DecodeError::TooLong { len: bytes.len(), limit: MAX_LANE_BYTES });
        }
        let mut reader = BitReader::new(bytes);
        let SectorHead { sector, tick, motions: motion_count, shots: shot_count, hits: hit_count, beams: beam_count } =
            SectorHead::read(&mut reader)?;
        let origin = sector.origin();
        let mut motions = Vec::with_capacity(motion_count);
        let mut previous: Option<NetId> = None;
        for _ in 0..motion_count {
            let motion = read_motion(&mut reader, origin, previous)?;
            previous = Some(motion.net_id);
            motions.push(motion);
        }
        let mut shots = Vec::with_capacity(shot_count);
        for _ in 0..shot_count {
            let id = read_shot_id(&mut reader, tick)?;
            let local = read_vector(&mut reader, &POSITION)?;
            let velocity = read_vector(&mut reader, &VELOCITY)?;
            shots.push(Shot { id, sector, origin: origin + local, velocity });
        }
        let mut hits = Vec::with_capacity(hit_count);
        for _ in 0..hit_count {
            let id = read_shot_id(&mut reader, tick)?;
            let target = read_net_id(&mut reader, 8)?;
            let position = origin + read_vector(&mut reader, &POSITION)?;
            hits.push(ShotHit { id, target, position });
        }
        let mut beams = Vec::with_capacity(beam_count);
        for _ in 0..beam_count {
            let id = read_shot_id(&mut reader, tick)?;
            let target = Some(read_net_id(&mut reader, 8)?).filter(|target| target.0 != 0);
            let from = origin + read_vector(&mut reader, &POSITION)?;
            let reach = read_vector(&mut reader, &POSITION)?;
            if reach.length() > LONGEST_BEAM {
                return Err(DecodeError::OutOfRange("beam"));
            }
            let end = from + reach;
            beams.push(Beam { id, origin: from, end, target });
        }
        Ok(Self { sector, tick, motions, shots, hits, beams })
    }
}

fn read_motion(reader: &mut BitReader<'_>, origin: DVec2, previous: Option<NetId>) -> Result<Motion, DecodeError> {
    let step = reader.read_varint(4)?;
    let id = match previous {
        Some(previous) => u64::from(previous.0).checked_add(step).and_then(|id| id.checked_add(1)),
        None => Some(step),
    };
    let net_id = id.and_then(|id| u32::try_from(id).ok()).map(NetId).ok_or(DecodeError::OutOfRange("net id"))?;
    let local = read_vector(reader, &POSITION)?;
    // The first step is -π, the same heading as π, which is the one in range.
    let angle = wrap_angle(ANGLE.read(reader)?);
    let glow = EngineGlow::of_bits(reader.read(GLOW_BITS)?);
    let velocity = if reader.read_bool()? { read_vector(reader, &VELOCITY)? } else { DVec2::ZERO };
    let angular_velocity = if reader.read_bool()? { ANGULAR_VELOCITY.read(reader)? } else { 0.0 };
    let state = FlightState { position: origin + local, velocity, angle, angular_velocity };
    Ok(Motion { net_id, state, glow })
}

fn read_vector(reader: &mut BitReader<'_>, quantiser: &Quantiser) -> Result<DVec2, DecodeError> {
    Ok(DVec2::new(quantiser.read(reader)?, quantiser.read(reader)?))
}

fn read_net_id(reader: &mut BitReader<'_>, group: u32) -> Result<NetId, DecodeError> {
    let id = reader.read_varint(group)?;
    u32::try_from(id).map(NetId).map_err(|_| DecodeError::OutOfRange("net id"))
}

fn read_shot_id(reader: &mut BitReader<'_>, now: SimTick) -> Result<ShotId, DecodeError> {
    let shooter = read_net_id(reader, 8)?;
    let age = unzigzag(reader.read_varint(3)?);
    if age < -(MAX_SHOT_LEAD_TICKS as i64) {
        return Err(DecodeError::OutOfRange("shot lead"));
    }
    let tick = now.0.checked_add_signed(-age).ok_or(DecodeError::OutOfRange("shot age"))?;
    Ok(ShotId { shooter, tick: SimTick(tick) })
}
