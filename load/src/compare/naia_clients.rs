//! The clients of way (a): naia's own, which apply every change.

use super::{mover::Mover, naia_server};
use crate::{
    children::conversation::{Conversation, answer},
    fleet::{ByteMeter, FleetSample},
    thin::link::ThinLink,
};
use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use naia_client::{InsertComponentEvent, UpdateComponentEvent};
use sidereal_protocol::limits::PROTOCOL_VERSION;
use sidereal_transport::{ClientNetwork, ConnectOptions, PeerKind};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The pause between two rounds over all clients.
const ROUND: Duration = Duration::from_millis(5);

/// Clients that start to connect in one round at most.
const STARTS_PER_ROUND: usize = 2;

/// The options of the role.
#[derive(Debug, Clone, Args)]
pub struct NaiaClientsOptions {
    /// The server
    #[arg(long)]
    pub server: SocketAddr,
    /// SHA-256 of its certificate, 64 hexadecimal digits
    #[arg(long)]
    pub certificate_hash: String,
    /// Clients
    #[arg(long)]
    pub count: u32,
    /// Entities that each of them must see
    #[arg(long)]
    pub entities: u32,
}

struct NaiaClient {
    link: ThinLink,
    inserted: u64,
    updates: u64,
    meter: ByteMeter,
}

/// Runs until the parent closes the standard input.
///
/// # Errors
/// When the network or the standard output fails.
pub fn run(options: &NaiaClientsOptions) -> Result<()> {
    let conversation = Conversation::start()?;
    let hash = crate::roles::hash_of(&options.certificate_hash).context("--certificate-hash: 64 hexadecimal digits")?;
    let connect = ConnectOptions::new(options.server, PeerKind::Player, hash, PROTOCOL_VERSION);
    let network = ClientNetwork::new().context("cannot start the network")?;
    let mut clients: Vec<NaiaClient> = Vec::new();
    while let Ok(request) = conversation.next() {
        if request.is_some() {
            answer(&sample(options, &mut clients))?;
        }
        for _ in 0..STARTS_PER_ROUND {
            if clients.len() < options.count as usize {
                let link = ThinLink::connect(&network, connect.clone(), Bytes::new(), naia_server::protocol());
                clients.push(NaiaClient { link, inserted: 0, updates: 0, meter: ByteMeter::default() });
            }
        }
        let now = Instant::now();
        for client in &mut clients {
            let NaiaClient { link, inserted, updates, meter } = client;
            link.update(|events| {
                *inserted += events.read::<InsertComponentEvent<Mover>>().count() as u64;
                *updates += events.read::<UpdateComponentEvent<Mover>>().count() as u64;
            });
            link.handle().flush();
            meter.note(now, bytes_of(link));
        }
        std::thread::sleep(ROUND.saturating_sub(now.elapsed()));
    }
    clients.iter_mut().for_each(|client| client.link.close());
    Ok(())
}

fn bytes_of(link: &ThinLink) -> u64 {
    let stats = link.handle().stats();
    stats.lane_bytes_received + stats.naia_bytes_received + stats.frame_bytes_received
}

fn sample(options: &NaiaClientsOptions, clients: &mut [NaiaClient]) -> FleetSample {
    let mut sample = FleetSample { wanted: options.count, ..FleetSample::default() };
    for client in clients {
        let failure = client.link.failure();
        sample.connected += u32::from(client.link.is_connected() && failure.is_none());
        sample.ready += u32::from(client.inserted >= u64::from(options.entities));
        sample.note_failure(failure);
        sample.motions += client.updates;
        sample.bytes += bytes_of(&client.link);
        sample.worst_second_bytes = sample.worst_second_bytes.max(client.meter.take_worst());
    }
    sample
}
