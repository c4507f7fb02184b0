//! Access tokens of another issuer, made by a library that shares no code with the server (PyJWT), and the issuer's
//! keys, served by a local, counting HTTP server.
//!
//! Needs Python with PyJWT and cryptography, as `python3` or at `SIDEREAL_PYTHON`. Without them it prints SKIPPED; if
//! `CI` is `true` it fails.

mod http_world;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use http_world::World;
use serde::Deserialize;
use serde_json::Value;
use sidereal_server::accounts::supabase::{Algorithm, Identity, KeyTimes, Supabase, SupabaseConfig, TokenError};
use sidereal_server::http::HttpLimits;
use uuid::Uuid;

#[derive(Deserialize)]
struct Family {
    good: String,
    #[serde(rename = "also good")]
    also_good: Vec<String>,
    bad: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Tokens {
    issuer: String,
    subject: Uuid,
    secret: String,
    jwks: Value,
    next_jwks: Value,
    next_good: String,
    #[serde(rename = "ES256")]
    es256: Family,
    #[serde(rename = "RS256")]
    rs256: Family,
    #[serde(rename = "HS256")]
    hs256: Family,
}

/// Made once for all tests; `None` if they cannot be made.
static TOKENS: LazyLock<Option<Tokens>> = LazyLock::new(|| {
    let python = std::env::var("SIDEREAL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/access_tokens/tokens.py");
    let made = Command::new(&python).arg("-I").arg(script).output();
    match made {
        Ok(output) if output.status.success() => Some(serde_json::from_slice(&output.stdout).expect("JSON")),
        Ok(output) if output.status.code() != Some(3) => {
            panic!("{python} {script}: {}", String::from_utf8_lossy(&output.stderr))
        }
        _ => None,
    }
});

fn tokens() -> Option<&'static Tokens> {
    if TOKENS.is_none() {
        let needed =
            "Python with PyJWT and cryptography: `pip install PyJWT cryptography`, or name one by SIDEREAL_PYTHON";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "this test needs {needed}");
        println!("SKIPPED: there is no {needed}");
    }
    TOKENS.as_ref()
}

