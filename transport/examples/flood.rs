//! Floods a server's door with strangers, to measure the effect on others: so many QUIC handshakes a second, none of
//! which gets further than the certificate. Only against this machine, for a minute at most.
//!
//! `cargo run -p sidereal-transport --example flood -- 127.0.0.1:7777 1000 20`: address, handshakes a second, seconds.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sidereal_transport::SESSION_PATH;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use wtransport::endpoint::endpoint_side::Client;
use wtransport::tls::Sha256Digest;
use wtransport::{ClientConfig, Endpoint};

const USAGE: &str = "give a loopback address, handshakes a second (1 to 5000), and seconds (1 to 60)";

/// Sockets that the handshakes are spread over.
const SOCKETS: usize = 16;

/// How long each handshake is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, rate, seconds] = &arguments[..] else { return Err(USAGE.into()) };
    let (address, rate, seconds): (SocketAddr, u64, u64) =
        (address.parse().map_err(|_| USAGE)?, rate.parse()?, seconds.parse()?);
    if !address.ip().is_loopback() || !(1..=5_000).contains(&rate) || !(1..=60).contains(&seconds) {
        return Err(USAGE.into());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(flood(address, rate, seconds))
}

async fn flood(address: SocketAddr, rate: u64, seconds: u64) -> Result<(), Box<dyn Error>> {
    let endpoints: Vec<Arc<Endpoint<Client>>> = (0..SOCKETS)
        .map(|_| {
            let config = ClientConfig::builder()
                .with_bind_address((Ipv4Addr::LOCALHOST, 0).into())
                // No certificate has this hash.
                .with_server_certificate_hashes([Sha256Digest::new([0; 32])])
                .build();
            Endpoint::client(config).map(Arc::new)
        })
        .collect::<Result<_, _>>()?;
    let url: Arc<str> = format!("https://{address}{SESSION_PATH}").into();
    let (turned_away, unanswered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut strangers = JoinSet::new();
    let mut started = 0;
    let mut pace = interval(Duration::from_millis(5));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        pace.tick().await;
        let due = (start.elapsed().as_millis() as u64 * rate / 1_000).min(rate * seconds);
        while started < due {
            let endpoint = endpoints[started as usize % SOCKETS].clone();
            let (url, turned_away, unanswered) = (url.clone(), turned_away.clone(), unanswered.clone());
            strangers.spawn(async move {
                match timeout(PATIENCE, endpoint.connect(&*url)).await {
                    Ok(_) => turned_away.fetch_add(1, Relaxed),
                    Err(_) => unanswered.fetch_add(1, Relaxed),
                };
            });
            started += 1;
        }
        while strangers.try_join_next().is_some() {}
    }
    while strangers.join_next().await.is_some() {}
    println!(
        "{started} handshakes in {seconds} s: {} turned away or failed, {} without an answer for {} s",
        turned_away.load(Relaxed),
        unanswered.load(Relaxed),
        PATIENCE.as_secs()
    );
    Ok(())
}
