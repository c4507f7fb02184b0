//! The browser client's files and HTTPS, over real sockets.

mod http_world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_world::{Answer, World, described};
use serde_json::Value;
use sidereal_protocol::limits::PROTOCOL_VERSION;
use sidereal_server::http::{HttpLimits, MAX_WEB_FILES, WebFiles};
use sidereal_server::run::certificate::CertificateKeeper;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const SCRIPT: &str = "console.log('a game')";

/// An answer: the status line with the headers in lower case, and the body.
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    fn is(&self, status: u16) -> &Self {
        assert!(self.head.starts_with(&format!("http/1.1 {status}")), "{}", self.head);
        self
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn ask_over(mut stream: impl Read + Write, method: &str, path: &str, headers: &str) -> std::io::Result<Reply> {
    stream
        .write_all(format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    Ok(Reply { head, body: answer.split_off(end + 4) })
}

fn tcp(world: &World) -> TcpStream {
    let stream = TcpStream::connect(world.server.local_addr).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    stream
}

fn ask(world: &World, method: &str, path: &str, headers: &str) -> Reply {
    ask_over(tcp(world), method, path, headers).expect("an answer")
}

fn get(world: &World, path: &str, headers: &str) -> Reply {
    ask(world, "GET", path, headers)
}

/// A built client, as far as a server can see.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writable");
    write("index.html", "<!doctype html>");
    write("game.js", SCRIPT);
    write("game.js.br", "as brotli");
    write("game.js.gz", "as gzip");
    write("game_bg.wasm", "\0asm");
    write(".secret", "not for you");
    std::fs::create_dir(folder.path().join("snippets")).expect("writable");
    write("snippets/more.mjs", "export {}");
    folder
}

fn serving(limits: HttpLimits) -> World {
    let folder = folder();
    World::with(limits, |state| state.web = Some(Arc::new(WebFiles::load(folder.path()).expect("a good folder"))))
}

#[test]
fn files_are_served_by_name_and_nothing_else_is() {
    let world = serving(HttpLimits::default());
    for (path, content_type, body) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/index.html", "text/html; charset=utf-8", "<!doctype html>"),
        ("/game.js?v=2", "text/javascript; charset=utf-8", SCRIPT),
        ("/game_bg.wasm", "application/wasm", "\0asm"),
        ("/snippets/more.mjs", "text/javascript; charset=utf-8", "export {}"),
    ] {
        let reply = get(&world, path, "");
        reply.is(200);
        assert_eq!(reply.header("content-type"), Some(content_type), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-cache"));
        assert_eq!(reply.body, body.as_bytes(), "{path}");
    }
    for path in ["/../Cargo.toml", "/snippets/../../x", "/%2e%2e/x", "/.secret", "/snippets", "/snippets/", "//game.js"]
    {
        get(&world, path, "").is(404);
    }
    ask(&world, "POST", "/game.js", "content-length: 0\r\n").is(405);
    ask(&world, "DELETE", "/", "").is(405);
    ask(&world, "POST", "/nothing.js", "content-length: 0\r\n").is(404);
    let head = ask(&world, "HEAD", "/game.js", "");
    head.is(200);
    assert_eq!(head.header("content-length"), Some(SCRIPT.len().to_string().as_str()));
    assert!(head.body.is_empty());
}

#[test]
fn compressed_files_go_to_who_takes_them_and_known_ones_are_not_sent_again() {
    let world = serving(HttpLimits::default());
    let with = |accept: &str| get(&world, "/game.js", &format!("accept-encoding: {accept}\r\n"));
    for (accept, encoding, body) in [
        ("gzip, deflate, br", Some("br"), "as brotli"),
        ("gzip", Some("gzip"), "as gzip"),
        ("br;q=0, gzip;q=0.5", Some("gzip"), "as gzip"),
        ("br;q=0", None, SCRIPT),
        ("identity", None, SCRIPT),
    ] {
        let reply = with(accept);
        assert_eq!(reply.is(200).header("content-encoding"), encoding, "{accept}");
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
        assert_eq!(reply.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(reply.body, body.as_bytes(), "{accept}");
    }
    let (plain, brotli) = (with("identity"), with("br"));
    let (plain, brotli) = (plain.header("etag").expect("a tag"), brotli.header("etag").expect("a tag"));
    assert_ne!(plain, brotli, "their bytes differ");
    let known = get(&world, "/game.js", &format!("if-none-match: \"other\", W/{plain}\r\n"));
    assert!(known.is(304).body.is_empty());
    assert_eq!(known.header("etag"), Some(plain));
    get(&world, "/game.js", &format!("if-none-match: {brotli}\r\n")).is(200);
}

#[test]
fn browsers_are_told_to_run_and_reach_nothing_of_others() {
    let world = serving(HttpLimits::default());
    for path in ["/", "/game.js", "/nothing", "/live", "/api/world"] {
        let reply = get(&world, path, "");
        let policy = reply.header("content-security-policy").expect("a policy");
        for part in ["default-src 'self'", "script-src 'self' 'wasm-unsafe-eval'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(policy.contains("connect-src 'self' https://127.0.0.1:7777;"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(reply.header("x-frame-options"), Some("deny"));
        assert_eq!(reply.header("cross-origin-opener-policy"), Some("same-origin"));
    }
}

#[test]
fn a_server_without_the_client_says_how_to_have_it() {
    let world = World::start(HttpLimits::default());
    let reply = get(&world, "/", "");
    assert!(String::from_utf8_lossy(&reply.is(404).body).contains("--web-dir"));
    get(&world, "/game.js", "").is(404);
}

#[test]
fn files_take_nothing_of_what_logins_may_ask() {
    let folder = folder();
    let world = World::with(HttpLimits::default(), |state| {
        state.web = Some(Arc::new(WebFiles::load(folder.path()).expect("a good folder")));
        state.rates.requests_per_address = 1;
    });
    for _ in 0..20 {
        get(&world, "/game.js", "").is(200);
    }
    get(&world, "/api/world", "").is(200);
    get(&world, "/api/world", "").is(429);
    get(&world, "/", "").is(200);
}

#[test]
fn everybody_is_told_where_the_world_is_and_what_it_speaks() {
    let world = World::start(HttpLimits::default());
    let reply = get(&world, "/api/world", "");
    let body: Value = serde_json::from_slice(&reply.is(200).body).expect("JSON");
    let content_type = reply.header("content-type").expect("one").to_owned();
    let headers = vec![("content-type".to_owned(), content_type)];
    described::check("get", "/api/world", &Answer { status: 200, headers, body: body.clone() });
    assert_eq!(body["protocol_version"], PROTOCOL_VERSION);
    assert_eq!(body["certificate_hash"], world.certificate.hash());
}

#[test]
fn a_folder_that_is_no_client_is_refused_in_words() {
    let error = |path: &Path| WebFiles::load(path).expect_err("no client").to_string();
    let empty = tempfile::tempdir().expect("a folder");
    assert!(error(&empty.path().join("nowhere")).contains("nowhere"));
    assert!(error(empty.path()).contains("no index.html"));
    let folder = folder();
    std::fs::write(folder.path().join("a b.js"), "").expect("writable");
    assert!(error(folder.path()).contains("a b.js"));
    std::fs::remove_file(folder.path().join("a b.js")).expect("it is there");
    for number in 0..MAX_WEB_FILES {
        std::fs::write(folder.path().join(format!("{number}.txt")), "").expect("writable");
    }
    assert!(error(folder.path()).contains("more than 200 files"));
}

/// A certificate for localhost in files, which also serves as its own authority.
struct Pem {
    folder: tempfile::TempDir,
}

impl Pem {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes another certificate, and returns a client configuration that trusts it.
    fn write(&self) -> Arc<ClientConfig> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a good name");
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).expect("writable");
        std::fs::write(self.path("cert.pem"), made.cert.pem()).expect("writable");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        // A resumed session gets no certificate.
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    fn keeper(&self, host: &str) -> anyhow::Result<CertificateKeeper> {
        CertificateKeeper::of_files(&self.path("cert.pem"), &self.path("key.pem"), host)
    }
}

fn secure(keeper: &CertificateKeeper, limits: HttpLimits) -> World {
    let folder = folder();
    World::with(limits, |state| {
        state.certificate = keeper.certificate().clone();
        state.is_tls = true;
        state.web = Some(Arc::new(WebFiles::load(folder.path()).expect("a good folder")));
    })
}

fn get_secure(world: &World, trusting: &Arc<ClientConfig>, path: &str) -> std::io::Result<Reply> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(trusting.clone(), name).expect("a good configuration");
    ask_over(StreamOwned::new(connection, tcp(world)), "GET", path, "")
}

#[test]
fn https_shows_the_certificate_of_the_files_and_their_next_one() {
    let pem = Pem::new();
    let first = pem.write();
    let mut keeper = pem.keeper("localhost").expect("a good certificate");
    let world = secure(&keeper, HttpLimits::default());
    let told = |trusting: &Arc<ClientConfig>| -> Value {
        let reply = get_secure(&world, trusting, "/api/world").expect("an answer");
        serde_json::from_slice(&reply.is(200).body).expect("JSON")
    };
    assert_eq!(get_secure(&world, &first, "/game.js").expect("an answer").is(200).body, SCRIPT.as_bytes());
    let before = told(&first);
    assert_eq!(before["certificate_pinned"], false);

    // Broken files change nothing, and count once.
    std::fs::write(pem.path("cert.pem"), "half a certif").expect("writable");
    for _ in 0..3 {
        keeper.look(Duration::ZERO);
    }
    let certificate = keeper.certificate().clone();
    assert_eq!(certificate.refusals.load(Ordering::Relaxed), 1);
    assert_eq!(told(&first), before);

    let second = pem.write();
    keeper.look(Duration::ZERO);
    assert_eq!(certificate.changes.load(Ordering::Relaxed), 1);
    assert_ne!(told(&second)["certificate_hash"], before["certificate_hash"]);
    get_secure(&world, &first, "/live").err().expect("it is another one now");
}

#[test]
fn files_that_are_no_good_at_the_start_are_refused_in_words() {
    let pem = Pem::new();
    let refused = |host| format!("{:#}", pem.keeper(host).expect_err("no good"));
    assert!(refused("localhost").contains("cert.pem"));
    pem.write();
    assert!(refused("play.example.org").contains("--advertise-player-host"));
    let key = std::fs::read(pem.path("key.pem")).expect("it is there");
    pem.write();
    std::fs::write(pem.path("key.pem"), key).expect("writable");
    assert!(refused("localhost").contains("belongs to the certificate"));
}

#[test]
fn junk_and_slow_handshakes_hold_no_place() {
    let pem = Pem::new();
    let trusting = pem.write();
    let keeper = pem.keeper("localhost").expect("a good certificate");
    // Long enough for a handshake on a slow machine, and short enough for a test to wait for once.
    let limits = HttpLimits { head_timeout: Duration::from_secs(5), ..HttpLimits::default() };
    let world = secure(&keeper, limits);
    let mut junk = tcp(&world);
    junk.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it takes bytes");
    let mut rest = Vec::new();
    let _ = junk.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP"), "no HTTP without TLS");
    // A silent one delays no other, and is closed.
    let mut silent = [tcp(&world), tcp(&world)];
    get_secure(&world, &trusting, "/game.js").expect("an answer").is(200);
    for stream in &mut silent {
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap_or(0), 0, "it was closed");
    }
}
