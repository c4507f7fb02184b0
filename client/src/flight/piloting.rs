//! The own ship: from controls to inputs, and from inputs to the server and the prediction.
//!
//! Runs in the player client and in bots, at the ticks of its own clock. It connects the pure parts
//! ([`crate::flight::inputs`], [`crate::flight::prediction`], [`crate::replication::clock::OwnClock`]) with the session.

use crate::{
    flight::{
        controls::PilotIntent,
        inputs::InputQueue,
        prediction::{Outcome, Prediction},
    },
    replication::{
        clock::{ClientClock, OwnClock, PlaybackClock},
        interpolation::Interpolation,
        remote_entities::RemoteEntities,
    },
    session::{link::Session, stats::PlayStats},
    weapons::{
        arms::Arms,
        beams::{self, BeamBook},
        shots::ShotBook,
    },
};
use bevy::{
    ecs::system::{Res, ResMut, SystemParam},
    prelude::Resource,
};
use naia_bevy_client::{Client, DefaultClientTag};
use sidereal_protocol::{
    packets::{
        input::{Input, InputPacket},
        own_state::OwnState,
    },
    rules::{
        economy::Fitted,
        flight::{Controls, HullKind},
        shot::{Beam, ShotId},
        tool::Tool,
    },
    world::{
        ids::{EntityId, NetId},
        sector::SectorId,
        tick::SimTick,
    },
};

/// The player's ship, or the one that it will be with its first state.
#[derive(Resource, Debug)]
pub struct Piloting {
    ship: Option<(NetId, EntityId)>,
    hull: HullKind,
    prediction: Option<Prediction>,
    /// Inputs on their way.
    pub queue: InputQueue,
    /// The controls of the last frame: the next tick's input, if they stay. Drawing uses them at once.
    pub held: Controls,
    clock: OwnClock,
    own_at: f64,
    /// Ticks between an input and the tick that applies it, smoothed for drawing.
    lead: f64,
    paused: bool,
    mooring: DockState,
    fitted: Fitted,
}

/// How the ship is held by a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DockState {
    /// Not at all.
    #[default]
    Free,
    /// It has requested to dock: its shard ignores its controls until that is settled.
    Docking,
    /// It is docked: its shard holds it in place.
    Docked,
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
            mooring: DockState::Free,
            fitted: Fitted::default(),
        }
    }
}

impl Piloting {
    /// This is the player's ship from now on; it flies after its first state.
    pub(crate) fn board(&mut self, net_id: NetId, id: EntityId) {
        self.queue.board();
        self.ship = Some((net_id, id));
        self.prediction = None;
        self.clock.reset();
    }

    /// The player has no ship any more.
    pub(crate) fn leave(&mut self) {
        self.queue.leave();
        self.ship = None;
        self.prediction = None;
    }

    /// Stops (or resumes) sampling the controls. Inputs on their way are still sent until acknowledged. For a clean
    /// end, after which every input is accounted for.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// The predicted hull, from the ship's identity.
    pub(crate) fn set_hull(&mut self, hull: HullKind) {
        if self.hull != hull {
            self.hull = hull;
            if let Some(prediction) = &mut self.prediction {
                prediction.refit(hull);
            }
        }
    }

    /// The weapons that are fitted to the ship.
    pub(crate) fn set_fitted(&mut self, fitted: Fitted) {
        self.fitted = fitted;
    }

    /// Binds the ship to a station, or frees it. The controls of a bound ship have no effect.
    pub(crate) fn moor(&mut self, mooring: DockState) {
        self.mooring = mooring;
        if let Some(prediction) = &mut self.prediction {
            prediction.hold(mooring == DockState::Docked);
        }
    }

    /// Whether the controls have no effect: the ship is docked, or about to be.
    pub fn is_moored(&self) -> bool {
        self.mooring != DockState::Free
    }

    /// Whether `net_id` is the player's ship.
    pub fn is_own(&self, net_id: NetId) -> bool {
        self.own_net_id() == Some(net_id)
    }

    /// The player's ship.
    pub fn own_net_id(&self) -> Option<NetId> {
        self.ship.map(|(net_id, _)| net_id)
    }

    /// The permanent id of the player's ship.
    pub fn own_id(&self) -> Option<EntityId> {
        self.ship.map(|(_, id)| id)
    }

