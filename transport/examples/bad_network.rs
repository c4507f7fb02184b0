//! Two peers over a bad network: the channel of datagrams loses and reorders, the stream does neither.
//!
//! `cargo run -p sidereal-transport --example bad_network`
//!
//! The network is in memory and its time moves by hand, so that every run prints the same. The handles are those of the
//! real network (`bind`, `ClientNetwork`).

use naia_bevy_client::transport::Socket as _;
use naia_bevy_server::transport::Socket as _;
use sidereal_transport::network::memory::{LinkConditions, MemoryNetwork};
use sidereal_transport::{LinkStatus, PeerKind};

const PROTOCOL_VERSION: u32 = 1;
const BAD: LinkConditions =
    LinkConditions { latency_ms: 40, jitter_ms: 30, loss: 0.1, duplication: 0.05, reordering: 0.1 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = MemoryNetwork::new(7, BAD);
    let (server, socket) = network.server(PROTOCOL_VERSION);
    // naia usually does these two steps: it listens on the socket, and connects through the client's.
    let (verdicts, mut admitted, _packets_out, _packets_in) = Box::new(socket).listen();
    let (client, socket) = network.connector(PeerKind::Player, PROTOCOL_VERSION);
    let _naia = Box::new(socket).connect_with_auth(b"the ticket".to_vec());

    let (mut datagrams, mut frames) = (Vec::new(), Vec::new());
    let mut sent = 0u32;
    let mut now_ms = 0;
    while frames.len() < 1_000 && now_ms < 600_000 {
        now_ms += 10;
        network.advance(now_ms);
        // The server judges the credential before naia reads a byte of the peer's.
        while let Some((address, kind, credential)) = server.poll_auth() {
            println!("{now_ms} ms: a {kind} with {} bytes of credential", credential.len());
            server.admit(&address);
        }
        while let Ok(Some((address, _))) = admitted.receive() {
            verdicts.accept(&address, &"token".to_owned()).map_err(|_| "the session has gone")?;
        }
        if client.status() == LinkStatus::Connected && sent < 1_000 {
            let number = sent.to_le_bytes().to_vec();
            client.send_lane(number.clone().into());
            client.send_stream(number.into())?;
            sent += 1;
        }
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap_or_default());
        datagrams.extend(std::iter::from_fn(|| server.recv_lane()).map(|(_, bytes)| number(&bytes)));
        frames.extend(std::iter::from_fn(|| server.recv_stream()).map(|(_, bytes)| number(&bytes)));
        // Everything that was queued leaves in one go.
        client.flush();
        server.flush();
    }

    let unique: std::collections::BTreeSet<u32> = datagrams.iter().copied().collect();
    let late = datagrams.windows(2).filter(|pair| pair[1] < pair[0]).count();
    println!("{sent} of each sent in {} s, over {BAD:?}", sent / 100);
    println!(
        "datagrams: {} lost, {} twice, {late} out of order",
        sent as usize - unique.len(),
        datagrams.len() - unique.len()
    );
    // Each lost packet holds up what follows: that is why motion does not use the stream.
    println!("stream: {} arrived, in order: {}, the last after {} s", frames.len(), frames.is_sorted(), now_ms / 1_000);
    Ok(())
}
