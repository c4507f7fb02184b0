//! The server's configuration, parsed once from flags and environment.

use crate::{
    accounts::Registration,
    accounts::rate_limit::Rates,
    accounts::supabase::{Algorithm, KeyTimes, SupabaseConfig, SupabaseConfigError},
    persistence::retention::Retention,
    run::{
        door::DoorOptions,
        player_ports::{MAX_PLAYER_THREADS, PlayerPorts, default_player_threads},
    },
};
use clap::{Args, Parser, builder::RangedU64ValueParser};
use sidereal_transport::AllowedOrigins;
use std::{convert::Infallible, fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(pub String);

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("it is empty: choose a secret, the same for server and shards");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A secret; an empty one counts as not given.
fn maybe_secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret(text.to_owned()))
}

/// A database's URL, which may hold a password.
#[derive(Clone)]
pub struct DatabaseUrl(pub String);

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    /// Problems are reported when it is opened, without its password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "give an IP address and a port, like 127.0.0.1:7777 or [::]:7777")
}

fn host_name(text: &str) -> Result<String, &'static str> {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    match text.split('.').all(is_label) {
        true => Ok(text.to_owned()),
        false => Err("give a host name without a port, like play.example.org"),
    }
}

fn origin(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.trim_end_matches('/').contains('/') => Ok(text.to_owned()),
        _ => Err("give the origin of a page, like https://play.example.org or http://192.0.2.1:8080"),
    }
}

fn player_threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MAX_PLAYER_THREADS)
}

/// The default database.
const DEFAULT_DATABASE_URL: &str = "sqlite://sidereal.sqlite";

/// The given database, or that of `DATABASE_URL`, or the default one.
pub fn database_url(given: Option<&DatabaseUrl>) -> String {
    database_url_or(given, std::env::var("DATABASE_URL").ok())
}

fn database_url_or(given: Option<&DatabaseUrl>, from_environment: Option<String>) -> String {
    let given = given.map(|url| url.0.clone());
    given.or_else(|| from_environment.filter(|url| !url.is_empty())).unwrap_or_else(|| DEFAULT_DATABASE_URL.to_owned())
}

impl Config {
    /// The database's URL, which may contain a password. In this order: the flag, its environment twin,
    /// `DATABASE_URL`, a file in the working folder.
    pub fn database_url(&self) -> String {
        database_url(self.database_url.as_ref())
    }

    /// What decides the ports of players.
    pub fn player_ports(&self) -> PlayerPorts {
        PlayerPorts {
            listen: self.player_addr,
            threads: self.player_threads,
            advertise: self.advertise_player_addr,
            shard_port: self.shard_addr.port(),
        }
    }

    /// The address for browsers, as `https://HOST:PORT`, for the advertised address.
    pub fn player_origin(&self, advertised: SocketAddr) -> String {
        match &self.advertise_player_host {
            Some(host) => format!("https://{host}:{}", advertised.port()),
            None => format!("https://{advertised}"),
        }
    }

    /// The pages from which browsers may connect.
    pub fn allowed_origins(&self) -> AllowedOrigins {
        let addresses = [Some(self.http_addr), Some(self.player_addr), self.advertise_player_addr];
        let addresses = addresses.into_iter().flatten().map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
        let hosts = addresses.map(|ip| ip.to_string()).chain(self.advertise_player_host.clone());
        AllowedOrigins::new(hosts, self.web.allow_origins.iter().cloned())
    }
}