/// The issuer's server: answers every request with the answer set last, and counts.
#[derive(Clone)]
struct Issuer {
    url: String,
    asked: Arc<AtomicU64>,
    answer: Arc<Mutex<(&'static str, String)>>,
}

impl Issuer {
    fn start(document: &Value) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("it is bound"));
        let issuer =
            Self { url, asked: Arc::default(), answer: Arc::new(Mutex::new(("200 OK", document.to_string()))) };
        let (asked, answer) = (issuer.asked.clone(), issuer.answer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
                let _request = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
                asked.fetch_add(1, Ordering::SeqCst);
                let (status, body) = answer.lock().expect("not poisoned").clone();
                // A client that has read enough closes the connection.
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        issuer
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn answers(&self, status: &'static str, body: String) {
        *self.answer.lock().expect("not poisoned") = (status, body);
    }
}

const TIMES: KeyTimes = KeyTimes { lifetime_ms: 10_000, refetch_interval_ms: 1_000, stale_ms: 60_000 };

fn supabase(tokens: &Tokens, algorithm: Algorithm, issuer: &Issuer) -> Supabase {
    let by_secret = algorithm == Algorithm::Hs256;
    Supabase::new(SupabaseConfig {
        algorithm,
        jwks_url: (!by_secret).then(|| issuer.url.clone()),
        secret: by_secret.then(|| tokens.secret.clone()),
        issuer: tokens.issuer.clone(),
        audience: "authenticated".to_owned(),
        times: TIMES,
    })
    .expect("a good configuration")
}

#[test]
fn good_tokens_are_taken_and_of_the_others_none() {
    let Some(tokens) = tokens() else { return };
    let families =
        [(Algorithm::Es256, &tokens.es256), (Algorithm::Rs256, &tokens.rs256), (Algorithm::Hs256, &tokens.hs256)];
    for (algorithm, family) in families {
        let issuer = Issuer::start(&tokens.jwks);
        let judge = supabase(tokens, algorithm, &issuer);
        let world = World::with(HttpLimits::default(), |state| state.supabase = Some(judge));
        assert!(family.bad.len() >= 31, "{algorithm:?}");
        for (what, token) in &family.bad {
            let answer = world.with_token("/api/ticket", token);
            answer.refused(401, "access token");
            let (body, part) = (answer.body.to_string(), token.split('.').next_back().expect("a part"));
            assert!(part.is_empty() || !body.contains(part), "{what}: {body}");
            for path in ["/api/refresh", "/api/logout"] {
                assert_ne!(world.with_token(path, token).status, 200, "{what}");
            }
        }
        assert_eq!(world.metric("sidereal_access_token_accounts_total"), 0, "no token was accepted");
        let first = world.with_token("/api/ticket", &family.good);
        assert_eq!(first.status, 200, "{algorithm:?}: {first:?}");
        for token in &family.also_good {
            let again = world.with_token("/api/ticket", token);
            assert_eq!((again.status, &again.body["account_id"]), (200, &first.body["account_id"]), "{again:?}");
        }
        let ticket = world.tickets.redeem(first.text("ticket"), world.tickets.now_ms()).expect("just issued");
        assert_eq!(ticket.name, "Ann-Only");
        let account = world.database.account_of_identity(&tokens.issuer, tokens.subject).expect("memory");
        assert_eq!(account.expect("it was made").id, ticket.account_id);
        let figures = ["token_accounts", "tokens_accepted", "tokens_refused"];
        let figures = figures.map(|name| world.metric(&format!("sidereal_access_{name}_total")));
        assert_eq!(figures, [1, 6, family.bad.len() as u64]);
        // Another issuer's tokens give no access to an account with a password, nor the reverse.
        let guess = serde_json::json!({ "user": "Ann-Only", "password": "nobody has this password" });
        assert_eq!(world.post("/api/login", &guess).0, 401);
        assert_eq!(issuer.asked(), u64::from(algorithm != Algorithm::Hs256), "the keys were fetched once");
        assert_eq!(world.metric("sidereal_jwks_fetches_total"), issuer.asked());
    }
}

#[test]
fn an_expired_token_and_a_programs_are_told_apart() {
    let Some(tokens) = tokens() else { return };
    let issuer = Issuer::start(&tokens.jwks);
    let judge = supabase(tokens, Algorithm::Es256, &issuer);
    let runtime = runtime();
    for (what, error) in [
        ("expired", TokenError::Expired),
        ("not yet valid", TokenError::NotYet),
        ("anon", TokenError::WrongRole),
        ("service_role", TokenError::WrongRole),
        ("wrong aud", TokenError::Invalid),
        ("another payload", TokenError::Invalid),
        ("HS256 with the public key's PEM", TokenError::Invalid),
    ] {
        assert_eq!(runtime.block_on(judge.verify(&tokens.es256.bad[what], 0)), Err(error), "{what}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A verifier of ES256 tokens at a time of the test's choice.
struct Bench {
    issuer: Issuer,
    judge: Supabase,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(tokens: &Tokens) -> Self {
        let issuer = Issuer::start(&tokens.jwks);
        let judge = supabase(tokens, Algorithm::Es256, &issuer);
        Self { issuer, judge, runtime: runtime() }
    }

    fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, TokenError> {
        self.runtime.block_on(self.judge.verify(token, now_ms))
    }
}

#[test]
fn keys_are_fetched_once_in_their_lifetime_however_many_ask() {
    let Some(tokens) = tokens() else { return };
    let bench = Bench::new(tokens);
    let good = &tokens.es256.good;
    let all = async {
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let judge = bench.judge.clone();
                tokio::spawn(async move { judge.verify(good, 0).await })
            })
            .collect();
        for one in asked {
            one.await.expect("it ran").expect("a good token");
        }
    };
    bench.runtime.block_on(all);
    for now_ms in (0..TIMES.lifetime_ms).step_by(500) {
        bench.verify(good, now_ms).expect("a good token");
    }
    assert_eq!(bench.issuer.asked(), 1);
    bench.verify(good, TIMES.lifetime_ms).expect("a good token");
    assert_eq!(bench.issuer.asked(), 2);
}

#[test]
fn made_up_key_ids_cost_the_issuer_one_request_in_the_interval() {
    let Some(tokens) = tokens() else { return };
    let bench = Bench::new(tokens);
    for now_ms in (0..10_000).step_by(100) {
        assert_eq!(bench.verify(&tokens.es256.bad["unknown key id"], now_ms), Err(TokenError::Invalid));
        bench.verify(&tokens.es256.good, now_ms).expect("the others do not notice");
    }
    assert_eq!(bench.issuer.asked(), 10);
    assert_eq!(bench.judge.fetches(), (10, 0));
    // A token with another algorithm, or without a key id, causes no request.
    let bench = Bench::new(tokens);
    for what in
        ["no algorithm", "no key id", "another algorithm", "HS256 with the public key's DER", "critical header", "huge"]
    {
        assert_eq!(bench.verify(&tokens.es256.bad[what], 0), Err(TokenError::Invalid), "{what}");
    }
    assert_eq!(bench.issuer.asked(), 0);
}

#[test]
fn a_new_key_is_found_and_a_withdrawn_one_is_not_taken() {
    let Some(tokens) = tokens() else { return };
    let bench = Bench::new(tokens);
    bench.verify(&tokens.es256.good, 0).expect("a good token");
    bench.issuer.answers("200 OK", tokens.next_jwks.to_string());
    assert_eq!(bench.verify(&tokens.next_good, 999), Err(TokenError::Invalid), "not fetched again so soon");
    bench.verify(&tokens.next_good, 1_000).expect("found");
    assert_eq!(bench.verify(&tokens.es256.good, 1_001), Err(TokenError::Invalid));
    assert_eq!(bench.issuer.asked(), 2);
}

#[test]
fn while_the_issuer_is_away_its_old_keys_are_good_for_a_bounded_time() {
    let Some(tokens) = tokens() else { return };
    let bench = Bench::new(tokens);
    let good = &tokens.es256.good;
    bench.verify(good, 0).expect("a good token");
    let huge = format!("{{\"keys\": [{}]}}", " ".repeat(100_000));
    let elsewhere = Issuer::start(&tokens.jwks);
    let redirect: &'static str = Box::leak(format!("302 Found\r\nlocation: {}", elsewhere.url).into_boxed_str());
    let ways = [
        ("500 Oops", tokens.jwks.to_string()),
        (redirect, String::new()),
        ("200 OK", "oops".to_owned()),
        ("200 OK", r#"{"keys": []}"#.to_owned()),
        ("200 OK", r#"{"keys": [{"kty": "oct", "k": "AAAA", "kid": "ec-1", "alg": "HS256"}]}"#.to_owned()),
        ("200 OK", huge),
    ];
    let end = TIMES.lifetime_ms + TIMES.stale_ms;
    let mut tries = 0;
    for (now_ms, (status, body)) in (TIMES.lifetime_ms..end).step_by(500).zip(ways.into_iter().cycle()) {
        bench.issuer.answers(status, body);
        bench.verify(good, now_ms).expect("a good token");
        assert_eq!(bench.verify(&tokens.es256.bad["anon"], now_ms), Err(TokenError::WrongRole), "still as strict");
        tries += u64::from(now_ms.is_multiple_of(1_000));
    }
    assert_eq!(bench.issuer.asked(), 1 + tries);
    assert_eq!(bench.judge.fetches(), (1 + tries, tries));
    assert_eq!(elsewhere.asked(), 0, "a redirect is not followed");
    assert_eq!(bench.verify(good, end), Err(TokenError::KeysUnreachable));
    bench.issuer.answers("200 OK", tokens.jwks.to_string());
    assert_eq!(bench.verify(good, end + 999), Err(TokenError::KeysUnreachable), "not fetched again so soon");
    bench.verify(good, end + 1_000).expect("it is back");
}

#[test]
fn an_issuer_that_was_never_reached_is_told_as_what_it_is() {
    let Some(tokens) = tokens() else { return };
    // Bound and dropped: no server listens there.
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port").local_addr().expect("it is bound");
    let issuer = Issuer { url: format!("http://{free}/keys"), ..Issuer::start(&tokens.jwks) };
    let judge = supabase(tokens, Algorithm::Es256, &issuer);
    let world = World::with(HttpLimits::default(), |state| state.supabase = Some(judge));
    world.with_token("/api/ticket", &tokens.es256.good).refused(503, "are unavailable at the moment");
    assert_eq!((world.metric("sidereal_jwks_fetches_total"), world.metric("sidereal_jwks_failures_total")), (1, 1));
}
