//! Admitted peers that do not complete naia's handshake: they are removed everywhere, including naia.

use naia_bevy_server::{Server, UserKey};
use sidereal_protocol::{frames::messages::TAKEN_OVER, world::tick::TICK_HZ};
use sidereal_server::{traffic::admission::CONNECT_DEADLINE, traffic::link::Link};
use sidereal_tests::cluster::{Cluster, PERFECT, PlayerSide};
use sidereal_transport::LinkStatus;

/// Until all sides have detected a session's end: the transport's timeout for a silent peer is ten seconds.
const PATIENCE_TICKS: u64 = (CONNECT_DEADLINE.as_secs() + 15) * TICK_HZ as u64;

/// Users that naia keeps, those that have sent their token, and the connected ones.
#[derive(Debug)]
struct Users {
    all: usize,
    identified: Vec<UserKey>,
    connected: usize,
}

fn users(cluster: &mut Cluster) -> Users {
    fn count(naia: Server<'_>) -> Users {
        Users { all: naia.users_count(), identified: naia.user_keys(), connected: naia.user_count() }
    }
    cluster.server.world_mut().run_system_cached(count).expect("the server has naia")
}

/// Everything that is kept of peers: admissions, the transport's sessions, and naia's users.
fn kept(cluster: &mut Cluster) -> (usize, u64, usize) {
    let admissions = cluster.server.world().resource::<Link>().admissions.len();
    (admissions, cluster.server_handle().stats().sessions, users(cluster).all)
}

/// A player whose client has sent naia its token and does nothing more. Its session lives as long as this.
fn stalled(cluster: &mut Cluster, name: &str) -> PlayerSide {
    let before = users(cluster).identified;
    let index = cluster.join(name);
    for _ in 0..PATIENCE_TICKS {
        let users = users(cluster);
        if users.identified.iter().any(|user| !before.contains(user)) {
            assert_eq!(users.connected, cluster.players.len(), "the shard, and the players but this one: {users:?}");
            return cluster.players.remove(index);
        }
        cluster.tick_once();
    }
    panic!("{name} never sent its token: {:?}", users(cluster));
}

#[test]
fn who_is_let_in_and_never_connects_is_forgotten_everywhere() {
    let mut cluster = Cluster::new(1, PERFECT, 1);
    cluster.ticks(30);
    let before = kept(&mut cluster);
    assert_eq!(before, (0, 1, 1), "the shard");
    let mut waiting = Vec::new();
    for number in 0..20 {
        // Some wait on, some die silently, some say goodbye.
        let peer = stalled(&mut cluster, &format!("quiet-{number}"));
        match number % 3 {
            0 => waiting.push(peer),
            1 => drop(peer),
            _ => {
                peer.handle.close("never mind");
                peer.handle.flush();
                waiting.push(peer);
            }
        }
    }
    let (_, sessions, all) = kept(&mut cluster);
    assert!(sessions > 2 && all > 2, "the last ones are still known");
    cluster.ticks(PATIENCE_TICKS);
    assert_eq!(kept(&mut cluster), before);
    let told = waiting.iter().filter(
        |peer| matches!(peer.handle.status(), LinkStatus::Closed(reason) if reason.contains("not finished in time")),
    );
    assert_eq!(told.count(), 7);
    assert!(cluster.tally().admissions_overdue >= 7);
    // The server continues as usual.
    cluster.join_and_fly("ann");
    assert_eq!(kept(&mut cluster), (0, 2, 2));
}

#[test]
fn an_account_has_one_session_that_is_not_connected() {
    let mut cluster = Cluster::new(2, PERFECT, 1);
    cluster.ticks(30);
    let first = stalled(&mut cluster, "ann");
    let ann = cluster.join("ann");
    cluster.until("the first is closed", 60, |_| first.handle.is_finished());
    assert_eq!(first.handle.status(), LinkStatus::Closed(TAKEN_OVER.to_owned()));
    cluster.until_flying(ann);
    assert_eq!(cluster.tally().admissions_displaced, 1);
    assert_eq!(kept(&mut cluster), (0, 2, 2));
    // Another account's admission is not affected.
    let _bob = stalled(&mut cluster, "bob");
    let _cid = stalled(&mut cluster, "cid");
    assert_eq!(cluster.server.world().resource::<Link>().admissions.len(), 2);
    assert_eq!(cluster.tally().admissions_displaced, 1);
}

#[test]
fn a_session_counts_as_dropped_when_neither_end_closed_it() {
    let mut cluster = Cluster::new(3, PERFECT, 1);
    let [_, ann, bob] = ["eve", "ann", "bob"].map(|name| cluster.join_and_fly(name));
    // Bob says goodbye, ann's network fails.
    cluster.players[bob].handle.close("done");
    cluster.players[bob].handle.flush();
    let cut = cluster.players[ann].handle.clone();
    cluster.network.cut(&cut);
    cluster.until("both are gone", PATIENCE_TICKS, |cluster| users(cluster).connected == 2);
    assert_eq!(cluster.tally().sessions_dropped, 1);
}
