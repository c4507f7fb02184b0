//! The pages from which browsers may connect: a browser sends the page's origin, other programs send none.

use std::net::IpAddr;

/// The pages from which players may connect. Those of this machine are always allowed.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl AllowedOrigins {
    /// Allows pages of these hosts (names or IP addresses), by http or https on any port, and those of these origins,
    /// like `https://play.example.org:8443`.
    pub fn new(hosts: impl IntoIterator<Item = String>, origins: impl IntoIterator<Item = String>) -> Self {
        Self { hosts: hosts.into_iter().collect(), origins: origins.into_iter().collect() }
    }

    /// Whether a connection with this origin is allowed.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        if self.origins.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
            return true;
        }
        let Some(host) = host_of(origin) else { return false };
        is_loopback(host) || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }
}

/// The host in `http(s)://HOST[:PORT]`, without the brackets of IPv6; `None` for other texts.
fn host_of(origin: &str) -> Option<&str> {
    let (scheme, rest) = origin.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let is_port = |text: &str| text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#']);
    (is_host && (port.is_empty() || is_port(port))).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_are_kept_out_and_programs_are_let_in() {
        let allowed = AllowedOrigins::new(
            ["play.example.org".to_owned(), "192.0.2.1".to_owned()],
            ["https://other.example:8443/".to_owned()],
        );
        let in_ = [
            "https://play.example.org",
            "https://PLAY.example.org:8443",
            "http://192.0.2.1:7779",
            "https://other.example:8443",
            "http://localhost:7779",
            "http://127.0.0.1",
            "http://[::1]:8080",
        ];
        assert!(allowed.allows(None));
        for origin in in_ {
            assert!(allowed.allows(Some(origin)), "{origin}");
        }
        let out = [
            "null",
            "",
            "https://",
            "https://other.example",
            "https://evil.example",
            "https://play.example.org.evil.example",
            "https://evil.example/@localhost",
            "https://localhost@evil.example",
            "https://localhost:x",
            "https://[::1",
            "file://localhost",
            "localhost",
        ];
        for origin in out {
            assert!(!allowed.allows(Some(origin)), "{origin}");
        }
    }
}