/// Sidereal's replication server, to which all clients and shards connect.
#[derive(Debug, Clone, Parser)]
#[command(name = "sidereal-server", version, after_help = "sidereal-server db --help: tools for a database.")]
pub struct Config {
    /// Where players connect (UDP, WebTransport); port 0 takes any free one.
    #[arg(long, env = "SIDEREAL_PLAYER_ADDR", value_parser = address, default_value = "127.0.0.1:7777")]
    pub player_addr: SocketAddr,
    /// Network threads for players. Each has a UDP port of its own, from that of --player-addr on, without that of
    /// --shard-addr; logins spread players over them. The default is one for every four cores, at most four.
    #[arg(long, env = "SIDEREAL_PLAYER_THREADS", value_parser = player_threads(), default_value_t = default_player_threads())]
    pub player_threads: usize,
    /// The address that logins give to players if it is not --player-addr: an address of a router or a relay, or the
    /// reachable one when --player-addr is 0.0.0.0 or ::. Port 0 means the port of --player-addr; another one is that of
    /// the first of several network threads.
    #[arg(long, env = "SIDEREAL_ADVERTISE_PLAYER_ADDR", value_parser = address)]
    pub advertise_player_addr: Option<SocketAddr>,
    /// The host name of that address for browsers: a name of the certificate in --tls-certificate.
    #[arg(long, env = "SIDEREAL_ADVERTISE_PLAYER_HOST", value_parser = host_name)]
    pub advertise_player_host: Option<String>,
    /// Where shards connect (UDP, WebTransport); keep it off public networks.
    #[arg(long, env = "SIDEREAL_SHARD_ADDR", value_parser = address, default_value = "127.0.0.1:7778")]
    pub shard_addr: SocketAddr,
    /// Where the HTTP API listens (TCP).
    #[arg(long, env = "SIDEREAL_HTTP_ADDR", value_parser = address, default_value = "127.0.0.1:7779")]
    pub http_addr: SocketAddr,
    /// Where health and metrics are served (TCP, HTTP), for operators; keep it off public networks.
    #[arg(long, env = "SIDEREAL_OPS_ADDR", value_parser = address, default_value = "127.0.0.1:7780")]
    pub ops_addr: SocketAddr,
    /// The database: sqlite://FILE, a file's path, :memory:, or postgres://USER:PASSWORD@HOST/DATABASE (best set in
    /// the environment). The default is DATABASE_URL, or else sqlite://sidereal.sqlite.
    #[arg(long, env = "SIDEREAL_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<DatabaseUrl>,
    /// How long completed deals, and the fences of entities that are gone, are kept in the database: days (30 or 30d),
    /// hours (12h), minutes (90m) or seconds; 0: forever.
    #[arg(long, env = "SIDEREAL_RETENTION", default_value_t = Retention::default())]
    pub retention: Retention,
    /// The secret that shards must present, 32 bytes or more; best set in the environment, where other users cannot
    /// read it.
    #[arg(long, env = "SIDEREAL_SHARD_SECRET", hide_env_values = true)]
    pub shard_secret: Secret,
    /// Seed of a new world. A stored world keeps its own, and another one here is an error.
    #[arg(long, env = "SIDEREAL_SEED")]
    pub seed: Option<u64>,
    /// No lease is granted before this many shards have connected, or five seconds have passed.
    #[arg(long, env = "SIDEREAL_EXPECT_SHARDS", default_value_t = 1)]
    pub expect_shards: usize,
    /// Limits of the HTTP API.
    #[command(flatten)]
    pub http: HttpOptions,
    /// Limits of the addresses for players and shards.
    #[command(flatten)]
    pub door: DoorOptions,
    /// Players in browsers.
    #[command(flatten)]
    pub web: WebOptions,
    /// Players with access tokens of Supabase.
    #[command(flatten)]
    pub supabase: SupabaseOptions,
    /// Write a report of the run here when it ends (JSON).
    #[arg(long, env = "SIDEREAL_REPORT")]
    pub report: Option<PathBuf>,
    /// Write the addresses here once the server listens (JSON).
    #[arg(long, env = "SIDEREAL_READY_FILE")]
    pub ready_file: Option<PathBuf>,
    /// End when the standard input ends, so that no process outlives a killed launcher.
    #[arg(long, env = "SIDEREAL_DIE_WITH_STDIN")]
    pub die_with_stdin: bool,
}

