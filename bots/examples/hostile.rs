//! Hostile players for a server on this machine, to measure their effect on honest ones: each logs in, connects as naia
//! does, and from then on sends packets. Half of the players send truncated, changed, repeated and invented packets, on
//! every channel; when they are disconnected, they reconnect. The other half stays connected: its packets are well
//! formed, but without end.
//!
//! `cargo run -p sidereal-bots --example hostile -- http://127.0.0.1:7779 20 1000000 60`: the HTTP address, sessions
//! (1 to 50), packets of all together (at most 5,000,000), seconds (1 to 600).

use bevy::{app::App, ecs::system::SystemState};
use naia_bevy_client::{
    Client, ClientConfig, DefaultClientTag, DefaultPlugin, JitterBufferType,
    transport::{IdentityReceiver, PacketReceiver, PacketSender, SendError, ServerAddr, Socket},
};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_client::account::{AccountApi, AccountError, LoginTicket, ReconnectResult, SessionToken};
use sidereal_protocol::{
    frames::{
        control::encode_frame,
        messages::{Credential, Deal, FromPlayer, Say},
    },
    rules::economy::{Bargain, DealKey},
    schema,
};
use sidereal_transport::{ClientHandle, ClientNetwork, ClientSocket};
use std::{
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

const USAGE: &str = "give a loopback HTTP address, sessions (1 to 50), packets (1 to 5000000), and seconds (1 to 600)";

const TICK: Duration = Duration::from_millis(33);

/// naia packets that are kept, to be sent again.
const MAX_HISTORY: usize = 200;

/// The halves of a connection, as naia gets them.
type Halves = (Box<dyn IdentityReceiver>, Box<dyn PacketSender>, Box<dyn PacketReceiver>);

/// A recorder of naia's packets, with their sender.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Tapped>>);

#[derive(Default)]
struct Tapped {
    history: Vec<Vec<u8>>,
    sender: Option<Box<dyn PacketSender>>,
}

impl Tap {
    fn with<T>(&self, work: impl FnOnce(&mut Tapped) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PacketSender for Tap {
    fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        self.with(|tapped| {
            if tapped.history.len() < MAX_HISTORY {
                tapped.history.push(payload.to_vec());
            }
            tapped.sender.as_ref().map_or(Err(SendError), |sender| sender.send(payload))
        })
    }

    fn server_addr(&self) -> ServerAddr {
        self.with(|tapped| tapped.sender.as_ref().map_or(ServerAddr::Finding, |sender| sender.server_addr()))
    }
}

/// A socket whose sender is recorded.
struct TappedSocket(ClientSocket, Tap);

impl Socket for TappedSocket {
    fn connect(self: Box<Self>) -> Halves {
        let (identity, sender, receiver) = Box::new(self.0).connect();
        self.1.with(|tapped| tapped.sender = Some(sender));
        (identity, Box::new(self.1), receiver)
    }

    fn connect_with_auth(self: Box<Self>, _auth: Vec<u8>) -> Halves {
        self.connect()
    }

    fn connect_with_auth_headers(self: Box<Self>, _headers: Vec<(String, String)>) -> Halves {
        self.connect()
    }

    fn connect_with_auth_and_headers(self: Box<Self>, _auth: Vec<u8>, _headers: Vec<(String, String)>) -> Halves {
        self.connect()
    }
}

impl From<TappedSocket> for Box<dyn Socket> {
    fn from(socket: TappedSocket) -> Self {
        Box::new(socket)
    }
}

/// A connected session.
struct Session {
    app: App,
    handle: ClientHandle,
    tap: Tap,
    /// Sends only well-formed packets.
    is_subtle: bool,
}

impl Session {
    fn open(network: &ClientNetwork, login: &LoginTicket, is_subtle: bool) -> Self {
        let (handle, socket) = sidereal_client::connect(network, login);
        let credential = Credential { secret: login.ticket.clone(), name: String::new() };
        let tap = Tap::default();
        let socket = TappedSocket(socket.with_credential(credential.encode().into()), tap.clone());
        let mut app = App::new();
        let config = ClientConfig { jitter_buffer: JitterBufferType::Bypass, ..ClientConfig::default() };
        app.add_plugins(DefaultPlugin::new(config, schema::protocol()));
        app.finish();
        app.cleanup();
        let mut client = SystemState::<Client<'_, DefaultClientTag>>::new(app.world_mut());
        client.get_mut(app.world_mut()).connect(socket);
        Self { app, handle, tap, is_subtle }
    }

    /// naia's own traffic, and so many hostile packets.
    fn update(&mut self, packets: u64, random: &mut Pcg64Mcg) {
        self.app.update();
        for _ in 0..packets {
            self.misbehave(random);
        }
        // The server's packets are read, so that it has to send more.
        while self.handle.recv_lane().is_some() || self.handle.recv_stream().is_some() {}
        self.handle.flush();
    }

    fn misbehave(&self, random: &mut Pcg64Mcg) {
        // A session that has ended accepts nothing.
        let say = |frame: Vec<u8>| {
            let _ = self.handle.send_stream(frame.into());
        };
        let choice = random.random_range(0..10);
        if self.is_subtle {
            if choice >= 7 {
                return say(asked(random));
            }
            return self.tap.with(|tapped| {
                let again = tapped.history.get(random.random_range(0..MAX_HISTORY));
                if let (Some(packet), Some(sender)) = (again, &tapped.sender) {
                    let _ = sender.send(packet);
                }
            });
        }
        match choice {
            0..6 => self.tap.with(|tapped| {
                let packet = spoiled(random, &tapped.history);
                if let Some(sender) = &tapped.sender {
                    let _ = sender.send(&packet);
                }
            }),
            6..8 => self.handle.send_lane(bytes(random, 1_100).into()),
            8 => say(bytes(random, 300)),
            _ => say(asked(random)),
        }
    }
}

fn bytes(random: &mut Pcg64Mcg, limit: usize) -> Vec<u8> {
    (0..random.random_range(0..limit)).map(|_| random.random()).collect()
}

/// A packet of naia's, damaged at random.
fn spoiled(random: &mut Pcg64Mcg, history: &[Vec<u8>]) -> Vec<u8> {
    if history.is_empty() {
        return bytes(random, 1_100);
    }
    let mut packet = history[random.random_range(0..history.len())].clone();
    match random.random_range(0..5) {
        0 => packet.truncate(random.random_range(0..=packet.len())),
        1 => return bytes(random, 1_100),
        // Unchanged: a repetition.
        2 => {}
        // Its acknowledgements are in the first ten bytes.
        3 => packet.iter_mut().take(10).for_each(|byte| *byte = random.random()),
        _ => {
            for _ in 0..random.random_range(1..8) {
                let at = random.random_range(0..packet.len().max(1));
                packet.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << random.random_range(0..8));
            }
        }
    }
    packet
}

/// A well-formed request, repeated without end.
fn asked(random: &mut Pcg64Mcg) -> Vec<u8> {
    let key = DealKey(Uuid::from_u128(random.random_range(0..8)));
    let bargains = [Bargain::Dock, Bargain::Undock, Bargain::Accept, Bargain::Sell { ore: 1 }, Bargain::Repair];
    let asked = match random.random_range(0..3) {
        0 => FromPlayer::Respawn,
        1 => FromPlayer::Deal(Deal::of(key, &bargains[random.random_range(0..bargains.len())])),
        _ => FromPlayer::Say(Say::to(sidereal_protocol::frames::chat::Scope::World, "again and again".to_owned())),
    };
    encode_frame(&asked).unwrap_or_default()
}

/// A player that reconnects.
struct Hostile {
    token: SessionToken,
    session: Option<Session>,
    way_in: Option<Receiver<ReconnectResult>>,
    ask_at: Instant,
    sessions: u64,
    is_subtle: bool,
}

impl Hostile {
    fn update(&mut self, network: &ClientNetwork, api: &AccountApi, packets: u64, random: &mut Pcg64Mcg) -> u64 {
        if let Some(session) = &mut self.session {
            session.update(packets, random);
            if session.handle.is_finished() {
                self.session = None;
            }
            return packets;
        }
        match self.way_in.as_ref().map(Receiver::try_recv) {
            None if Instant::now() >= self.ask_at => self.way_in = Some(api.ask_for_way_in(&self.token)),
            None | Some(Err(TryRecvError::Empty)) => {}
            Some(answer) => {
                self.way_in = None;
                self.ask_at = Instant::now() + Duration::from_secs(1);
                if let Ok(ReconnectResult { session_token, ticket }) = answer {
                    self.token = session_token;
                    if let Ok(login) = ticket {
                        self.session = Some(Session::open(network, &login, self.is_subtle));
                        self.sessions += 1;
                    }
                }
            }
        }
        0
    }
}

fn enter(api: &AccountApi, number: usize, until: Instant) -> Result<LoginTicket, Box<dyn Error>> {
    loop {
        match api.enter(&format!("hostile{number}"), "a password for the hostile", true) {
            Ok(login) => return Ok(login),
            Err(AccountError::TooMany { .. } | AccountError::Busy(_)) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(500));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [http, sessions, packets, seconds] = &arguments[..] else { return Err(USAGE.into()) };
    let (sessions, packets, seconds): (usize, u64, u64) = (sessions.parse()?, packets.parse()?, seconds.parse()?);
    let is_loopback = ["http://127.0.0.1:", "http://localhost:"].iter().any(|begin| http.starts_with(begin));
    let is_bounded = (1..=50).contains(&sessions) && (1..=5_000_000).contains(&packets) && (1..=600).contains(&seconds);
    if !is_loopback || !is_bounded {
        return Err(USAGE.into());
    }
    let (api, network) = (AccountApi::new(http)?, ClientNetwork::new()?);
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut hostile: Vec<Hostile> = Vec::new();
    for number in 0..sessions {
        let login = enter(&api, number, until)?;
        let token = login.session_token.clone().ok_or("no session token")?;
        let is_subtle = number % 2 == 1;
        let session = Some(Session::open(&network, &login, is_subtle));
        hostile.push(Hostile { token, session, way_in: None, ask_at: Instant::now(), sessions: 1, is_subtle });
    }
    let (started, length) = (Instant::now(), Duration::from_secs(seconds).as_secs_f64());
    let (mut sent, mut ticks) = (0, 0u32);
    while sent < packets && started.elapsed().as_secs_f64() < 2.0 * length {
        let due = (packets as f64 * (started.elapsed().as_secs_f64() / length).min(1.0)) as u64;
        // Players without a session send nothing: the others send more instead.
        let here = hostile.iter().filter(|one| one.session.is_some()).count().max(1) as u64;
        let each = due.saturating_sub(sent).div_ceil(here).min(2_000);
        for one in &mut hostile {
            sent += one.update(&network, &api, each.min(packets - sent), &mut random);
        }
        ticks += 1;
        std::thread::sleep((TICK * ticks).saturating_sub(started.elapsed()));
    }
    let opened: u64 = hostile.iter().map(|one| one.sessions).sum();
    println!("{sent} packets in {:.0} s over {opened} sessions of {sessions} players", started.elapsed().as_secs_f64());
    Ok(())
}
