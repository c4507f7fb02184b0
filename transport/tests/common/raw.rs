//! Both ends without naia: only the transport's own traits and handles.

use super::*;
use bytes::Bytes;
use naia_bevy_client::transport::{
    IdentityReceiver, IdentityReceiverResult, PacketReceiver, PacketSender, Socket as _,
};
use naia_bevy_server::transport::{self as server_side, Socket as _};
use sidereal_transport::SessionEnd;

pub struct RawServer {
    pub handle: ServerHandle,
    auth: Box<dyn server_side::AuthReceiver>,
    verdict: Box<dyn server_side::AuthSender>,
    pub packets: Box<dyn server_side::PacketReceiver>,
    pub packets_out: Box<dyn server_side::PacketSender>,
    /// Accepted sessions, in order.
    pub sessions: Vec<SocketAddr>,
    pub closed: Vec<(SocketAddr, SessionEnd)>,
}

impl RawServer {
    pub fn new((handle, socket): (ServerHandle, ServerSocket)) -> Self {
        let (verdict, auth, packets_out, packets) = Box::new(socket).listen();
        Self { handle, auth, verdict, packets, packets_out, sessions: Vec::new(), closed: Vec::new() }
    }

    pub fn bind() -> Self {
        Self::bind_with(Limits::default())
    }

    pub fn bind_with(limits: Limits) -> Self {
        Self::new(sidereal_transport::bind(config(limits)).unwrap())
    }

    /// Accepts every credential but "no" (refused with a reason) and "wait" (no verdict).
    pub fn update(&mut self) {
        while let Some((address, _, credential)) = self.handle.poll_auth() {
            match &credential[..] {
                b"no" => self.handle.refuse(&address, "not with these credentials"),
                b"wait" => {}
                _ => self.handle.admit(&address),
            }
        }
        self.take_admitted();
        while let Some(closed) = self.handle.poll_closed() {
            self.closed.push(closed);
        }
        self.handle.flush();
    }

    /// Accepts the admitted ones, as naia does.
    pub fn take_admitted(&mut self) {
        while let Some((address, auth)) = self.auth.receive().unwrap() {
            assert!(auth.is_empty(), "no byte of a stranger reaches naia");
            self.verdict.accept(&address, &"token".to_owned()).unwrap();
            self.sessions.push(address);
        }
    }

    pub fn options(&self, kind: PeerKind) -> ConnectOptions {
        let address = self.handle.local_addr(kind).unwrap();
        ConnectOptions::new(address, kind, self.handle.certificate_hash(), VERSION)
    }
}

pub struct RawClient {
    pub handle: ClientHandle,
    pub identity: Box<dyn IdentityReceiver>,
    pub packets_out: Box<dyn PacketSender>,
    pub packets: Box<dyn PacketReceiver>,
}

impl RawClient {
    pub fn new((handle, socket): (ClientHandle, ClientSocket), auth: &[u8]) -> Self {
        let (identity, packets_out, packets) = Box::new(socket).connect_with_auth(auth.to_vec());
        Self { handle, identity, packets_out, packets }
    }

    pub fn connect(network: &ClientNetwork, options: ConnectOptions) -> Self {
        Self::new(network.connector(options), b"yes")
    }
}

/// Updates the server until `done`, sleeping on the given waker.
#[track_caller]
pub fn serve_until(server: &mut RawServer, waker: &Waker, mut done: impl FnMut(&mut RawServer) -> bool) {
    let start = Instant::now();
    loop {
        server.update();
        if done(server) {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "it never happened: {:#?}, closed {:?}",
            server.handle.stats(),
            server.closed
        );
        waker.wait(Duration::from_millis(5));
    }
}

/// Makes a server and an accepted client over real sockets.
#[track_caller]
pub fn connected(kind: PeerKind) -> (RawServer, ClientNetwork, RawClient) {
    let mut server = RawServer::bind();
    let network = ClientNetwork::new().unwrap();
    let client = RawClient::connect(&network, server.options(kind));
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |_| client.handle.status() == LinkStatus::Connected);
    (server, network, client)
}
