//! The own ship: hands to inputs, inputs to the server and to the prediction.
//!
//! Runs in the player client and in bots, at naia's ticks. It owns the link between the pure parts
//! ([`crate::inputs`], [`crate::prediction`], [`crate::clock::OwnClock`]) and the session.

use crate::{
    clock::{ClientClock, OwnClock},
    controls::PilotIntent,
    inputs::InputQueue,
    prediction::{Outcome, Prediction},
    session::Session,
    shots::ShotBook,
    stats::PlayStats,
};
use bevy::{
    ecs::{
        message::MessageReader,
        system::{Res, ResMut},
    },
    prelude::Resource,
};
use naia_bevy_client::{Client, DefaultClientTag, events::ClientTickEvent};
use sidereal_protocol::{
    flight::{Controls, HullKind},
    ids::{EntityId, NetId},
    input::{Input, InputPacket},
    limits::MAX_UNACKNOWLEDGED_INPUTS,
    own_state::OwnState,
    sector::SectorId,
    tick::SimTick,
};

/// The ship that the pilot is aboard, or will be when its first state comes.
#[derive(Resource, Debug)]
pub struct Piloting {
    ship: Option<(NetId, EntityId)>,
    hull: HullKind,
    prediction: Option<Prediction>,
    /// Inputs on their way.
    pub queue: InputQueue,
    /// The hands at the last tick.
    pub held: Controls,
    clock: OwnClock,
    own_at: f64,
    /// Ticks between an input and the tick that applies it, smoothed for drawing.
    lead: f64,
    paused: bool,
}

impl Default for Piloting {
    fn default() -> Self {
        Self {
            ship: None,
            hull: HullKind::Scout,
            prediction: None,
            queue: InputQueue::default(),
            held: Controls::default(),
            clock: OwnClock::default(),
            own_at: 0.0,
            lead: 0.0,
            paused: false,
        }
    }
}

impl Piloting {
    /// This ship is the pilot's from now on; it flies once its first state came.
    pub(crate) fn board(&mut self, net_id: NetId, id: EntityId) {
        self.queue.board();
        self.ship = Some((net_id, id));
        self.prediction = None;
        self.clock.reset();
    }

    /// The pilot has no ship any more.
    pub(crate) fn leave(&mut self) {
        self.queue.leave();
        self.ship = None;
        self.prediction = None;
    }

    /// Stops (or resumes) sampling the hands: what is on its way is still sent until acknowledged. For a
    /// clean end, after which every input is accounted for.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// The hull that is predicted: what the ship's identity says.
    pub(crate) fn set_hull(&mut self, hull: HullKind) {
        self.hull = hull;
    }

    /// Whether `net_id` is the pilot's ship.
    pub fn is_own(&self, net_id: NetId) -> bool {
        self.own_net_id() == Some(net_id)
    }

    /// The pilot's ship.
    pub fn own_net_id(&self) -> Option<NetId> {
        self.ship.map(|(net_id, _)| net_id)
    }

    /// The pilot's ship for ever.
    pub fn own_id(&self) -> Option<EntityId> {
        self.ship.map(|(_, id)| id)
    }

