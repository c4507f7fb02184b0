//! A thin player: one session, from the ticket to the last acknowledged input.
//!
//! Of the lane it reads heads, and the exact states of its own ship: by these it steers, and by the shard's count in
//! them it checks that each input was applied once. It predicts, interpolates and draws nothing.

use super::link::ThinLink;
use naia_client::Events;
use serde::{Deserialize, Serialize};
use sidereal_client::{account::LoginTicket, flight::inputs::InputQueue};
use sidereal_protocol::{
    frames::{
        control::{decode_frame, encode_frame},
        messages::{Credential, FromPlayer, ToPlayer},
    },
    limits::PROTOCOL_VERSION,
    packets::{
        bundle::parts,
        input::{Input, InputPacket},
        lane,
        motion::{SectorHead, SectorUpdate},
        own_state::{OwnState, decode_own_states},
    },
    rules::flight::Controls,
    schema,
    world::{
        ids::NetId,
        tick::{SimTick, TICK_DURATION, TickSync},
    },
};
use sidereal_transport::{ClientNetwork, ConnectOptions, PeerKind};
use std::time::{Duration, Instant};

/// How often naia is updated once its handshake is complete. Its packets wait in the transport's bounded queue
/// meanwhile; the transport has acknowledged them.
const NAIA_INTERVAL: Duration = Duration::from_millis(100);

/// Lane datagrams read in one update at most; the rest waits in the transport's bounded queue.
const MAX_DATAGRAMS: usize = 512;

/// Inputs sent in one update at most: more are due only after the process was held up, and are skipped.
const MAX_TICKS: u64 = 5;

/// With a larger error than this, ticks, the clock jumps; a smaller one is reduced slowly.
const JUMP_TICKS: f64 = 4.0;

/// The wait before a new ship is requested, and between two requests.
const RESPAWN_WAIT: Duration = Duration::from_secs(2);

/// How far others would be drawn in the past, quarters of a tick: what a real client's inputs say.
const VIEW_LAG: u8 = 12;

/// Which motions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// All, by the heads of packets.
    Heads,
    /// Those of entities that move. The packets are decoded for it.
    Moving,
}

/// The counters of a player. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerCounts {
    /// Motions received.
    pub motions: u64,
    /// Packets with motions received.
    pub sector_packets: u64,
    /// Shots, hits and beams received, repeats included.
    pub shots: u64,
    /// States of the own ship received.
    pub own_states: u64,
    /// Payload bytes received: naia's, the lane's and the stream's.
    pub bytes: u64,
    /// Ships lost.
    pub deaths: u64,
    /// Packets that could not be decoded.
    pub malformed: u64,
}

/// The player's clock: naia's moment for inputs, at an even pace between naia's updates.
#[derive(Debug, Clone, Copy)]
struct InputClock {
    tick: f64,
    at: Instant,
}

impl InputClock {
    fn now(&self, now: Instant) -> f64 {
        self.tick + now.saturating_duration_since(self.at).as_secs_f64() / TICK_DURATION.as_secs_f64()
    }

    /// Follows naia's tick.
    fn follow(clock: &mut Option<Self>, wanted: f64, now: Instant) {
        let tick = match clock {
            Some(clock) => {
                let own = clock.now(now);
                let error = wanted - own;
                if error.abs() > JUMP_TICKS { wanted } else { own + error * 0.1 }
            }
            None => wanted,
        };
        *clock = Some(Self { tick, at: now });
    }
}

/// One player.
pub struct Player {
    link: ThinLink,
    counting: Counting,
    sync: Option<TickSync>,
    clock: Option<InputClock>,
    last_stamp: SimTick,
    naia_due: Instant,
    ship: Option<NetId>,
    own: Option<OwnState>,
    respawn_at: Option<Instant>,
    newest_tick: SimTick,
    has_new_tick: bool,
    has_output: bool,
    /// Inputs on their way, and their fates.
    pub inputs: InputQueue,
    counts: PlayerCounts,
}

impl Player {
    /// Starts to connect with a ticket.
    pub fn connect(network: &ClientNetwork, login: &LoginTicket, counting: Counting) -> Self {
        let options =
            ConnectOptions::new(login.player_addr, PeerKind::Player, login.certificate_hash, PROTOCOL_VERSION);
        let credential = Credential { secret: login.ticket.clone(), name: String::new() };
        let link = ThinLink::connect(network, options, credential.encode().into(), schema::protocol());
        Self {
            link,
            counting,
            sync: None,
            clock: None,
            last_stamp: SimTick(0),
            naia_due: Instant::now(),
            ship: None,
            own: None,
            respawn_at: None,
            newest_tick: SimTick(0),
            has_new_tick: false,
            has_output: false,
            inputs: InputQueue::default(),
            counts: PlayerCounts::default(),
        }
    }

    /// Whether it has had a state of its ship and has not lost it since.
    pub fn is_in_space(&self) -> bool {
        self.own.is_some()
    }

    /// Whether naia's handshake is complete.
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// Why the session has ended, if it has.
    pub fn failure(&self) -> Option<String> {
        self.link.failure()
    }

    /// The newest tick of any motion, if it is newer than at the last call.
    pub fn take_new_tick(&mut self) -> Option<SimTick> {
        std::mem::take(&mut self.has_new_tick).then_some(self.newest_tick)
    }

    /// Its counters.
    pub fn counts(&self) -> PlayerCounts {
        let stats = self.link.handle().stats();
        let bytes = stats.lane_bytes_received + stats.naia_bytes_received + stats.frame_bytes_received;
        PlayerCounts { bytes, ..self.counts }
    }

