//! The command lines of a world's processes: their flags, files and secrets.
//!
//! Secrets (the shards' secret, the database's URL, the player's password) are passed by environment, where other users
//! of the machine cannot read them, and never logged. The launcher's own environment twins are not passed on.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use crate::binaries::Binaries;
use crate::database::Database;
use crate::network::{AddedNetwork, Door, RelayAddrs};
use crate::options::{Options, own_variables};
use crate::pilot::Pilot;

/// The variable with the shards' secret, for server and shards.
const SHARD_SECRET: &str = "SIDEREAL_SHARD_SECRET";

/// The addresses of the server, from its ready file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoints {
    /// For players, `address:port`.
    pub player_addr: String,
    /// For shards, `address:port`.
    pub shard_addr: String,
    /// For HTTP, `address:port`.
    pub http_addr: String,
    /// For health and metrics (HTTP), `address:port`.
    pub ops_addr: String,
    /// The certificate's hash, in hexadecimal digits.
    pub certificate_hash: String,
}

impl Endpoints {
    /// The base of every HTTP address of the server.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http_addr)
    }
}

/// One run's programs, files and secrets.
pub struct World {
    binaries: Binaries,
    database: Database,
    options: Options,
    /// Ready files and the processes' reports; removed with this.
    scratch: TempDir,
    shard_secret: String,
    coloured: bool,
}