/// Limits of the HTTP API.
#[derive(Debug, Clone, Args)]
pub struct HttpOptions {
    /// Requests to /api/ per minute, and at once, from one remote address; 0: unlimited.
    #[arg(long, env = "SIDEREAL_RATE_LIMIT_ADDRESS", default_value_t = Rates::default().requests_per_address)]
    pub rate_limit_address: u32,
    /// Wrong passwords per minute for one account name from one remote address, and ten times as many from all; 0:
    /// unlimited.
    #[arg(long, env = "SIDEREAL_RATE_LIMIT_ACCOUNT", default_value_t = Rates::default().failures_per_account)]
    pub rate_limit_account: u32,
    /// Logins with a password per minute from one remote address, a third of them at once, and twenty times as many
    /// from all; 0: unlimited.
    #[arg(long, env = "SIDEREAL_RATE_LIMIT_LOGIN", default_value_t = Rates::default().logins_per_address)]
    pub rate_limit_login: u32,
    /// New accounts per minute from one remote address, after 60 at once, and twenty times as many from all; 0:
    /// unlimited.
    #[arg(long, env = "SIDEREAL_RATE_LIMIT_REGISTER", default_value_t = Rates::default().registrations_per_address)]
    pub rate_limit_register: u32,
    /// Whether new accounts can be made, with a password or with an access token.
    #[arg(long, env = "SIDEREAL_REGISTRATION", value_enum, default_value = "open")]
    pub registration: Registration,
    /// The number of trusted proxies in a row before the HTTP address, whose X-Forwarded-For counts; 0: none, the
    /// client's address is that of the connection.
    #[arg(long, env = "SIDEREAL_TRUSTED_PROXIES", default_value_t = 0)]
    pub trusted_proxies: usize,
}

impl HttpOptions {
    /// The rate limits.
    pub fn rates(&self) -> Rates {
        Rates {
            requests_per_address: self.rate_limit_address,
            failures_per_account: self.rate_limit_account,
            logins_per_address: self.rate_limit_login,
            registrations_per_address: self.rate_limit_register,
        }
    }
}

/// Players in browsers.
#[derive(Debug, Clone, Args)]
pub struct WebOptions {
    /// The folder of the built browser client, served at the HTTP address; read once, at the start.
    #[arg(long, env = "SIDEREAL_WEB_DIR")]
    pub web_dir: Option<PathBuf>,
    /// A certificate with its chain (PEM), for HTTPS and for players' connections; read again when it changes.
    #[arg(long, env = "SIDEREAL_TLS_CERTIFICATE", requires_all = ["tls_key", "advertise_player_host"])]
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM: PKCS #8, SEC 1 or PKCS #1).
    #[arg(long, env = "SIDEREAL_TLS_KEY", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Other pages from which browsers may connect, like `https://play.example.org`, separated by commas. Always
    /// allowed: those of this machine, of the HTTP and player addresses, and of the advertised host.
    #[arg(long = "allow-origin", env = "SIDEREAL_ALLOW_ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub allow_origins: Vec<String>,
}

/// Players with access tokens of Supabase. Without any of these, no access token is accepted.
#[derive(Debug, Clone, Args)]
pub struct SupabaseOptions {
    /// Address of the project's public keys, like `https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json`.
    #[arg(long, env = "SIDEREAL_SUPABASE_JWKS_URL")]
    pub supabase_jwks_url: Option<String>,
    /// The `iss` of its tokens, like `https://PROJECT.supabase.co/auth/v1`.
    #[arg(long, env = "SIDEREAL_SUPABASE_ISSUER")]
    pub supabase_issuer: Option<String>,
    /// The `aud` of its tokens.
    #[arg(long, env = "SIDEREAL_SUPABASE_AUDIENCE", default_value = "authenticated")]
    pub supabase_audience: String,
    /// The secret of a project that signs with HS256; best set in the environment, where other users cannot read it.
    #[arg(long, env = "SIDEREAL_SUPABASE_JWT_SECRET", hide_env_values = true, value_parser = maybe_secret)]
    pub supabase_jwt_secret: Option<Secret>,
    /// The signature algorithm of its tokens: ES256, or HS256 if a secret is given.
    #[arg(long, env = "SIDEREAL_SUPABASE_ALGORITHM", ignore_case = true)]
    pub supabase_algorithm: Option<Algorithm>,
}

