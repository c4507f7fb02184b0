//! The state behind the routes, and the limits of their clients.

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

/// The state behind the routes.
#[derive(Clone)]
pub struct HttpState {
    /// Registration and login.
    pub accounts: Accounts,
    /// Sessions, with which players return.
    pub sessions: Sessions,
    /// Verifies access tokens of Supabase, if enabled.
    pub supabase: Option<Supabase>,
    /// Issues the tickets that connections redeem.
    pub tickets: TicketOffice,
    /// The ECS thread's status.
    pub status: Arc<ServerStatus>,
    /// Where players connect.
    pub players: PlayerDoors,
    /// The certificate there.
    pub certificate: Arc<PlayerCertificate>,
    /// Whether this server uses HTTPS, with that certificate.
    pub is_tls: bool,
    /// The browser client, if it is served.
    pub web: Option<Arc<WebFiles>>,
    /// Whether accounts can be made.
    pub registration: Registration,
    /// Limits of connections and requests.
    pub limits: HttpLimits,
    /// Rate limits.
    pub rates: Rates,
    /// The number of trusted proxies in a row, the last of which connects here.
    pub trusted_proxies: usize,
}

/// An address at which players connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerDoor {
    /// `address:port`.
    pub addr: String,
    /// The same as `https://HOST:PORT`, for browsers.
    pub origin: String,
}

/// All addresses at which players connect: one for each of the server's endpoints, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerDoors {
    /// That of the first endpoint, for whoever has no ticket.
    pub first: PlayerDoor,
    /// Those of the others.
    pub others: Vec<PlayerDoor>,
}

impl PlayerDoors {
    /// The one of an endpoint; the first for a number that no endpoint has.
    pub fn of(&self, endpoint: usize) -> &PlayerDoor {
        endpoint.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &PlayerDoor> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Limits of connections and requests.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Maximum number of connections. For another one, one is displaced, or it is closed at once.
    pub max_connections: usize,
    /// Maximum number of connections of one network: an IPv4 address, or 64 bits of IPv6. Ignored behind proxies,
    /// which have one address for all clients.
    pub max_connections_per_network: usize,
    /// Time limit until a request's head is complete: from the connection's start, including the TLS handshake, or
    /// from the request's first byte.
    pub head_timeout: Duration,
    /// Time limit of a request's work, including the reading of its body; then it is answered with 503.
    pub request_timeout: Duration,
    /// How long a connection may be idle after an answer. Longer than proxies keep theirs (60 s); otherwise one may
    /// send a request into a connection that closes.
    pub idle_timeout: Duration,
    /// Minimum rate at which an answer must be read, bytes per second, averaged over each `rate_window`.
    pub least_bytes_per_s: u32,
    /// The window of that average: long enough for a slow reader to empty a good part of the system's buffer.
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
    /// Limits of the operations address: its clients are few and near.
    pub(super) fn of_operations() -> Self {
        Self { max_connections: 64, max_connections_per_network: 64, ..Self::default() }
    }
}
