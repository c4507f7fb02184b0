//! Reads the lane: motion of others, shots, beams, and the states of the own ship.
//!
//! Runs in the player client and in bots. It only passes received data on; a datagram that cannot be decoded is counted
//! and dropped completely.

use crate::{
    FrameDelta,
    flight::piloting::Piloting,
    replication::{
        clock::ClientClock,
        interpolation::{Interpolation, Received},
    },
    session::{link::Session, stats::PlayStats},
    weapons::{arms::Arms, beams::BeamBook, shots::ShotBook},
};
use bevy::ecs::system::{Res, ResMut};
use sidereal_protocol::{
    DecodeError,
    packets::{
        bundle::parts,
        lane,
        motion::SectorUpdate,
        own_state::{OwnState, decode_own_states},
    },
    rules::tool::Tool,
};

/// The most datagrams read in one update; the rest waits in the transport's bounded queue. Nine sectors with two
/// packets each, for half a second.
const MAX_DATAGRAMS: usize = 512;

/// Advances the clocks.
pub(crate) fn pass_time(
    delta: Res<FrameDelta>,
    mut clock: ResMut<ClientClock>,
    mut interpolation: ResMut<Interpolation>,
) {
    clock.pass(delta.0);
    if clock.stood_still {
        interpolation.wake(clock.now_s);
    }
    interpolation.advance(clock.now_s, clock.delta_s);
}

/// Reads the received datagrams of the lane.
pub(crate) fn receive_lane(
    session: Res<Session>,
    clock: Res<ClientClock>,
    mut interpolation: ResMut<Interpolation>,
    mut shots: ResMut<ShotBook>,
    mut beams: ResMut<BeamBook>,
    mut arms: ResMut<Arms>,
    mut piloting: ResMut<Piloting>,
    mut stats: ResMut<PlayStats>,
) {
    for _ in 0..MAX_DATAGRAMS {
        let Some(bytes) = session.handle().recv_lane() else { break };
        for part in parts(&bytes) {
            match part.and_then(Content::decode) {
                Ok(Content::Sector(update)) => {
                    take_in_motions(&update, &clock, &mut interpolation, &mut stats);
                    take_in_shots(&update, &piloting, &mut shots, &mut stats);
                    take_in_beams(&update, &piloting, &mut beams, &mut arms, &mut stats);
                }
                Ok(Content::OwnStates(states)) => {
                    let own = piloting.own_net_id();
                    for state in states.iter().filter(|state| own == Some(state.net_id)) {
                        interpolation.clock.observe(state.tick, clock.now_s);
                        piloting.confirm(state, clock.now_s, &mut stats);
                    }
                }
                Err(error) => refuse(&mut stats, &error),
            }
        }
    }
}

/// A datagram, or a part of a bundle.
enum Content {
    Sector(SectorUpdate),
    OwnStates(Vec<OwnState>),
}

impl Content {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.first() {
            Some(&lane::SECTOR_UPDATE) => SectorUpdate::decode(bytes).map(Self::Sector),
            Some(&lane::OWN_STATES) => decode_own_states(bytes).map(Self::OwnStates),
            other => Err(DecodeError::UnknownKind(other.copied().unwrap_or(0))),
        }
    }
}

fn take_in_motions(
    update: &SectorUpdate,
    clock: &ClientClock,
    interpolation: &mut Interpolation,
    stats: &mut PlayStats,
) {
    interpolation.clock.observe(update.tick, clock.now_s);
    stats.motions_delivered += update.motions.len() as u64;
    for motion in &update.motions {
        match interpolation.receive(update.tick, motion, clock.now_s) {
            Received::Taken | Received::Stale => {}
            Received::Full => stats.motions_dropped += 1,
            Received::Jump => {
                stats.jumps += 1;
                tracing::warn!(net_id = %motion.net_id, tick = %update.tick, sector = %update.sector, "impossible step");
            }
        }
    }
}

fn take_in_shots(update: &SectorUpdate, piloting: &Piloting, shots: &mut ShotBook, stats: &mut PlayStats) {
    let own = piloting.own_net_id();
    for shot in &update.shots {
        let is_new = shots.receive(shot, own, piloting.fire_interval_ticks());
        stats.shots_fired += u64::from(is_new && own == Some(shot.id.shooter));
    }
    for hit in &update.hits {
        shots.hear_hit(hit, update.tick);
    }
}

fn take_in_beams(
    update: &SectorUpdate,
    piloting: &Piloting,
    beams: &mut BeamBook,
    arms: &mut Arms,
    stats: &mut PlayStats,
) {
    let own = piloting.own_net_id();
    for beam in &update.beams {
        if beams.receive(beam, own) && own == Some(beam.id.shooter) {
            arms.confirm(Tool::Beam, beam.id.tick);
            stats.beams_fired += 1;
        }
    }
}

fn refuse(stats: &mut PlayStats, reason: &dyn std::fmt::Display) {
    stats.malformed += 1;
    // The first few are logged; more would add nothing.
    if stats.malformed <= 5 {
        tracing::warn!(%reason, "unreadable lane datagram");
    }
}