    /// The prediction, after the ship's first state.
    pub fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_ref()
    }

    /// The predicted hull.
    pub fn hull(&self) -> HullKind {
        self.hull
    }

    /// Ticks between two shots.
    pub fn fire_interval_ticks(&self) -> u64 {
        Tool::Gun.interval_ticks(Some(self.hull), self.fitted)
    }

    /// The moment at which the own ship is drawn: in own ticks, and in ticks of the world.
    pub fn moment(&self) -> (f64, f64) {
        (self.own_at, self.own_at + self.lead)
    }

    /// The tick of the world in which the next input fires, if the trigger is held and the controls have effect.
    pub(crate) fn fires_at(&self) -> Option<SimTick> {
        let prediction = self.prediction.as_ref()?;
        let answers = Tool::Gun.is_held(self.held) && !self.paused && !prediction.is_stalled();
        answers.then(|| prediction.tick() + 1 + prediction.input_delay_ticks())
    }

    /// Advances drawing by `delta_s`, up to the clock.
    pub(crate) fn advance_drawing(&mut self, delta_s: f64) {
        if let Some(prediction) = &mut self.prediction {
            prediction.decay(delta_s);
            // The future beyond the next input is unknown.
            self.own_at = self.clock.at().min(prediction.tick().0 as f64 + 1.0);
            let lead = prediction.input_delay_ticks() as f64;
            self.lead += (lead - self.lead) * (1.0 - (-delta_s / 0.3).exp());
        }
    }

    /// Receives a state of the own ship.
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
                let outcome = prediction.reconcile(own, self.queue.pending(), (self.own_at, self.held));
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
                // An earlier session's inputs may be ahead of our clock: its stamps are used up.
                self.queue.start_after(own.input_tick);
                self.queue.confirm(own);
                let mut prediction = Prediction::new(self.hull, *own);
                prediction.hold(self.mooring == DockState::Docked);
                self.prediction = Some(prediction);
                self.lead = 0.0;
            }
        }
    }
}

/// The own ship's weapons, and the possible targets.
#[derive(SystemParam)]
pub(crate) struct Weapons<'w> {
    shots: ResMut<'w, ShotBook>,
    beams: ResMut<'w, BeamBook>,
    arms: ResMut<'w, Arms>,
    interpolation: Res<'w, Interpolation>,
    remote_entities: Res<'w, RemoteEntities>,
}

/// Samples the controls once per tick, steps the own ship and sends unacknowledged inputs.
pub(crate) fn pilot_ticks(
    client: Client<DefaultClientTag>,
    clock: Res<ClientClock>,
    intent: Res<PilotIntent>,
    mut session: ResMut<Session>,
    mut piloting: ResMut<Piloting>,
    mut weapons: Weapons,
    mut stats: ResMut<PlayStats>,
) {
    let piloting = &mut *piloting;
    if clock.stood_still {
        piloting.clock.reset();
    }
    if let Some(wanted) = naias_moment(&client, &mut session)
        && piloting.prediction.is_some()
    {
        let due = piloting.clock.advance(clock.delta_s, wanted);
        let has_tick = !due.is_empty();
        // Controls that were held before a standstill may have been released meanwhile: the next tick shows it.
        let is_idle = piloting.is_moored() || clock.stood_still;
        let controls = if is_idle { Controls::default() } else { intent.controls };
        if !piloting.paused {
            piloting.held = controls;
        }
        for tick in due {
            sample(piloting, &mut weapons, tick, controls, clock.now_s, &mut stats);
        }
        if has_tick && !piloting.queue.is_empty() {
            session.handle().send_lane(InputPacket::encode(piloting.queue.pending()).into());
        }
        stats.seconds_in_space += clock.delta_s;
    }
    piloting.advance_drawing(clock.delta_s);
}

/// The moment of naia's clock for inputs, ticks of the world; `None` before the welcome.
fn naias_moment(client: &Client<DefaultClientTag>, session: &mut Session) -> Option<f64> {
    let tick = session.sim_tick(client.client_tick()?)?;
    Some(tick.0 as f64 + client.client_interpolation().map_or(0.0, f64::from))
}

/// How far behind `tick` others are drawn, quarters of a tick; [`u8::MAX`] means that or more.
fn view_lag(playback: &PlaybackClock, tick: SimTick) -> u8 {
    if !playback.is_running() {
        return 0;
    }
    // The cast saturates.
    ((tick.0 as f64 - playback.play()) * 4.0).round() as u8
}

