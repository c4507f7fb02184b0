//! Players that break the rules, beside others that follow them: whatever they send, withhold, repeat or leave unread,
//! the honest ones are not affected, every invariant holds, and nothing of the hostile ones is left when they are gone.
#![allow(clippy::unwrap_used)]

use naia_bevy_server::Server;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sidereal_client::{chat::ChatBook, session::SessionState};
use sidereal_protocol::{
    frames::{
        chat::Scope,
        control::encode_frame,
        messages::{Deal, FromPlayer, Say},
    },
    rules::{
        economy::{Bargain, DealKey},
        flight::Controls,
    },
};
use sidereal_tests::cluster::{Cluster, PERFECT};
use uuid::Uuid;

/// The behaviour of a hostile player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Changes bits, cuts, joins, invents.
    Mutate,
    /// Repeats earlier packets.
    Replay,
    /// Sends arbitrary acknowledgements.
    Withhold,
    /// Sends everything fifty times.
    Flood,
    /// Is silent for seconds.
    Stall,
    /// Stops reading.
    Deaf,
    /// Frames of any bytes.
    Frames,
    /// Requests and chat texts without end, well formed.
    Ask,
    /// Connects and disconnects.
    Flicker,
}

const HABITS: [Habit; 9] = [
    Habit::Mutate,
    Habit::Replay,
    Habit::Withhold,
    Habit::Flood,
    Habit::Stall,
    Habit::Deaf,
    Habit::Frames,
    Habit::Ask,
    Habit::Flicker,
];

/// What each datagram of a hostile player is replaced by.
fn tamper(habit: Habit, seed: u64) -> impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static {
    let mut random = StdRng::seed_from_u64(seed);
    let mut history: Vec<Vec<u8>> = Vec::new();
    let mut silent = 0u32;
    move |datagram| {
        if history.len() < 200 {
            history.push(datagram.to_vec());
        }
        let mut sent = vec![datagram.to_vec()];
        match habit {
            Habit::Mutate if random.random_bool(0.5) => sent = vec![mutate(&mut random, &history)],
            Habit::Replay => {
                for _ in 0..random.random_range(0..4) {
                    sent.push(history[random.random_range(0..history.len())].clone());
                }
            }
            // The acknowledgements are in the first bytes of naia's packets.
            Habit::Withhold if sent[0].len() > 9 && sent[0][0] == 0 => {
                let from = random.random_range(3..6);
                sent[0][from..10].fill(random.random());
            }
            Habit::Flood => sent = vec![datagram.to_vec(); 50],
            Habit::Stall => {
                silent = silent.saturating_sub(1);
                if silent == 0 && random.random_bool(0.005) {
                    silent = random.random_range(30..300);
                }
                if silent > 0 {
                    sent.clear();
                }
            }
            _ => {}
        }
        sent
    }
}

