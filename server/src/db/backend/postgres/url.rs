//! The URL of a PostgreSQL database: parsed as libpq does it, displayed without its secrets.
//!
//! libpq itself never gets the URL: its message about a malformed one contains the password.

use std::fmt;

use crate::db::error::DbError;

/// Connection parameters that the URL does not set.
///
/// - Connecting to an unresponsive server fails after 5 s.
/// - A vanished peer is detected after about 11 s while nothing is sent, and after 10 s while something is.
const DEFAULTS: [(&str, &str); 7] = [
    ("application_name", "sidereal-server"),
    ("connect_timeout", "5"),
    ("keepalives", "1"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "2"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// The `sslmode`s that reject a connection without TLS.
const STRICT_SSLMODES: [&str; 3] = ["require", "verify-ca", "verify-full"];

/// A parsed URL. Its `Debug` and `Display` show host and database only.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PgUrl {
    parameters: Vec<(String, String)>,
    /// Hosts and ports, as given, separated by commas.
    hosts: String,
    database: String,
}

impl PgUrl {
    /// Parses `postgres://[user[:password]@][host[:port],...][/database][?key=value&...]`.
    pub fn parse(url: &str) -> Result<Self, DbError> {
        let bad = |why: &'static str| DbError::BadPostgresUrl { why };
        let rest = url.split_once("://").ok_or(bad("it does not begin with postgres://"))?.1;
        // As in libpq: the user ends at the first '@', unless a '/' comes before it.
        let (user_info, rest) = match rest.find(['@', '/']) {
            Some(at) if rest[at..].starts_with('@') => (&rest[..at], &rest[at + 1..]),
            _ => ("", rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.contains('@') || database.contains('@') {
            return Err(bad("an @ in a user name or password must be written as %40"));
        }

        let decode =
            |text: &str| decode(text).ok_or(bad("a % must be followed by two hexadecimal digits (UTF-8, no NUL)"));
        let mut parameters = Vec::new();
        let mut add = |key: &str, value: String| {
            if !value.is_empty() {
                parameters.push((key.to_owned(), value));
            }
        };
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        add("user", decode(user)?);
        add("password", decode(password)?);
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for host in hosts.split(',') {
            let (name, port) = match host.strip_prefix('[') {
                Some(v6) => {
                    let (address, port) = v6.split_once(']').ok_or(bad("a [ in the host is not closed"))?;
                    (address, port.strip_prefix(':').unwrap_or(port))
                }
                None => host.split_once(':').unwrap_or((host, "")),
            };
            if !port.is_empty() && port.parse::<u16>().is_err() {
                return Err(bad(
                    "the port is not a number from 1 to 65535 (special characters of a password must be written as %XX)",
                ));
            }
            names.push(decode(name)?);
            ports.push(port);
        }
        add("host", names.join(","));
        // One port, or as many as hosts; an empty one is the default.
        add("port", if ports.iter().all(|port| port.is_empty()) { String::new() } else { ports.join(",") });
        let database = decode(database)?;
        add("dbname", database.clone());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(bad("a parameter after the ? has no ="))?;
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                return Err(bad("a parameter after the ? has no proper name"));
            }
            add(key, decode(value)?);
        }
        let hosts = if hosts.is_empty() { "localhost".to_owned() } else { hosts.to_owned() };
        let url = Self { parameters, hosts, database };
        url.check_tls(std::env::var("PGSSLMODE").ok().as_deref())?;
        Ok(url)
    }

    /// Without TLS built in, libpq would only report an invalid value.
    fn check_tls(&self, from_environment: Option<&str>) -> Result<(), DbError> {
        let Some(mode) = self.parameter("sslmode").or(from_environment) else {
            return Ok(());
        };
        if !cfg!(feature = "postgres-tls") && STRICT_SSLMODES.contains(&mode) {
            return Err(DbError::NoTls { database: self.to_string(), mode: mode.to_owned() });
        }
        Ok(())
    }

    fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Whether a password could be sent over a network without TLS.
    pub fn is_open_to_readers(&self) -> bool {
        let host = self.parameter("host").unwrap_or("localhost");
        let is_local = |host: &str| {
            host.is_empty()
                || host.starts_with(['/', '@'])
                || host == "localhost"
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        !host.split(',').all(is_local) && !self.parameter("sslmode").is_some_and(|mode| STRICT_SSLMODES.contains(&mode))
    }

    /// The `key='value'` pairs for libpq. Contains the password: never print it.
    pub fn conninfo(&self) -> String {
        let mut conninfo = String::new();
        let defaults = DEFAULTS.iter().filter(|(key, _)| self.parameter(key).is_none()).copied();
        let given = self.parameters.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in defaults.chain(given) {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            conninfo.push_str(&format!("{key}='{value}' "));
        }
        conninfo
    }

    /// Reduces a message of libpq or the pool to one line, without any secret of the URL.
    pub fn scrub(&self, message: &str) -> String {
        let mut text = message.split_whitespace().collect::<Vec<_>>().join(" ");
        for (_, secret) in self.parameters.iter().filter(|(key, _)| key.contains("password")) {
            text = text.replace(secret.as_str(), "(hidden)");
        }
        text
    }
}

impl fmt::Display for PgUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}/{}", self.hosts, self.database)
    }
}