    /// The prediction, once the ship's first state came.
    pub fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_ref()
    }

    /// The hull that is predicted.
    pub fn hull(&self) -> HullKind {
        self.hull
    }

    /// Ticks between two shots.
    pub fn fire_interval_ticks(&self) -> u64 {
        self.hull.spec().fire_interval_ticks
    }

    /// The moment at which the own ship is drawn: in own ticks, and in ticks of the world.
    pub fn moment(&self) -> (f64, f64) {
        (self.own_at, self.own_at + self.lead)
    }

    /// Lets drawing go on by `delta_s`; `fraction` is the part of the tick that has passed.
    pub(crate) fn advance_drawing(&mut self, delta_s: f64, fraction: f64) {
        if let Some(prediction) = &mut self.prediction {
            prediction.decay(delta_s);
            self.own_at = self.clock.advance(delta_s, prediction.tick(), fraction);
            let lead = prediction.input_delay_ticks() as f64;
            self.lead += (lead - self.lead) * (1.0 - (-delta_s / 0.3).exp());
        }
    }

    /// Takes a state of the own ship.
    pub(crate) fn confirm(&mut self, own: &OwnState, now_s: f64, stats: &mut PlayStats) {
        stats.record_own_tick(own.tick.0);
        let sector = SectorId::containing(own.state.position);
        stats.visit(sector.x, sector.y);
        match &mut self.prediction {
            Some(prediction) => {
                if own.tick <= prediction.confirmed().tick {
                    return;
                }
                let from = prediction.confirmed().state.position;
                stats.distance_flown += from.distance(own.state.position);
                self.queue.confirm(own);
                let last = *prediction.confirmed();
                let outcome = prediction.reconcile(own, self.queue.pending());
                if let Outcome::Corrected(units) | Outcome::Snapped(units) = outcome {
                    tracing::debug!(
                        tick = %own.tick,
                        units,
                        ticks = own.tick.since(last.tick),
                        inputs = own.input_tick.since(last.input_tick),
                        applied = own.inputs_applied.saturating_sub(last.inputs_applied),
                        delay = own.tick.since(own.input_tick),
                        speed = own.state.velocity.length(),
                        "corrected"
                    );
                }
                stats.record_outcome(outcome, now_s);
            }
            None => {
                // An earlier session's inputs may be ahead of our clock: its stamps are taken.
                self.queue.start_after(own.input_tick);
                self.queue.confirm(own);
                self.prediction = Some(Prediction::new(self.hull, *own));
                self.lead = 0.0;
            }
        }
    }
}

/// Samples the hands once per tick, steps the own ship and sends what is unacknowledged.
pub(crate) fn pilot_ticks(
    mut ticks: MessageReader<ClientTickEvent<DefaultClientTag>>,
    client: Client<DefaultClientTag>,
    clock: Res<ClientClock>,
    intent: Res<PilotIntent>,
    mut session: ResMut<Session>,
    mut piloting: ResMut<Piloting>,
    mut shots: ResMut<ShotBook>,
    mut stats: ResMut<PlayStats>,
) {
    let mut due: Vec<SimTick> = ticks.read().filter_map(|event| session.sim_tick(event.tick)).collect();
    // After a standstill of the process only the newest ticks are worth an input.
    due.drain(..due.len().saturating_sub(MAX_UNACKNOWLEDGED_INPUTS / 2));
    let piloting = &mut *piloting;
    if piloting.prediction.is_some() {
        let has_tick = !due.is_empty();
        for tick in due {
            sample(piloting, &mut shots, tick, intent.controls);
        }
        if has_tick && !piloting.queue.is_empty() {
            session.handle().send_lane(InputPacket::encode(piloting.queue.pending()).into());
        }
        stats.seconds_in_space += clock.delta_s;
    }
    let fraction = client.client_interpolation().map_or(0.0, f64::from);
    piloting.advance_drawing(clock.delta_s, fraction);
}

fn sample(piloting: &mut Piloting, shots: &mut ShotBook, tick: SimTick, controls: Controls) {
    let input = Input { tick, controls, view_lag: 0 };
    if piloting.paused || !piloting.queue.push(input) {
        return;
    }
    let Some(prediction) = &mut piloting.prediction else { return };
    prediction.advance(input);
    piloting.held = controls;
    if controls.holds(Controls::FIRE)
        && !prediction.is_stalled()
        && let Some((shooter, _)) = piloting.ship
    {
        let applied_at = tick + prediction.input_delay_ticks();
        shots.fire(shooter, applied_at, prediction.state(), prediction.muzzle(), prediction.spec().fire_interval_ticks);
    }
}
