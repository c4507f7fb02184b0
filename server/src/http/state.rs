//! What the routes answer from, and the bounds for those who ask.

use std::sync::Arc;
use std::time::Duration;

use crate::accounts::rate_limit::Rates;
use crate::accounts::sessions::Sessions;
use crate::accounts::supabase::Supabase;
use crate::accounts::tickets::TicketOffice;
use crate::accounts::{Accounts, Registration};
use crate::http::status::ServerStatus;
use crate::http::web::WebFiles;
use crate::run::certificate::PlayerCertificate;

/// What the routes answer from.
#[derive(Clone)]
pub struct HttpState {
    /// Registration and login.
    pub accounts: Accounts,
    /// Sessions, which players come back with.
    pub sessions: Sessions,
    /// Judges access tokens of Supabase, where they are taken.
    pub supabase: Option<Supabase>,
    /// Issues the tickets that connections redeem.
    pub tickets: TicketOffice,
    /// What the ECS thread tells of itself.
    pub status: Arc<ServerStatus>,
    /// Where players connect, as they should dial it.
    pub player_addr: String,
    /// The same as `https://HOST:PORT`, as browsers should dial it.
    pub player_origin: String,
    /// The certificate there.
    pub certificate: Arc<PlayerCertificate>,
    /// Whether this server speaks HTTPS, with that certificate.
    pub is_tls: bool,
    /// The browser client, if it is served.
    pub web: Option<Arc<WebFiles>>,
    /// Whether accounts are made.
    pub registration: Registration,
    /// Bounds for peers.
    pub limits: HttpLimits,
    /// How often they may ask.
    pub rates: Rates,
    /// How many proxies in a row, the last of which connects here, are believed about where a request came from.
    pub trusted_proxies: usize,
}

/// Bounds for peers.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at a time. For one more another one gives way, or it is closed at once.
    pub max_connections: usize,
    /// Of these, those of one network: an IPv4 address, or 64 bits of IPv6. Behind proxies, which have one address for
    /// everybody, it is not looked at.
    pub max_connections_per_network: usize,
    /// How long a connection may take until a request's head is there: from its start on, TLS handshake and all, or from
    /// the request's first byte on.
    pub head_timeout: Duration,
    /// How long a request may be worked on, with the reading of its body; then it is answered with 503.
    pub request_timeout: Duration,
    /// How long a connection may rest after an answer. Longer than proxies keep theirs (60 s), else one may send a
    /// request into a connection that closes.
    pub idle_timeout: Duration,
    /// How fast an answer is read at the least, bytes per second, on average over each `rate_window`.
    pub least_bytes_per_s: u32,
    /// See there. So long that a slow reader empties a good part of the system's buffer in it.
    pub rate_window: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 512,
            max_connections_per_network: 64,
            head_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            least_bytes_per_s: 4 * 1024,
            rate_window: Duration::from_secs(30),
        }
    }
}

impl HttpLimits {
    /// For operations: those who watch are few, and close by.
    pub(super) fn of_operations() -> Self {
        Self { max_connections: 64, max_connections_per_network: 64, ..Self::default() }
    }
}