fn sample(
    piloting: &mut Piloting,
    weapons: &mut Weapons,
    tick: SimTick,
    controls: Controls,
    now_s: f64,
    stats: &mut PlayStats,
) {
    let lag = if controls.is_aimed() { view_lag(&weapons.interpolation.clock, tick) } else { 0 };
    let input = Input { tick, controls, view_lag: lag };
    if piloting.paused || !piloting.queue.push(input) {
        return;
    }
    let Some(prediction) = &mut piloting.prediction else { return };
    prediction.advance(input);
    let Some((shooter, _)) = piloting.ship else { return };
    if prediction.is_stalled() {
        return;
    }
    let applied_at = tick + prediction.input_delay_ticks();
    if Tool::Gun.is_held(controls) {
        let interval_ticks = Tool::Gun.interval_ticks(Some(piloting.hull), piloting.fitted);
        weapons.shots.fire(shooter, applied_at, prediction.state(), prediction.muzzle(), interval_ticks);
    }
    let triggered = weapons.arms.trigger(controls, applied_at);
    if triggered.has(Tool::Beam) {
        let id = ShotId { shooter, tick: applied_at };
        weapons.beams.foresee(foreseen_beam(id, prediction, &weapons.remote_entities, &weapons.interpolation, now_s));
    }
    stats.missiles_launched += u64::from(triggered.has(Tool::Launcher));
}

/// The beam in the player's view: with others where they are drawn, which is where the shard judges it.
fn foreseen_beam(
    id: ShotId,
    prediction: &Prediction,
    remote_entities: &RemoteEntities,
    interpolation: &Interpolation,
    now_s: f64,
) -> Beam {
    let others =
        remote_entities.iter().filter(|(net_id, _)| *net_id != id.shooter && !remote_entities.is_spent(*net_id));
    let circles = others.filter_map(|(net_id, member)| {
        let drawn = interpolation.drawn(net_id, now_s)?;
        Some((net_id, drawn.state.position, member.radius))
    });
    let origin = prediction.muzzle();
    let (end, target) = beams::trace(origin, prediction.state().heading(), circles);
    Beam { id, origin, end, target }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bevy::math::DVec2;
    use sidereal_protocol::rules::flight::FlightState;

    #[test]
    fn after_a_standstill_one_step_is_made_and_the_ship_is_where_its_shard_has_it() {
        for standstill_ticks in [909u64, 9090] {
            let mut stats = PlayStats::default();
            let mut piloting = Piloting::default();
            let state = FlightState { velocity: DVec2::new(100.0, 0.0), ..Default::default() };
            let own = |tick: u64, state: FlightState| OwnState {
                net_id: NetId(1),
                boarding: 1,
                tick: SimTick(tick + 2),
                input_tick: SimTick(tick),
                inputs_applied: 0,
                state,
            };
            piloting.board(NetId(1), EntityId::default());
            piloting.confirm(&own(1000, state), 0.0, &mut stats);
            let input = |tick: u64| Input { tick: SimTick(tick), controls: Controls::default(), view_lag: 0 };
            let fly = |piloting: &mut Piloting, tick: u64| {
                assert!(piloting.queue.push(input(tick)));
                piloting.prediction.as_mut().unwrap().advance(input(tick));
            };
            assert_eq!(piloting.clock.advance(0.0, 1001.5), [SimTick(1001)]);
            fly(&mut piloting, 1001);
            let before = piloting.prediction().unwrap().state().position;
            piloting.clock.reset();
            let due = piloting.clock.advance(0.5, 1001.5 + standstill_ticks as f64);
            due.iter().for_each(|tick| fly(&mut piloting, tick.0));
            let after = piloting.prediction().unwrap().state().position;
            assert!((after - before).length() < 4.0, "one step: {}", after - before);
            assert_eq!(piloting.queue.len(), 2, "no burst of old inputs");
            piloting.advance_drawing(0.5);

            let there = FlightState { position: DVec2::new(40_000.0, 7.0), ..Default::default() };
            piloting.confirm(&own(1001 + standstill_ticks, there), 300.0, &mut stats);
            piloting.advance_drawing(0.016);
            let drawn = piloting.prediction().unwrap().drawn(piloting.moment().0, Controls::default());
            assert_eq!(drawn.position, there.position);
            assert!(piloting.queue.is_empty() && !piloting.prediction().unwrap().is_stalled());
        }
    }

    #[test]
    fn the_view_lag_is_in_quarters_of_a_tick_and_ends_at_its_ends() {
        let mut playback = PlaybackClock::default();
        assert_eq!(view_lag(&playback, SimTick(1000)), 0, "nothing is seen yet");
        playback.observe(SimTick(1000), 0.0);
        playback.advance(0.0, 0.0);
        let play = playback.play();
        let told = f64::from(view_lag(&playback, SimTick(1010))) / 4.0;
        assert!((1010.0 - told - play).abs() <= 0.125, "{told} for {play}");
        assert_eq!(view_lag(&playback, SimTick(900)), 0);
        assert_eq!(view_lag(&playback, SimTick(9000)), u8::MAX);
    }
}