    /// Reads what has arrived, and sends what is due. `pilot` gives the controls for a tick by the state of the ship;
    /// without one no inputs are sent.
    pub fn update(&mut self, now: Instant, pilot: Option<&mut dyn FnMut(&OwnState, SimTick) -> Controls>) {
        let naia_is_due = now >= self.naia_due || !self.link.is_connected();
        if naia_is_due {
            self.naia_due = now + NAIA_INTERVAL;
            if self.link.failure().is_some() {
                return;
            }
            self.link.update(|_: &mut Events<_>| {});
            self.has_output = true;
        }
        self.read_frames(now);
        self.read_lane();
        if naia_is_due && let (Some(sync), Some(tick)) = (&mut self.sync, self.link.client_tick()) {
            // naia shows whole ticks.
            let wanted = sync.sim_tick(tick).0 as f64 + 0.5;
            InputClock::follow(&mut self.clock, wanted, now);
        }
        if let Some(pilot) = pilot {
            self.send_inputs(now, pilot);
        }
        if self.respawn_at.is_some_and(|at| now >= at) {
            self.respawn_at = Some(now + RESPAWN_WAIT);
            if let Ok(frame) = encode_frame(&FromPlayer::Respawn) {
                // A full queue is retried after the wait.
                let _ = self.link.handle().send_stream(frame.into());
                self.has_output = true;
            }
        }
        if std::mem::take(&mut self.has_output) {
            self.link.handle().flush();
        }
    }

    fn read_frames(&mut self, now: Instant) {
        while let Some(bytes) = self.link.handle().recv_stream() {
            match decode_frame::<ToPlayer>(&bytes) {
                Ok(ToPlayer::Welcome(welcome)) => {
                    self.sync = Some(TickSync::new(welcome.naia_tick, welcome.sim_tick()));
                }
                Ok(ToPlayer::ShipAssigned(ship)) => {
                    self.inputs.board();
                    self.ship = Some(NetId(ship.net_id));
                    self.own = None;
                    self.respawn_at = None;
                }
                Ok(ToPlayer::Destroyed(news)) if news.yours => {
                    self.inputs.leave();
                    self.counts.deaths += 1;
                    self.ship = None;
                    self.own = None;
                    self.respawn_at = Some(now + RESPAWN_WAIT);
                }
                Ok(_) => {}
                Err(_) => self.counts.malformed += 1,
            }
        }
    }

    fn read_lane(&mut self) {
        for _ in 0..MAX_DATAGRAMS {
            let Some(bytes) = self.link.handle().recv_lane() else { return };
            for part in parts(&bytes) {
                match part {
                    Ok(packet) => self.read_packet(packet),
                    Err(_) => self.counts.malformed += 1,
                }
            }
        }
    }

    fn read_packet(&mut self, packet: &[u8]) {
        match packet.first() {
            Some(&lane::SECTOR_UPDATE) => self.count_update(packet),
            Some(&lane::OWN_STATES) => match decode_own_states(packet) {
                Ok(states) => states.iter().for_each(|state| self.confirm(state)),
                Err(_) => self.counts.malformed += 1,
            },
            _ => self.counts.malformed += 1,
        }
    }

    fn count_update(&mut self, bytes: &[u8]) {
        let (tick, motions, shots) = match self.counting {
            Counting::Heads => match SectorHead::decode(bytes) {
                Ok(head) => (head.tick, head.motions, head.shots + head.hits + head.beams),
                Err(_) => return self.counts.malformed += 1,
            },
            Counting::Moving => match SectorUpdate::decode(bytes) {
                Ok(update) => {
                    let moving = update.motions.iter().filter(|motion| motion.state.velocity.length_squared() > 0.0);
                    (update.tick, moving.count(), update.shots.len() + update.hits.len() + update.beams.len())
                }
                Err(_) => return self.counts.malformed += 1,
            },
        };
        if tick > self.newest_tick {
            (self.newest_tick, self.has_new_tick) = (tick, true);
        }
        self.counts.sector_packets += 1;
        self.counts.motions += motions as u64;
        self.counts.shots += shots as u64;
    }

    fn confirm(&mut self, state: &OwnState) {
        if self.ship != Some(state.net_id) {
            return;
        }
        self.counts.own_states += 1;
        match &self.own {
            Some(known) if known.tick >= state.tick => return,
            Some(_) => {}
            // An earlier session's inputs may be ahead of our clock: its stamps are used up.
            None => self.inputs.start_after(state.input_tick),
        }
        self.inputs.confirm(state);
        self.own = Some(*state);
    }

    fn send_inputs(&mut self, now: Instant, pilot: &mut dyn FnMut(&OwnState, SimTick) -> Controls) {
        let (Some(clock), Some(own)) = (&self.clock, &self.own) else { return };
        let newest = SimTick(clock.now(now).max(0.0) as u64);
        if newest <= self.last_stamp {
            return;
        }
        let first = (self.last_stamp.0 + 1).max(newest.0.saturating_sub(MAX_TICKS - 1));
        for tick in (first..=newest.0).map(SimTick) {
            let controls = pilot(own, tick);
            let view_lag = if controls.is_aimed() { VIEW_LAG } else { 0 };
            self.inputs.push(Input { tick, controls, view_lag });
        }
        self.last_stamp = newest;
        self.has_output = true;
        self.link.handle().send_lane(InputPacket::encode(self.inputs.pending()).into());
    }

    /// Sends what is not acknowledged yet again, without new inputs.
    pub fn resend(&mut self) {
        if !self.inputs.is_empty() {
            self.link.handle().send_lane(InputPacket::encode(self.inputs.pending()).into());
            self.link.handle().flush();
        }
    }

    /// Ends the session with a goodbye.
    pub fn close(&mut self) {
        self.link.close();
    }
}
