//! The state machine with a simulated database: a map that fails on request.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

const LIMITS: Limits = Limits { flush_interval_ms: 500, dirty_limit: 100, batch: 10 };

fn entity(id: u128, sector: Sector, version: i64) -> StoredEntity {
    StoredEntity {
        id: Uuid::from_u128(id),
        kind: 1,
        owner: None,
        sector,
        epoch: 1,
        version,
        tick: version * 10,
        record: vec![version as u8; 4],
    }
}

fn put(id: u128, version: i64) -> Change {
    Change::Put(entity(id, (0, 0), version))
}

fn tombstone(id: u128, version: i64) -> Change {
    let fence = Fence { deleted: true, ..entity(id, (0, 0), version).fence() };
    Change::Tombstone { id: Uuid::from_u128(id), fence }
}

fn versions(batch: &Batch) -> Vec<(u128, i64)> {
    let one = |change: &Arc<Change>| match &**change {
        Change::Put(entity) => (entity.id.as_u128(), entity.version),
        Change::Tombstone { id, fence } => (id.as_u128(), -fence.version),
        other => panic!("not about an entity: {other:?}"),
    };
    batch.changes.iter().map(one).collect()
}

#[test]
fn a_change_waits_for_the_interval_and_only_its_latest_state_goes_out() {
    let mut core = WriteBehind::new(LIMITS);
    core.put(put(1, 1), 1_000);
    core.put(put(2, 1), 1_200);
    core.put(put(1, 2), 1_400);
    assert_eq!(core.next_wake_ms(), Some(1_500));
    assert!(core.take_batch(1_499).is_none());
    let batch = core.take_batch(1_500).expect("due");
    assert_eq!(versions(&batch), [(1, 2), (2, 1)]);
    assert!(core.take_batch(1_500).is_none(), "one batch at a time");
    core.committed(0, 1_510);
    assert_eq!((core.uncommitted(), core.next_wake_ms()), (0, None));
    let stats = core.stats(2_000);
    assert_eq!((stats.flushes, stats.flushed_rows, stats.flush_ms_max), (1, 2, 10));
    assert_eq!((stats.dirty, stats.oldest_dirty_ms, stats.loss_window_max_ms), (0, 0, 510));
}

#[test]
fn a_flush_goes_on_batch_after_batch_to_where_it_began() {
    let mut core = WriteBehind::new(LIMITS);
    for id in 0..25 {
        core.put(put(id, 1), 0);
    }
    let mut sizes = Vec::new();
    while let Some(batch) = core.take_batch(500) {
        sizes.push(batch.changes.len());
        core.put(put(100 + sizes.len() as u128, 1), 500);
        core.committed(0, 500);
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!((core.uncommitted(), core.next_wake_ms()), (3, Some(1_000)), "later changes wait for their turn");
}

#[test]
fn a_batch_closes_when_its_records_are_large() {
    let mut core = WriteBehind::new(LIMITS);
    for id in 0..5 {
        core.put(Change::Put(StoredEntity { record: vec![0; MAX_RECORD_BYTES], ..entity(id, (0, 0), 1) }), 0);
    }
    assert_eq!(core.take_batch(500).expect("due").changes.len(), BATCH_BYTES / MAX_RECORD_BYTES);
    let too_large = Change::Put(StoredEntity { record: vec![0; MAX_RECORD_BYTES + 1], ..entity(9, (0, 0), 1) });
    assert_eq!(core.put(too_large, 0), Admission::TooLarge);
    assert_eq!((core.uncommitted(), core.stats(0).too_large), (5, 1));
}

#[test]
fn a_failed_batch_keeps_its_place_and_the_waits_grow_to_a_bound() {
    let mut core = WriteBehind::new(LIMITS);
    for id in 0..12 {
        core.put(put(id, 1), 0);
    }
    let mut now_ms = 500;
    let mut waits = Vec::new();
    for _ in 0..10 {
        let batch = core.take_batch(now_ms).expect("due");
        assert_eq!(versions(&batch), (0..10).map(|id| (id, 1)).collect::<Vec<_>>());
        core.failed(now_ms);
        let retry_ms = core.next_wake_ms().expect("it is tried again");
        assert!(core.take_batch(retry_ms - 1).is_none());
        waits.push(retry_ms - now_ms);
        now_ms = retry_ms;
    }
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000, 2_000, 2_000]);
    assert_eq!(core.stats(now_ms).oldest_dirty_ms, now_ms);
    assert_eq!(core.stats(now_ms).failed_flushes, 10);

    core.take_batch(now_ms).expect("due");
    core.committed(0, now_ms);
    core.take_batch(now_ms).expect("the rest is due at once");
    core.failed(now_ms);
    assert_eq!(core.next_wake_ms(), Some(now_ms + 100), "a success resets the waits");
}