impl fmt::Debug for PgUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PgUrl({self})")
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push((digit()? * 16 + digit()?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> PgUrl {
        PgUrl::parse(url).expect(url)
    }

    #[test]
    fn a_url_is_taken_apart_as_libpq_does_it() {
        let url =
            parse("postgres://me:p%40ss%27%5C@db.example:6543/world?sslmode=prefer&options=-csearch_path%3Dsidereal");
        assert_eq!(url.parameter("user"), Some("me"));
        assert_eq!(url.parameter("password"), Some("p@ss'\\"));
        assert_eq!((url.parameter("host"), url.parameter("port")), (Some("db.example"), Some("6543")));
        assert_eq!(url.parameter("dbname"), Some("world"));
        assert_eq!(url.parameter("options"), Some("-csearch_path=sidereal"));
        assert!(url.conninfo().contains(r"password='p@ss\'\\' "), "quoted for libpq");
        assert!(url.conninfo().contains("connect_timeout='5' "));
        assert!(!parse("postgres://h/d?connect_timeout=60").conninfo().contains("connect_timeout='5'"));
        let url = parse("postgresql://%2Fvar%2Frun/world");
        assert_eq!((url.parameter("host"), url.parameter("user")), (Some("/var/run"), None));
        assert_eq!(parse("postgres://[::1]:99/x").parameter("host"), Some("::1"));
        assert_eq!(parse("postgres://a:1,b/x").parameter("port"), Some("1,"));
        assert_eq!(parse("postgres://").parameter("host"), None);
        assert_eq!(parse("postgres://u?w:x@h/d").parameter("user"), Some("u?w"));
    }

    #[test]
    fn whatever_is_wrong_with_a_url_its_password_is_not_shown() {
        for url in [
            "postgres:me:hunter2@db/world",
            "postgres://me:hunter2@%zz/world",
            "postgres://me:hunter2@h:99999/world",
            "postgres://me:hunter2/x@h/world",
            "postgres://me:hunter2@x@h/world",
            "postgres://me:hunter2%00@h/world",
            "postgres://me:hunter2@[::1/world",
            "postgres://me:hunter2@h/world?x",
            "postgres://me@h/world?Password=hunter2",
        ] {
            let error = PgUrl::parse(url).expect_err(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            assert!(error.to_string().contains("--database-url"), "{error}");
        }
        for url in ["postgres://me:hunter2@h/world", "postgres://me@h/world?password=hunter2&sslpassword=hunter2"] {
            let url = parse(url);
            assert!(!format!("{url} {url:?}").contains("hunter2"));
            assert_eq!(url.scrub("bad\n  option hunter2!"), "bad option (hidden)!");
            assert!(url.conninfo().contains("hunter2"), "libpq does get it");
        }
    }

    #[test]
    fn tls_that_is_asked_for_and_not_built_in_is_refused_by_name() {
        for mode in STRICT_SSLMODES {
            let result = PgUrl::parse(&format!("postgres://me:hunter2@h/world?sslmode={mode}"));
            if cfg!(feature = "postgres-tls") {
                result.expect("TLS is built in");
            } else {
                let text = result.expect_err("no TLS").to_string();
                assert!(text.contains("postgres-tls") && text.contains(mode) && !text.contains("hunter2"), "{text}");
            }
            let by_environment = parse("postgres://h/world").check_tls(Some(mode));
            assert_eq!(by_environment.is_ok(), cfg!(feature = "postgres-tls"));
        }
        parse("postgres://h/world?sslmode=disable").check_tls(Some("require")).expect("the URL counts first");
    }

    #[test]
    fn only_a_connection_that_others_can_read_is_warned_of() {
        assert!(parse("postgres://db.example/world").is_open_to_readers());
        assert!(parse("postgres://db.example/world?sslmode=prefer").is_open_to_readers());
        for local in ["postgres://", "postgres://localhost/x", "postgres://127.0.0.1/x", "postgres://%2Frun/x"] {
            assert!(!parse(local).is_open_to_readers(), "{local}");
        }
    }
}
