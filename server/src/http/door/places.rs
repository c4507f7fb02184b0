//! Decides which connections to keep: a limit in total, a limit per network, and time limits of each activity. A state
//! machine without I/O; `listener` carries it out. Time is in milliseconds from any origin, and monotonic.
//!
//! At a limit one connection must make room: first one that is idle between two requests, then one that has not sent a
//! complete request head, then any other; among these, of the network with the most connections, the oldest. A network
//! above its own share displaces only its own connections.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::http::state::HttpLimits;

/// The activity of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// Idle after an answer.
    Idling,
    /// Sending a request's head, or just accepted. Includes the TLS handshake.
    Asking,
    /// Sending the body, waiting for the answer, or reading it.
    Served,
}

#[derive(Debug)]
struct Place<C> {
    network: IpAddr,
    doing: Doing,
    since_ms: u64,
    /// Bytes of an answer that the system accepted since then; `None` until the first.
    written: Option<u64>,
    close: C,
}

/// The result of an admission.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Admission<C> {
    /// It has a place, under this id. Another connection may have to be closed for it.
    Place(u64, Option<C>),
    /// There is no place.
    Refused,
}

/// The result of a check of a connection's time.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Verdict {
    /// The limit has passed: close it.
    Late,
    /// The limit is not before this time, ms.
    NotBefore(u64),
}

/// All connections; `C` closes one.
#[derive(Debug)]
pub(in crate::http) struct Places<C> {
    places: HashMap<u64, Place<C>>,
    next_id: u64,
    in_all: usize,
    of_a_network: usize,
    head_ms: u64,
    work_ms: u64,
    idle_ms: u64,
    window_ms: u64,
    least_bytes: u64,
}