impl SupabaseOptions {
    /// How access tokens are verified, if enabled.
    ///
    /// # Errors
    /// [`SupabaseConfigError::WrongKeys`] if something is given, but neither keys nor a secret.
    pub fn config(&self) -> Result<Option<SupabaseConfig>, SupabaseConfigError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (jwks_url, issuer) = (given(&self.supabase_jwks_url), given(&self.supabase_issuer));
        let secret = self.supabase_jwt_secret.clone().map(|secret| secret.0).filter(|secret| !secret.is_empty());
        if jwks_url.is_none() && secret.is_none() {
            return match issuer.is_some() || self.supabase_algorithm.is_some() {
                true => Err(SupabaseConfigError::WrongKeys),
                false => Ok(None),
            };
        }
        let usual = if jwks_url.is_none() { Algorithm::Hs256 } else { Algorithm::Es256 };
        Ok(Some(SupabaseConfig {
            algorithm: self.supabase_algorithm.unwrap_or(usual),
            jwks_url,
            secret,
            issuer: issuer.unwrap_or_default(),
            audience: self.supabase_audience.clone(),
            times: KeyTimes::default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(arguments: &[&str], bound: &str) -> Result<String, String> {
        let secret = ["sidereal-server", "--shard-secret", "x"];
        let config = Config::try_parse_from(secret.iter().chain(arguments)).expect("a good command line");
        let bound = bound.parse().expect("an address");
        let advertised = config.player_ports().advertised(&[bound]);
        advertised.map(|addresses| addresses[0].to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_database_is_the_one_that_is_named_nearest_and_never_printed() {
        let parse = |arguments: &[&str]| {
            let secret = ["sidereal-server", "--shard-secret", "x"];
            Config::try_parse_from(secret.iter().chain(arguments)).expect("a good command line")
        };
        let flag = parse(&["--database-url", "postgres://me:hunter2@h/world"]);
        assert_eq!(
            database_url_or(flag.database_url.as_ref(), Some("other.sqlite".into())),
            "postgres://me:hunter2@h/world"
        );
        assert!(!format!("{flag:?}").contains("hunter2"));
        if std::env::var_os("SIDEREAL_DATABASE_URL").is_none() {
            let none = parse(&[]);
            assert_eq!(database_url_or(none.database_url.as_ref(), Some("other.sqlite".into())), "other.sqlite");
            assert_eq!(database_url_or(none.database_url.as_ref(), Some(String::new())), DEFAULT_DATABASE_URL);
            assert_eq!(database_url_or(none.database_url.as_ref(), None), DEFAULT_DATABASE_URL);
        }
    }

    #[test]
    fn players_are_told_an_address_that_they_can_connect_to() {
        let everywhere = ["--player-addr", "0.0.0.0:0"];
        let advertise = |address| [&everywhere[..], &["--advertise-player-addr", address]].concat();
        assert_eq!(advertised(&[], "127.0.0.1:7777"), Ok("127.0.0.1:7777".into()));
        assert_eq!(advertised(&advertise("192.0.2.1:0"), "0.0.0.0:4000"), Ok("192.0.2.1:4000".into()));
        assert_eq!(advertised(&advertise("192.0.2.1:9"), "0.0.0.0:4000"), Ok("192.0.2.1:9".into()));
        for (arguments, bound) in [
            (everywhere.to_vec(), "0.0.0.0:4000"),
            (vec!["--player-addr", "[::]:0"], "[::]:4000"),
            (advertise("[::]:9"), "0.0.0.0:4000"),
        ] {
            let error = advertised(&arguments, bound).expect_err("no address to connect to");
            assert!(error.contains("--advertise-player-addr"), "{error}");
        }
    }

    #[test]
    fn the_number_of_network_threads_is_the_machines_or_the_operators() {
        let parse = |arguments: &[&str]| {
            let secret = ["sidereal-server", "--shard-secret", "x"];
            let config = Config::try_parse_from(secret.iter().chain(arguments)).map_err(|error| error.to_string());
            config.map(|config| config.player_ports().threads)
        };
        if std::env::var_os("SIDEREAL_PLAYER_THREADS").is_none() {
            assert_eq!(parse(&[]), Ok(default_player_threads()));
        }
        assert_eq!(parse(&["--player-threads", "3"]), Ok(3));
        for wrong in ["0", "17", "many"] {
            let error = parse(&["--player-threads", wrong]).expect_err("out of range");
            assert!(error.contains("--player-threads") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn https_needs_a_certificate_its_key_and_a_host_name() {
        let parse = |arguments: &[&str]| {
            let secret = ["sidereal-server", "--shard-secret", "x"];
            Config::try_parse_from(secret.iter().chain(arguments)).map_err(|error| error.to_string())
        };
        let whole = ["--tls-certificate", "c", "--tls-key", "k", "--advertise-player-host", "play.example.org"];
        let config = parse(&whole).expect("all three");
        let told = "192.0.2.1:7000".parse().expect("an address");
        assert_eq!(config.player_origin(told), "https://play.example.org:7000");
        assert_eq!(parse(&[]).expect("none").player_origin(told), "https://192.0.2.1:7000");
        assert!(parse(&whole[..4]).expect_err("no host").contains("--advertise-player-host"));
        assert!(parse(&whole[2..]).expect_err("no certificate").contains("--tls-certificate"));
        assert!(parse(&["--advertise-player-host", "https://x"]).expect_err("a URL").contains("without a port"));
        assert!(parse(&["--allow-origin", "play.example.org"]).expect_err("no scheme").contains("origin of a page"));
    }

    #[test]
    fn browsers_dial_the_relay_and_may_come_from_pages_of_this_servers_addresses() {
        let secret = ["sidereal-server", "--shard-secret", "x"];
        let parse = |arguments: &[&str]| Config::try_parse_from(secret.iter().chain(arguments)).expect("a good one");
        let relayed = parse(&["--player-addr", "127.0.0.1:0", "--advertise-player-addr", "192.0.2.7:7777"]);
        let bound = "127.0.0.1:40000".parse().expect("an address");
        let advertised = relayed.player_ports().advertised(&[bound]).expect("players can connect there");
        assert_eq!(relayed.player_origin(advertised[0]), "https://192.0.2.7:7777");
        assert!(relayed.allowed_origins().allows(Some("https://192.0.2.7")));

        let everywhere =
            ["--http-addr", "0.0.0.0:80", "--player-addr", "192.0.2.8:0", "--allow-origin", "https://a.example"];
        let allowed = parse(&everywhere).allowed_origins();
        for origin in ["http://192.0.2.8", "http://localhost", "https://a.example"] {
            assert!(allowed.allows(Some(origin)), "{origin}");
        }
        for origin in ["http://0.0.0.0", "http://192.0.2.9", "https://b.example"] {
            assert!(!allowed.allows(Some(origin)), "{origin}");
        }
    }

    #[test]
    fn accounts_are_made_unless_registration_is_closed() {
        let secret = ["sidereal-server", "--shard-secret", "x"];
        let parse = |arguments: &[&str]| {
            let config = Config::try_parse_from(secret.iter().chain(arguments));
            config.map(|config| config.http.registration).map_err(|error| error.to_string())
        };
        assert_eq!(parse(&[]), Ok(Registration::Open));
        assert_eq!(parse(&["--registration", "closed"]), Ok(Registration::Closed));
        assert!(parse(&["--registration", "shut"]).expect_err("neither").contains("--registration"));
        assert!(parse(&["--ops-addr", "7780"]).expect_err("no address").contains("--ops-addr"));
    }

    fn supabase(arguments: &[&str]) -> Result<Option<Algorithm>, SupabaseConfigError> {
        let secret = ["sidereal-server", "--shard-secret", "x"];
        let config = Config::try_parse_from(secret.iter().chain(arguments)).expect("a good command line");
        assert!(!format!("{config:?}").contains("hunter2"));
        config.supabase.config().map(|config| config.map(|config| config.algorithm))
    }

    #[test]
    fn the_algorithm_for_access_tokens_is_the_operators() {
        let url = ["--supabase-jwks-url", "https://x/k", "--supabase-issuer", "https://x"];
        let secret = ["--supabase-jwt-secret", "hunter2", "--supabase-issuer", "https://x"];
        let and = |flags: &[&'static str], more: &[&'static str]| [flags, more].concat();
        assert_eq!(supabase(&[]), Ok(None));
        assert_eq!(
            supabase(&["--supabase-jwks-url", "", "--supabase-issuer", "", "--supabase-jwt-secret", ""]),
            Ok(None)
        );
        assert_eq!(supabase(&url), Ok(Some(Algorithm::Es256)));
        assert_eq!(supabase(&and(&url, &["--supabase-algorithm", "rs256"])), Ok(Some(Algorithm::Rs256)));
        assert_eq!(supabase(&secret), Ok(Some(Algorithm::Hs256)));
        assert_eq!(supabase(&["--supabase-issuer", "https://x"]), Err(SupabaseConfigError::WrongKeys));
        assert_eq!(supabase(&["--supabase-algorithm", "ES256"]), Err(SupabaseConfigError::WrongKeys));
    }
}