fn mutate(random: &mut StdRng, history: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = history[random.random_range(0..history.len())].clone();
    match random.random_range(0..4) {
        0 => bytes.truncate(random.random_range(0..=bytes.len())),
        1 => {
            let other = &history[random.random_range(0..history.len())];
            let at = random.random_range(0..=bytes.len().min(other.len()));
            bytes.truncate(at);
            bytes.extend(&other[at..]);
        }
        2 => bytes = (0..random.random_range(0..1300)).map(|_| random.random()).collect(),
        _ => {
            for _ in 0..random.random_range(1..8) {
                let at = random.random_range(0..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    bytes
}

/// What a hostile player does besides its datagrams, in each tick.
fn misbehave(cluster: &mut Cluster, guest: usize, habit: Habit, random: &mut StdRng) {
    let handle = cluster.guests[guest].handle.clone();
    let send = |bytes: Vec<u8>| {
        // A session that has ended accepts nothing.
        let _ = handle.send_stream(bytes.into());
    };
    match habit {
        Habit::Frames if random.random_bool(0.3) => {
            let length = if random.random_bool(0.02) { 2_000 } else { random.random_range(0..200) };
            send((0..length).map(|_| random.random()).collect());
        }
        Habit::Ask => {
            for _ in 0..random.random_range(0..6) {
                let key = DealKey(Uuid::from_u128(random.random_range(0..8)));
                let bargains =
                    [Bargain::Dock, Bargain::Undock, Bargain::Accept, Bargain::Sell { ore: 1 }, Bargain::Repair];
                let bargain = bargains[random.random_range(0..bargains.len())];
                let asked = [
                    FromPlayer::Respawn,
                    FromPlayer::Deal(Deal::of(key, &bargain).again(random.random())),
                    FromPlayer::Say(Say::to(Scope::World, "again and again".to_owned())),
                ];
                let asked = &asked[random.random_range(0..asked.len())];
                send(encode_frame(asked).unwrap());
            }
        }
        // It stops reading: what is sent to it waits.
        Habit::Deaf if random.random_bool(0.01) => cluster.guests[guest].app = None,
        Habit::Flicker if random.random_bool(0.05) => {
            handle.close("I am off");
            handle.flush();
        }
        _ => {}
    }
}

fn users_of(cluster: &mut Cluster) -> usize {
    let count = |naia: Server<'_>| naia.users_count();
    let system = cluster.server.register_system(count);
    let users = cluster.server.world_mut().run_system(system).unwrap();
    cluster.server.world_mut().unregister_system(system).unwrap();
    users
}

/// `SIDEREAL_HOSTILE_TICKS` and `SIDEREAL_SEED` for longer and other runs.
#[test]
fn hostile_players_are_nobodys_trouble() {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let ticks = given("SIDEREAL_HOSTILE_TICKS").unwrap_or(1_200);
    let seed = given("SIDEREAL_SEED").unwrap_or(5);
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::new(seed, PERFECT, 2);
    let honest = ["ada", "bob"].map(|name| cluster.join_and_fly(name));
    for (player, turn) in honest.into_iter().zip([40, -30]) {
        cluster.steer(player, Controls { thrust: 127, turn, ..Controls::default() });
    }
    let mut sessions = 0;
    let mut invite = |cluster: &mut Cluster, habit: Habit| {
        // An account each, so that they return to their own ships.
        let guest = cluster.invite(&format!("{habit:?}"));
        sessions += 1;
        (guest, seed * 1_000 + sessions)
    };
    let mut guests: Vec<(Habit, usize, Option<u64>)> = HABITS
        .into_iter()
        .map(|habit| {
            let (guest, seed) = invite(&mut cluster, habit);
            (habit, guest, Some(seed))
        })
        .collect();
    for _ in 0..ticks {
        for (habit, guest, untouched) in &mut guests {
            let in_space =
                cluster.guests[*guest].app.as_ref().map(|app| app.world().resource::<SessionState>().clone());
            // Honest until they fly, so that there is state to damage.
            if in_space == Some(SessionState::InSpace)
                && let Some(seed) = untouched.take()
            {
                cluster.network.tamper(&cluster.guests[*guest].handle, tamper(*habit, seed));
            }
            if untouched.is_none() {
                misbehave(&mut cluster, *guest, *habit, &mut random);
            }
            // Disconnected, or gone: it reconnects a moment later.
            let is_over = cluster.guests[*guest].handle.is_finished() || in_space.is_some_and(|state| state.is_over());
            if is_over && random.random_bool(0.05) {
                cluster.guests[*guest].app = None;
                let (new, seed) = invite(&mut cluster, *habit);
                (*guest, *untouched) = (new, Some(seed));
            }
        }
        cluster.tick_once();
    }
    // The honest ones play as if they were alone.
    for player in honest {
        assert_eq!(*cluster.session(player), SessionState::InSpace);
        let counts = cluster.settle(player);
        assert_eq!((counts.lost, counts.doubled, counts.given_up), (0, 0, 0), "{counts:?}");
    }
    cluster.players[honest[0]].app.world_mut().resource_mut::<ChatBook>().say(Scope::World, "still here").unwrap();
    cluster.until("it is received", 90, |cluster| {
        let book = cluster.players[honest[1]].app.world().resource::<ChatBook>();
        book.lines().iter().any(|line| line.text == "still here")
    });
    let stats = cluster.server_handle().stats();
    println!("{sessions} hostile sessions in {ticks} ticks: {stats:#?}");
    let traffic = stats.traffic;
    assert!(traffic.violations > 100 && traffic.over_rate > 1_000 && traffic.closed_for_violations > 1, "{traffic:#?}");
    // When they are gone, nothing of them is left.
    cluster.guests.clear();
    cluster.until("they are gone", 900, |cluster| cluster.server_handle().stats().sessions == 4);
    assert_eq!(users_of(&mut cluster), 4, "two players and two shards");
    assert!(honest.iter().all(|player| cluster.players[*player].handle.stats().violations == 0));
}