impl<C> Places<C> {
    /// Empty, with these limits.
    pub fn new(limits: &HttpLimits) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let window_ms = ms(limits.rate_window).max(1);
        Self {
            places: HashMap::new(),
            next_id: 0,
            in_all: limits.max_connections.max(1),
            of_a_network: limits.max_connections_per_network.max(1),
            head_ms: ms(limits.head_timeout),
            // Work that takes longer is answered with an error after half of this time.
            work_ms: ms(limits.request_timeout).saturating_mul(2),
            idle_ms: ms(limits.idle_timeout),
            window_ms,
            least_bytes: u64::from(limits.least_bytes_per_s).saturating_mul(window_ms).div_ceil(1_000),
        }
    }

    /// The number of connections.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// A connection from `network`.
    pub fn admit(&mut self, network: IpAddr, close: C, now_ms: u64) -> Admission<C> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        let is_full = self.places.len() >= self.in_all;
        for place in self.places.values() {
            *counts.entry(place.network).or_default() += 1;
        }
        let own = counts.get(&network).copied().unwrap_or(0);
        let mut gone = None;
        if is_full || own >= self.of_a_network {
            let may_go = |place: &Place<C>| match own >= self.of_a_network {
                true => place.network == network && place.doing < Doing::Served,
                false => place.doing == Doing::Idling || counts[&place.network] > own,
            };
            let goes = self
                .places
                .iter()
                .filter(|(_, place)| may_go(place))
                .min_by_key(|(id, place)| (place.doing, Reverse(counts[&place.network]), place.since_ms, **id));
            let Some(goes) = goes.map(|(id, _)| *id) else { return Admission::Refused };
            gone = self.leave(goes);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.places.insert(id, Place { network, doing: Doing::Asking, since_ms: now_ms, written: None, close });
        Admission::Place(id, gone)
    }

    /// A connection has closed.
    pub fn leave(&mut self, id: u64) -> Option<C> {
        self.places.remove(&id).map(|place| place.close)
    }

    /// Bytes were received.
    pub fn read(&mut self, id: u64, now_ms: u64) {
        self.turn(id, |place| place.doing == Doing::Idling, Doing::Asking, now_ms);
    }

    /// The head of a request is complete.
    pub fn asked(&mut self, id: u64, now_ms: u64) {
        self.turn(id, |_| true, Doing::Served, now_ms);
    }

    /// The system accepted this many bytes of an answer.
    pub fn wrote(&mut self, id: u64, bytes: usize, now_ms: u64) {
        self.turn(id, |place| place.doing != Doing::Served || place.written.is_none(), Doing::Served, now_ms);
        if let Some(place) = self.places.get_mut(&id) {
            place.written = Some(place.written.unwrap_or(0) + bytes as u64);
        }
    }

    /// The system has accepted all bytes written.
    pub fn flushed(&mut self, id: u64, now_ms: u64) {
        self.turn(id, |place| place.written.is_some(), Doing::Idling, now_ms);
    }

    fn turn(&mut self, id: u64, when: impl FnOnce(&Place<C>) -> bool, doing: Doing, now_ms: u64) {
        if let Some(place) = self.places.get_mut(&id).filter(|place| when(place)) {
            (place.doing, place.since_ms, place.written) = (doing, now_ms, None);
        }
    }

    /// Checks the time limit of a connection's activity. One that must make room has no time left.
    pub fn judge(&mut self, id: u64, now_ms: u64) -> Verdict {
        let Some(place) = self.places.get_mut(&id) else { return Verdict::Late };
        let time_ms = match (place.doing, place.written) {
            (Doing::Idling, _) => self.idle_ms,
            (Doing::Asking, _) => self.head_ms,
            (Doing::Served, None) => self.work_ms,
            (Doing::Served, Some(written)) => {
                if now_ms >= place.since_ms.saturating_add(self.window_ms) && written >= self.least_bytes {
                    (place.since_ms, place.written) = (now_ms, Some(0));
                }
                self.window_ms
            }
        };
        match place.since_ms.saturating_add(time_ms) {
            until_ms if now_ms >= until_ms => Verdict::Late,
            until_ms => Verdict::NotBefore(until_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// Six places, three for a network. Their closers are their ids.
    fn places() -> Places<u64> {
        Places::new(&HttpLimits {
            max_connections: 6,
            max_connections_per_network: 3,
            head_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            rate_window: Duration::from_secs(20),
            least_bytes_per_s: 1_000,
        })
    }

    fn admit(places: &mut Places<u64>, from: u8, now_ms: u64) -> u64 {
        let close = places.next_id;
        match places.admit(network(from), close, now_ms) {
            Admission::Place(id, None) => id,
            other => panic!("{other:?}"),
        }
    }

    /// The connection displaced by a new one.
    fn goes_for(places: &mut Places<u64>, from: u8, now_ms: u64) -> Option<u64> {
        let close = places.next_id;
        match places.admit(network(from), close, now_ms) {
            Admission::Place(_, gone) => Some(gone.expect("no place was free")),
            Admission::Refused => None,
        }
    }

    fn idle(places: &mut Places<u64>, id: u64, now_ms: u64) {
        places.asked(id, now_ms);
        places.wrote(id, 10, now_ms);
        places.flushed(id, now_ms);
    }

    #[test]
    fn who_is_silent_or_sends_its_head_bit_by_bit_has_the_same_time() {
        let mut places = places();
        let (silent, slow) = (admit(&mut places, 1, 1_000), admit(&mut places, 2, 1_000));
        for now_ms in (1_000..11_000).step_by(100) {
            places.read(slow, now_ms);
            for id in [silent, slow] {
                assert_eq!(places.judge(id, now_ms), Verdict::NotBefore(11_000));
            }
        }
        assert_eq!([silent, slow].map(|id| places.judge(id, 11_000)), [Verdict::Late, Verdict::Late]);
    }

    #[test]
    fn the_next_request_has_its_own_time_from_its_first_byte_on() {
        let mut places = places();
        let id = admit(&mut places, 1, 0);
        idle(&mut places, id, 500);
        assert_eq!(places.judge(id, 75_499), Verdict::NotBefore(75_500), "idle longer than a proxy keeps it");
        places.read(id, 75_000);
        places.read(id, 80_000);
        assert_eq!(places.judge(id, 84_999), Verdict::NotBefore(85_000));
        assert_eq!(places.judge(id, 85_000), Verdict::Late);
    }

    #[test]
    fn an_answer_is_read_at_the_least_rate_or_not_at_all() {
        let mut places = places();
        let (good, slow) = (admit(&mut places, 1, 0), admit(&mut places, 2, 0));
        for id in [good, slow] {
            places.asked(id, 0);
            assert_eq!(places.judge(id, 1), Verdict::NotBefore(20_000), "twice the time for the work");
            places.wrote(id, 300_000, 5_000);
        }
        assert_eq!(places.judge(slow, 25_000), Verdict::NotBefore(45_000), "what the system accepted at first counts");
        assert_eq!(places.judge(good, 25_000), Verdict::NotBefore(45_000));
        for second in 25..45 {
            places.wrote(good, 1_000, second * 1_000);
            places.wrote(slow, 999, second * 1_000);
        }
        assert_eq!(places.judge(good, 45_000), Verdict::NotBefore(65_000));
        assert_eq!(places.judge(slow, 45_000), Verdict::Late);
        places.flushed(good, 46_000);
        assert_eq!(places.judge(good, 46_000), Verdict::NotBefore(121_000), "it has read all of it");
    }

    #[test]
    fn a_flush_before_the_answer_is_no_end_of_a_request() {
        let mut places = places();
        let id = admit(&mut places, 1, 0);
        places.flushed(id, 9_000);
        assert_eq!(places.judge(id, 9_000), Verdict::NotBefore(10_000));
        places.asked(id, 9_000);
        places.flushed(id, 9_500);
        assert_eq!(places.judge(id, 9_500), Verdict::NotBefore(29_000));
    }

    #[test]
    fn one_network_holds_its_share_and_takes_from_itself_only() {
        let mut places = places();
        for now_ms in 0..3 {
            admit(&mut places, 1, now_ms);
        }
        assert_eq!(goes_for(&mut places, 1, 9), Some(0), "its oldest without a request");
        idle(&mut places, 2, 9);
        assert_eq!(goes_for(&mut places, 1, 10), Some(2), "an idle one first");
        for id in [1, 3, 4] {
            places.asked(id, 11);
        }
        assert_eq!(goes_for(&mut places, 1, 12), None, "not one that is served");
        let other = admit(&mut places, 2, 12);
        assert_eq!(other, 6 - 1, "other networks' places are free");
        assert_eq!(places.len(), 4);
    }

    #[test]
    fn when_all_places_are_taken_the_greatest_network_gives_way() {
        let mut places = places();
        for (id, from) in [1, 1, 1, 2, 2, 3].into_iter().enumerate() {
            assert_eq!(admit(&mut places, from, id as u64), id as u64);
        }
        // In any activity: a slow reader holds a place just like a silent one.
        for id in 0..3 {
            places.asked(id, 10);
            places.wrote(id, 1, 10 + id);
        }
        assert_eq!(goes_for(&mut places, 4, 20), Some(3), "of those without a request, the oldest of two");
        assert_eq!(goes_for(&mut places, 4, 21), Some(0), "then of the largest network");
        assert_eq!(goes_for(&mut places, 4, 22), None, "no network has more");
        idle(&mut places, 5, 23);
        assert_eq!(goes_for(&mut places, 4, 24), Some(5), "an idle one makes room for any other");
        assert_eq!(places.len(), 6);
    }

    #[test]
    fn a_place_is_free_again_when_it_is_left_and_what_is_gone_has_no_time() {
        let mut places = places();
        let id = admit(&mut places, 1, 0);
        assert_eq!(places.leave(id), Some(0));
        assert_eq!(places.judge(id, 1), Verdict::Late);
        places.wrote(id, 1, 1);
        places.asked(id, 1);
        assert_eq!((places.len(), places.leave(id)), (0, None));
    }
}