impl World {
    /// A run of `options`; `coloured` lets the processes colour their lines.
    ///
    /// # Errors
    /// No temporary folder can be created.
    pub fn new(binaries: Binaries, database: Database, options: &Options, coloured: bool) -> io::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("sidereal-").tempdir()?;
        // Two random UUIDs: 244 bits from the system's source of randomness.
        let shard_secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Ok(Self { binaries, database, options: options.clone(), scratch, shard_secret, coloured })
    }

    /// `shard-1`, `shard-2`, ...
    pub fn shard_name(number: u32) -> String {
        format!("shard-{number}")
    }

    /// The names of all processes of a run of `options`.
    pub fn names(options: &Options) -> impl Iterator<Item = String> + use<> {
        let relays = options.adds_network().then(|| Door::ALL.map(Door::relay_name)).into_iter().flatten();
        let others = ["server", "bots", "client"].into_iter().chain(relays).map(str::to_owned);
        (1..=options.shards).map(Self::shard_name).chain(others)
    }

    /// The report file of the process called `name`.
    pub fn report_file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.json"))
    }

    /// The ready file of the process called `name`.
    pub fn ready_file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.ready"))
    }

    /// The addresses of the relays, once both have written them.
    pub fn relay_addrs(&self) -> Option<RelayAddrs> {
        #[derive(Deserialize)]
        struct Ready {
            listen_addr: String,
        }
        let listen_addr = |door: Door| {
            let text = std::fs::read(self.ready_file(door.relay_name())).ok()?;
            serde_json::from_slice(&text).ok().map(|ready: Ready| ready.listen_addr)
        };
        Some(RelayAddrs { players: listen_addr(Door::Players)?, shards: listen_addr(Door::Shards)? })
    }

    /// Writes the server's addresses for the relays.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn tell_relays(&self, endpoints: &Endpoints) -> io::Result<()> {
        for (door, address) in [(Door::Players, &endpoints.player_addr), (Door::Shards, &endpoints.shard_addr)] {
            std::fs::write(self.target_file(door), format!("{address}\n"))?;
        }
        Ok(())
    }

    fn target_file(&self, door: Door) -> PathBuf {
        self.scratch.path().join(format!("{}.to", door.relay_name()))
    }

    /// The addresses of the server, once it has written them.
    pub fn endpoints(&self) -> Option<Endpoints> {
        let text = std::fs::read(self.ready_file("server")).ok()?;
        // A half-written file is not JSON yet; the next attempt finds it complete.
        serde_json::from_slice(&text).ok()
    }

    /// The relay before `door`, if one is requested: it adds `network` to the traffic.
    pub fn relay(&self, door: Door, network: &AddedNetwork) -> Option<Command> {
        let name = door.relay_name();
        let mut command = self.command(self.binaries.relay.as_deref()?, name);
        command.args(["--listen", &format!("127.0.0.1:{}", door.port(&self.options))]);
        command.arg("--to-file").arg(self.target_file(door)).arg("--ready-file").arg(self.ready_file(name));
        let AddedNetwork { latency_ms, jitter_ms, loss } = network;
        for (flag, value) in [("--delay-ms", latency_ms), ("--jitter-ms", jitter_ms), ("--loss", loss)] {
            command.args([flag, &value.to_string()]);
        }
        if let Some(seed) = self.options.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        Some(command)
    }

    /// The replication server; with `relays` before it, on ports that only they know.
    pub fn server(&self, relays: Option<&RelayAddrs>) -> Command {
        let options = &self.options;
        let mut command = self.command(&self.binaries.server, "server");
        let behind_relay = |port| if relays.is_some() { 0 } else { port };
        for (flag, port) in [
            ("--player-addr", behind_relay(options.player_port)),
            ("--shard-addr", behind_relay(options.shard_port)),
            ("--http-addr", options.http_port),
            ("--ops-addr", options.ops_port()),
        ] {
            command.args([flag, &format!("127.0.0.1:{port}")]);
        }
        // The relay before the players' door has one port, and leads to one.
        let player_threads = if relays.is_some() { Some(1) } else { options.player_threads };
        if let Some(threads) = player_threads {
            command.args(["--player-threads", &threads.to_string()]);
        }
        if let Some(relays) = relays {
            command.args(["--advertise-player-addr", &relays.players]);
        }
        if let Some(folder) = &options.web_dir {
            command.arg("--web-dir").arg(folder);
        }
        command.args(["--expect-shards", &options.shards.to_string()]);
        command.arg("--ready-file").arg(self.ready_file("server"));
        if let Some(seed) = options.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        // All bots share this machine's address, and all log in at once: beyond the usual limits, two logins (of which
        // a third of a minute's may pass at once) and one registration per bot.
        for (limit, for_a_bot) in [("SIDEREAL_RATE_LIMIT_LOGIN", 6), ("SIDEREAL_RATE_LIMIT_REGISTER", 1)] {
            if options.bots > 0 && std::env::var_os(limit).is_none() {
                command.env(limit, (60 + for_a_bot * options.bots).to_string());
            }
        }
        command.env("SIDEREAL_DATABASE_URL", self.database.url()).env(SHARD_SECRET, &self.shard_secret);
        command
    }

    /// The shard of that number, from 1.
    pub fn shard(&self, number: u32, endpoints: &Endpoints) -> Command {
        let name = Self::shard_name(number);
        let mut command = self.command(&self.binaries.shard, &name);
        command.args(["--server", &endpoints.shard_addr, "--certificate-hash", &endpoints.certificate_hash]);
        command.args(["--name", &name]).env(SHARD_SECRET, &self.shard_secret);
        command
    }

    /// The process of all bots, if any are requested.
    pub fn bots(&self, endpoints: &Endpoints) -> Option<Command> {
        let options = &self.options;
        let mut command = self.command(self.binaries.bots.as_deref()?, "bots");
        command.args(["--http", &endpoints.http_url(), "--count", &options.bots.to_string()]);
        command.arg("--ready-file").arg(self.ready_file("bots"));
        for (flag, value) in [("--seconds", options.seconds), ("--seed", options.seed)] {
            if let Some(value) = value {
                command.args([flag, &value.to_string()]);
            }
        }
        if options.gather {
            command.arg("--gather");
        }
        if let Some(mission) = &options.mission {
            command.args(["--mission", mission]);
        }
        Some(command)
    }

    /// The window of the local player, if one is requested.
    pub fn client(&self, endpoints: &Endpoints, pilot: &Pilot) -> Option<Command> {
        let mut command = self.command(self.binaries.client.as_deref()?, "client");
        command.args(["--http", &endpoints.http_url(), "--user", &pilot.user]);
        command.env("SIDEREAL_PASSWORD", &pilot.password);
        Some(command)
    }

    fn command(&self, program: &Path, name: &str) -> Command {
        let mut command = Command::new(program);
        for variable in own_variables().iter().map(|name| name.as_os_str()).chain([OsStr::new(SHARD_SECRET)]) {
            command.env_remove(variable);
        }
        if !self.coloured {
            command.env("NO_COLOR", "1");
        }
        command.arg("--die-with-stdin").arg("--report").arg(self.report_file(name));
        command
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn world(arguments: &[&str]) -> World {
        let options = Options::parse_from(["run-local"].iter().chain(arguments));
        let programs = |name: &str| PathBuf::from(format!("/programs/{name}"));
        let binaries = Binaries {
            server: programs("server"),
            shard: programs("shard"),
            bots: (options.bots > 0).then(|| programs("bots")),
            client: Some(programs("client")),
            relay: options.adds_network().then(|| programs("relay")),
        };
        let database = Database::from_url("postgres://me:hidden@db/world");
        World::new(binaries, database, &options, false).expect("a temporary folder")
    }

    fn endpoints() -> Endpoints {
        Endpoints {
            player_addr: "127.0.0.1:1".into(),
            shard_addr: "127.0.0.1:2".into(),
            http_addr: "127.0.0.1:3".into(),
            ops_addr: "127.0.0.1:4".into(),
            certificate_hash: "ab".into(),
        }
    }

    fn arguments(command: &Command) -> String {
        command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    fn environment(command: &Command, name: &str) -> Option<String> {
        let found = command.get_envs().find(|(key, _)| *key == OsStr::new(name))?;
        found.1.map(|value| value.to_string_lossy().into_owned())
    }

    #[test]
    fn secrets_go_by_environment_and_only_to_who_needs_them() {
        let world = world(&["--bots", "3"]);
        let pilot = Pilot { user: "pilot".into(), password: "hidden-too".into() };
        let (bots, client) = (world.bots(&endpoints()), world.client(&endpoints(), &pilot));
        let commands =
            [world.server(None), world.shard(1, &endpoints()), bots.expect("wanted"), client.expect("wanted")];
        let told = commands.each_ref().map(|command| environment(command, SHARD_SECRET).is_some());
        assert_eq!(told, [true, true, false, false]);
        for command in &commands {
            let line = arguments(command);
            assert!(!line.contains("hidden") && !line.contains(&world.shard_secret), "{line}");
            assert!(line.contains("--die-with-stdin") && line.contains("--report"), "{line}");
        }
        assert_ne!(world.shard_secret, self::world(&[]).shard_secret);
    }

    #[test]
    fn every_process_gets_what_was_asked_for() {
        let world =
            world(&["--bots", "3", "--gather", "--seconds", "9", "--seed", "5", "--shards", "4", "--http-port", "0"]);
        let server = arguments(&world.server(None));
        assert!(server.contains("--player-addr 127.0.0.1:7777 --shard-addr 127.0.0.1:7778 --http-addr 127.0.0.1:0"));
        assert!(server.contains("--ops-addr 127.0.0.1:0"), "{server}");
        assert!(server.contains("--expect-shards 4") && server.contains("--seed 5"), "{server}");
        assert!(!server.contains("--player-threads"), "the server's default follows its machine");
        let threads = arguments(&self::world(&["--player-threads", "3"]).server(None));
        assert!(threads.contains("--player-threads 3"), "{threads}");
        let bots = arguments(&world.bots(&endpoints()).expect("wanted"));
        assert!(bots.contains("--count 3") && bots.contains("--seconds 9 --seed 5 --gather"), "{bots}");
        let traders = self::world(&["--bots", "3", "--mission", "trade"]);
        let traders = arguments(&traders.bots(&endpoints()).expect("wanted"));
        assert!(traders.contains("--mission trade") && !traders.contains("--gather"), "{traders}");
        let shard = arguments(&world.shard(2, &endpoints()));
        assert!(shard.contains("--server 127.0.0.1:2 --certificate-hash ab --name shard-2"), "{shard}");
    }

    #[test]
    fn relays_take_the_chosen_ports_and_the_server_hands_out_the_players_one() {
        let network = AddedNetwork { latency_ms: 20.5, jitter_ms: 5.0, loss: 0.1 };
        assert!(world(&[]).relay(Door::Players, &network).is_none());
        let world = world(&["--latency-ms", "20.5", "--seed", "5", "--shard-port", "4000"]);
        let relays = Door::ALL.map(|door| arguments(&world.relay(door, &network).expect("wanted")));
        for (relay, listen) in relays.iter().zip(["--listen 127.0.0.1:7777", "--listen 127.0.0.1:4000"]) {
            assert!(relay.contains(listen), "{relay}");
            assert!(relay.contains("--delay-ms 20.5 --jitter-ms 5 --loss 0.1 --seed 5"), "{relay}");
        }
        assert_eq!(world.relay_addrs(), None);
        for (door, address) in [(Door::Players, "127.0.0.1:1"), (Door::Shards, "127.0.0.1:2")] {
            let ready = format!(r#"{{"listen_addr":"{address}"}}"#);
            std::fs::write(world.ready_file(door.relay_name()), ready).expect("written");
        }
        let relays = world.relay_addrs().expect("both listen");
        assert_eq!(relays, RelayAddrs { players: "127.0.0.1:1".into(), shards: "127.0.0.1:2".into() });
        let server = arguments(&world.server(Some(&relays)));
        assert!(server.contains("--player-addr 127.0.0.1:0 --shard-addr 127.0.0.1:0 --http-addr 127.0.0.1:7779"));
        assert!(server.contains("--player-threads 1 --advertise-player-addr 127.0.0.1:1"), "{server}");
        world.tell_relays(&endpoints()).expect("written");
        let told = Door::ALL.map(|door| std::fs::read_to_string(world.target_file(door)).expect("written"));
        assert_eq!(told, ["127.0.0.1:1\n", "127.0.0.1:2\n"]);
    }

    #[test]
    fn a_ready_file_counts_when_it_is_whole() {
        let world = world(&[]);
        assert_eq!(world.endpoints(), None);
        let text = r#"{"player_addr":"127.0.0.1:1","shard_addr":"127.0.0.1:2","http_addr":"127.0.0.1:3","ops_addr":"127.0.0.1:4","certificate_hash":"ab"}"#;
        std::fs::write(world.ready_file("server"), &text[..40]).expect("written");
        assert_eq!(world.endpoints(), None);
        std::fs::write(world.ready_file("server"), text).expect("written");
        assert_eq!(world.endpoints(), Some(endpoints()));
    }
}