#[test]
fn stopping_does_not_wait_for_interval_or_back_off() {
    let mut core = WriteBehind::new(LIMITS);
    core.put(put(1, 1), 0);
    for _ in 0..9 {
        let now_ms = core.next_wake_ms().expect("it is tried again");
        core.take_batch(now_ms).expect("due");
        core.failed(now_ms);
    }
    core.put(put(2, 1), 50_000);
    core.stop(50_000);
    assert_eq!(versions(&core.take_batch(50_000).expect("due at once")), [(1, 1), (2, 1)]);
    core.failed(50_000);
    assert_eq!(core.next_wake_ms(), Some(50_000 + STOPPING_RETRY_MS));
}

#[test]
fn a_state_that_replaces_one_in_flight_is_written_after_it() {
    let mut core = WriteBehind::new(LIMITS);
    core.put(put(1, 1), 0);
    core.take_batch(500).expect("due");
    core.put(put(1, 2), 510);
    core.committed(0, 520);
    assert_eq!(core.uncommitted(), 1);
    assert_eq!(versions(&core.take_batch(1_010).expect("due")), [(1, 2)]);
}

#[test]
fn a_state_that_replaces_a_failed_one_takes_its_place() {
    let mut core = WriteBehind::new(LIMITS);
    core.put(put(1, 1), 0);
    core.take_batch(500).expect("due");
    core.put(put(2, 1), 505);
    core.put(put(1, 2), 510);
    core.failed(520);
    let batch = core.take_batch(core.next_wake_ms().expect("due")).expect("due");
    assert_eq!(versions(&batch), [(1, 2), (2, 1)]);
    core.committed(0, 2_000);
    assert_eq!(core.stats(2_000).loss_window_max_ms, 2_000, "the loss window runs from the first change");
}

#[test]
fn an_older_fence_changes_nothing_and_a_deletion_beats_its_equal() {
    let mut core = WriteBehind::new(LIMITS);
    core.put(put(1, 5), 0);
    assert_eq!(core.put(put(1, 4), 1), Admission::Stale);
    assert_eq!(core.put(tombstone(1, 4), 1), Admission::Stale);
    assert_eq!(core.put(put(1, 5), 1), Admission::Accepted);
    assert_eq!(core.put(tombstone(1, 5), 2), Admission::Accepted);
    assert_eq!(core.put(put(1, 5), 3), Admission::Stale);
    let older_epoch = Change::Put(StoredEntity { epoch: 0, version: 99, ..entity(1, (0, 0), 99) });
    assert_eq!(core.put(older_epoch, 3), Admission::Stale);
    assert_eq!(core.stats(3).stale_refused, 4);
    assert_eq!(versions(&core.take_batch(500).expect("due")), [(1, -5)]);
    assert_eq!(core.put(put(1, 4), 501), Admission::Stale, "the one in flight counts too");
}

#[test]
fn at_the_limit_known_keys_are_replaced_and_new_ones_refused() {
    let mut core = WriteBehind::new(LIMITS);
    for id in 0..100 {
        assert_eq!(core.put(put(id, 1), 0), Admission::Accepted);
    }
    assert_eq!(core.put(put(100, 1), 0), Admission::Full);
    assert_eq!(core.put(Change::Generated { sector: (0, 0), tick: 1 }, 0), Admission::Full);
    assert_eq!(core.put(put(7, 2), 0), Admission::Accepted);
    let ship = Change::Ship { account: Uuid::from_u128(1), ship: Uuid::from_u128(2) };
    assert_eq!(core.put(ship, 0), Admission::Accepted);
    assert_eq!((core.stats(0).dropped_at_limit, core.stats(0).dirty), (2, 101));
    core.take_batch(500).expect("due");
    core.committed(0, 500);
    assert_eq!(core.put(put(100, 1), 500), Admission::Accepted);
}

#[test]
fn a_reader_finds_an_entity_only_where_it_went() {
    let mut core = WriteBehind::new(LIMITS);
    let seen = |core: &WriteBehind, sector| core.waiting_in(sector).count();
    core.put(Change::Put(entity(1, (0, 0), 1)), 0);
    core.put(Change::Put(entity(1, (0, -1), 2)), 0);
    assert_eq!((seen(&core, (0, 0)), seen(&core, (0, -1))), (0, 1));
    core.put(Change::Put(StoredEntity { owner: Some(Uuid::from_u128(9)), ..entity(1, (0, -1), 3) }), 0);
    assert_eq!(seen(&core, (0, -1)), 0);
    core.put(Change::Put(entity(1, (0, 0), 4)), 0);
    core.put(tombstone(1, 4), 0);
    assert_eq!(seen(&core, (0, 0)), 0);
    core.take_batch(500).expect("due");
    core.committed(0, 500);
    assert!(core.by_sector.is_empty() && core.bytes == 0 && core.entries.is_empty());
}

#[test]
fn what_is_committed_during_a_read_stays_visible_until_its_end() {
    let mut core = WriteBehind::new(LIMITS);
    core.put(put(1, 1), 0);
    core.begin_read();
    core.take_batch(500).expect("due");
    core.committed(0, 500);
    assert!(core.waiting_entity(Uuid::from_u128(1)).is_some());
    assert_eq!(core.uncommitted(), 0);
    core.end_read();
    assert!(core.waiting_entity(Uuid::from_u128(1)).is_none());
}

