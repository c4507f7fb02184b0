//! Tests of the server's side alone. Both sides together, under every fault, are in `tests/tests/handoff.rs`.

use super::*;
use sidereal_protocol::{DVec2, record::EntityKind};

const SOURCE: ShardId = ShardId(1);
const TARGET: ShardId = ShardId(2);
const LIVE: Target = Target { shard: TARGET, live: true };
const SILENT: Target = Target { shard: TARGET, live: false };
const KNOWN: Authority = Authority { holder: Some(SOURCE), epoch: 3, version: 7, issued: 5 };

fn record(version: u64) -> Box<EntityRecord> {
    let id = EntityId::from_halves(1, 1);
    Box::new(EntityRecord {
        epoch: KNOWN.epoch,
        version,
        ..EntityRecord::at_rest(id, EntityKind::Asteroid, DVec2::ZERO, SimTick(1))
    })
}

fn prepare(version: u64, target: Option<Target>) -> Event {
    Event::Prepare { from: SOURCE, attempt: 4, record: record(version), known: Some(KNOWN), target }
}

fn step(handoffs: &mut Handoffs, at: u64, event: Event) -> Vec<Action> {
    handoffs.step(SimTick(at), event)
}

/// The machine's output: under the epoch after the highest issued one.
fn moved() -> Box<EntityRecord> {
    Box::new(EntityRecord { epoch: 6, version: 0, ..*record(8) })
}

#[test]
fn the_authority_moves_at_once_to_a_target_that_is_alive() {
    let (mut handoffs, id) = (Handoffs::default(), record(8).id);
    assert_eq!(
        step(&mut handoffs, 10, prepare(8, Some(LIVE))),
        vec![
            Action::Keep { record: record(8) },
            Action::Issue { id, epoch: 6 },
            Action::Commit { to: TARGET, record: moved() },
            Action::Release { to: SOURCE, id, epoch: 6 },
        ]
    );
    let complete = Action::Complete { id, epoch: 6, between_shards: true };
    assert_eq!(step(&mut handoffs, 11, Event::Adopted { from: TARGET, id, epoch: 6 }), vec![complete]);
}

#[test]
fn a_silent_target_is_asked_and_the_source_goes_on_until_it_accepts() {
    let (mut handoffs, id) = (Handoffs::default(), record(8).id);
    let actions = step(&mut handoffs, 10, prepare(8, Some(SILENT)));
    assert_eq!(actions[2..], [Action::Offer { to: TARGET, record: moved() }]);
    assert_eq!(step(&mut handoffs, 11, Event::Accept { from: TARGET, id, epoch: 5 }), vec![], "another offer's");
    let late = 10 + ACCEPT_TIMEOUT_TICKS + 1;
    assert_eq!(step(&mut handoffs, late, Event::Tick), vec![Action::Abort { to: SOURCE, id, attempt: 4 }]);
    assert_eq!(step(&mut handoffs, late, Event::Accept { from: TARGET, id, epoch: 6 }), vec![], "too late");
}

#[test]
fn a_commit_is_sent_again_until_it_is_answered() {
    let (mut handoffs, id) = (Handoffs::default(), record(8).id);
    step(&mut handoffs, 10, prepare(8, Some(LIVE)));
    let again = 10 + COMMIT_AGAIN_TICKS + 1;
    let commit = vec![Action::CommitAgain { to: TARGET, record: moved() }];
    assert_eq!(step(&mut handoffs, again, Event::Tick), commit);
    assert_eq!(step(&mut handoffs, again + 1, Event::Tick), vec![]);
    step(&mut handoffs, again + 2, Event::Adopted { from: TARGET, id, epoch: 6 });
    assert_eq!(step(&mut handoffs, again + 100, Event::Tick), vec![]);
}

#[test]
fn who_is_not_the_authority_is_told_so_and_changes_nothing() {
    let (mut handoffs, id) = (Handoffs::default(), record(8).id);
    for (known, epoch) in [
        (Some(Authority { holder: Some(TARGET), epoch: 6, ..KNOWN }), 6),
        (Some(Authority { holder: None, ..KNOWN }), 4),
        (Some(Authority { epoch: 9, issued: 9, ..KNOWN }), 9),
        (None, 4),
    ] {
        let event = Event::Prepare { from: SOURCE, attempt: 1, record: record(8), known, target: Some(LIVE) };
        assert_eq!(step(&mut handoffs, 10, event), vec![Action::Release { to: SOURCE, id, epoch }], "{known:?}");
    }
    assert!(handoffs.is_empty());
}

#[test]
fn an_attempt_that_comes_late_or_twice_is_not_taken_for_a_new_one() {
    let mut handoffs = Handoffs::default();
    assert_eq!(step(&mut handoffs, 10, prepare(7, Some(LIVE))), vec![]);
    assert!(handoffs.is_empty());
    assert_eq!(handoffs.stale, 1);
}

#[test]
fn a_commit_that_is_refused_leaves_the_entity_with_the_server() {
    let (mut handoffs, id) = (Handoffs::default(), record(8).id);
    step(&mut handoffs, 10, prepare(8, Some(LIVE)));
    let refused = Event::Refuse { from: TARGET, id, epoch: 6 };
    assert_eq!(step(&mut handoffs, 11, refused), vec![Action::Return { id }]);
    assert!(handoffs.is_empty());
}

#[test]
fn a_source_that_dies_after_prepare_loses_nothing() {
    let (mut handoffs, id) = (Handoffs::default(), record(8).id);
    step(&mut handoffs, 10, prepare(8, Some(SILENT)));
    assert_eq!(step(&mut handoffs, 11, Event::ShardLost(SOURCE)), vec![]);
    let actions = step(&mut handoffs, 12, Event::Accept { from: TARGET, id, epoch: 6 });
    assert_eq!(actions, vec![Action::Commit { to: TARGET, record: moved() }]);
}