#[test]
fn a_read_that_never_ends_does_not_let_the_memory_grow() {
    let mut core = WriteBehind::new(Limits { dirty_limit: 10, ..LIMITS });
    core.begin_read();
    for id in 0..10 {
        core.put(put(id, 1), 0);
    }
    core.take_batch(500).expect("due");
    core.committed(0, 500);
    assert_eq!(core.put(put(11, 1), 500), Admission::Full);
    core.put(Change::Meta { key: "seed".to_owned(), value: "1".to_owned() }, 500);
    assert!(core.take_batch(9_000).is_none());
    core.end_read();
    assert!(core.take_batch(9_000).is_some());
}

/// A simulated database.
#[derive(Default)]
struct MapDatabase {
    entities: HashMap<Uuid, Change>,
    marks: HashMap<Sector, i64>,
}

impl MapDatabase {
    fn commit(&mut self, batch: &Batch) -> u64 {
        let mut stale = 0;
        for change in &batch.changes {
            match &**change {
                Change::Put(StoredEntity { id, .. }) | Change::Tombstone { id, .. } => {
                    if self.entities.get(id).is_some_and(|known| known.fence() > change.fence()) {
                        stale += 1;
                    } else {
                        self.entities.insert(*id, (**change).clone());
                    }
                }
                Change::Generated { sector, tick } => {
                    self.marks.entry(*sector).or_insert(*tick);
                }
                other => panic!("not in this test: {other:?}"),
            }
        }
        stale
    }
}

/// In every step of a long random run readers see the newest accepted state of everything, and a sector is never
/// marked before its entities are stored; at the end everything is stored.
#[test]
fn nothing_is_lost_or_reordered_under_a_failing_database() {
    for seed in 0..200 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut core = WriteBehind::new(LIMITS);
        let mut database = MapDatabase::default();
        let mut newest: HashMap<Uuid, Change> = HashMap::new();
        let mut before_mark: HashMap<Sector, Vec<(Uuid, Option<Fence>)>> = HashMap::new();
        let mut batch: Option<Arc<Batch>> = None;
        let mut now_ms = 0;
        for step in 0..400 {
            now_ms += rng.random_range(0..200);
            match rng.random_range(0..10) {
                0..=4 => {
                    let id = rng.random_range(0..20);
                    let version = rng.random_range(0..=step / 10);
                    let sector = (rng.random_range(0..3), 0);
                    let change = if rng.random_bool(0.1) {
                        tombstone(id, version)
                    } else {
                        Change::Put(entity(id, sector, version))
                    };
                    if core.put(change.clone(), now_ms) == Admission::Accepted
                        && newest.get(&Uuid::from_u128(id)).is_none_or(|known| known.fence() <= change.fence())
                    {
                        newest.insert(Uuid::from_u128(id), change);
                    }
                }
                5 => {
                    let sector = (rng.random_range(0..3), 0);
                    let put_so_far = newest.iter().map(|(id, change)| (*id, change.fence())).collect();
                    before_mark.entry(sector).or_insert(put_so_far);
                    assert_eq!(core.put(Change::Generated { sector, tick: step }, now_ms), Admission::Accepted);
                }
                6 if rng.random_bool(0.5) => core.begin_read(),
                6 => core.end_read(),
                _ => match batch.take() {
                    Some(_) if rng.random_bool(0.4) => core.failed(now_ms),
                    Some(batch) => {
                        let stale = database.commit(&batch);
                        core.committed(stale, now_ms);
                    }
                    None => batch = core.take_batch(now_ms),
                },
            }
            for (id, expected) in &newest {
                let waiting = core.waiting_entity(*id);
                let seen =
                    database.entities.get(id).into_iter().chain(waiting.as_deref()).max_by_key(|change| change.fence());
                assert_eq!(seen.and_then(Change::fence), expected.fence(), "seed {seed} step {step}: {id}");
            }
            for sector in database.marks.keys() {
                for (id, fence) in &before_mark[sector] {
                    let stored = database.entities.get(id).and_then(Change::fence);
                    assert!(stored >= *fence, "seed {seed} step {step}: {sector:?} is marked without {id}");
                }
            }
        }
        core.stop(now_ms);
        loop {
            if let Some(batch) = batch.take().or_else(|| core.take_batch(now_ms)) {
                let stale = database.commit(&batch);
                core.committed(stale, now_ms);
            } else if core.uncommitted() == 0 {
                break;
            }
        }
        core.end_read();
        for (id, expected) in &newest {
            assert_eq!(database.entities.get(id), Some(expected), "seed {seed}");
        }
        assert!(core.entries.is_empty() && core.queue.is_empty() && core.by_sector.is_empty() && core.bytes == 0);
    }
}
