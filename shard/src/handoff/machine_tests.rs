//! The shard's side alone. Both sides together, under every fault, are in `tests/tests/handoff.rs`.

use super::*;
use sidereal_protocol::{
    record::{EntityKind, Structure},
    rules::cause::ImpactCause,
};

const NOW: SimTick = SimTick(100);
const THERE: SectorId = SectorId::new(1, 0);

fn id() -> EntityId {
    EntityId::from_halves(1, 1)
}

fn record(epoch: u64) -> Box<EntityRecord> {
    Box::new(EntityRecord { epoch, ..EntityRecord::at_rest(id(), EntityKind::Asteroid, DVec2::ZERO, NOW) })
}

fn impact(cause: ImpactCause) -> GhostImpact {
    GhostImpact { target: id(), source: None, cause, impulse: DVec2::X, damage: 3, tick: NOW }
}

fn ram() -> GhostImpact {
    impact(ImpactCause::Contact { other: EntityId::from_halves(2, 2) })
}

fn commit(epoch: u64, owned: Option<u64>) -> Event {
    Event::Committed { record: record(epoch), inputs: vec![], leased: true, owned }
}

fn adopted(epoch: u64) -> Action {
    Action::Send(ToServer::Adopted { id: id(), epoch, tick: NOW, waited_us: 0 })
}

fn leaving() -> Handoffs {
    let mut handoffs = Handoffs::default();
    let actions = handoffs.step(NOW, Event::Crossed { id: id(), to: THERE });
    assert_eq!(actions, vec![Action::Prepare { id: id(), to: THERE, attempt: 1 }]);
    handoffs
}

#[test]
fn what_hits_one_who_leaves_follows_it() {
    let mut handoffs = leaving();
    assert_eq!(handoffs.step(NOW, Event::Struck(ram())), vec![]);
    let released = handoffs.step(NOW, Event::Released { id: id(), epoch: 5, owned: Some(4) });
    assert_eq!(released, vec![Action::BecomeGhost { id: id() }, Action::Send(ToServer::Impact(ram()))]);
}

#[test]
fn what_hits_one_who_stays_after_all_is_felt_once() {
    let shot = impact(ImpactCause::Missile(EntityId::from_halves(3, 3)));
    let mut handoffs = leaving();
    handoffs.step(NOW, Event::Struck(ram()));
    handoffs.step(NOW, Event::Struck(shot));
    assert_eq!(handoffs.step(NOW, Event::Aborted { id: id(), attempt: 7 }), vec![], "another attempt's answer");
    let resumed = handoffs.step(NOW, Event::Aborted { id: id(), attempt: 1 });
    let damage_only = GhostImpact { impulse: DVec2::ZERO, ..ram() };
    let settled_at = NOW + SETTLE_TICKS;
    assert_eq!(
        resumed,
        vec![Action::Resume { id: id(), settled_at }, Action::Strike(damage_only), Action::Strike(shot)]
    );
    assert_eq!(handoffs.step(NOW, Event::Struck(shot)), vec![Action::Strike(shot)]);
}

#[test]
fn an_attempt_without_an_answer_is_made_again_under_another_number() {
    let mut handoffs = leaving();
    assert_eq!(handoffs.step(NOW + (ASK_AGAIN_TICKS - 1), Event::Tick), vec![]);
    let again = handoffs.step(NOW + ASK_AGAIN_TICKS, Event::Tick);
    assert_eq!(again, vec![Action::Prepare { id: id(), to: THERE, attempt: 2 }]);
    assert_eq!(handoffs.step(NOW + ASK_AGAIN_TICKS, Event::Tick), vec![]);
}

#[test]
fn a_commit_is_obeyed_once_and_answered_each_time() {
    let mut handoffs = Handoffs::default();
    let adopt = Action::Adopt { record: record(4), inputs: vec![] };
    assert_eq!(handoffs.step(NOW, commit(4, None)), vec![adopt]);
    assert_eq!(handoffs.step(NOW, commit(4, Some(4))), vec![adopted(4)]);
    assert_eq!(handoffs.step(NOW, commit(3, Some(4))), vec![], "overtaken");
}

#[test]
fn a_commit_does_not_bring_back_what_is_gone() {
    for gone in [Event::Gone { id: id(), epoch: 4 }, Event::Released { id: id(), epoch: 5, owned: Some(4) }] {
        let mut handoffs = Handoffs::default();
        handoffs.step(NOW, gone);
        assert_eq!(handoffs.step(NOW, commit(4, None)), vec![]);
        let back = handoffs.step(NOW, commit(6, None));
        assert_eq!(back, vec![Action::Adopt { record: record(6), inputs: vec![] }], "under a newer epoch it may");
    }
}

#[test]
fn what_cannot_be_taken_is_refused_with_the_reason() {
    let mut handoffs = Handoffs::default();
    let refusal = |reason| vec![Action::Send(ToServer::Refuse { id: id(), epoch: 4, reason })];
    let offer = |owned, leased| Event::Offered { record: record(4), leased, owned };
    assert_eq!(handoffs.step(NOW, offer(None, false)), refusal(RefuseReason::NoLease));
    assert_eq!(handoffs.step(NOW, offer(Some(4), true)), refusal(RefuseReason::AlreadyOwned));
    let accept = vec![Action::Send(ToServer::Accept { id: id(), epoch: 4 })];
    assert_eq!(handoffs.step(NOW, offer(Some(3), true)), accept, "its release is on its way, or was lost");
    let mut bad = record(4);
    bad.set(Structure { radius: -1.0, ..Structure::default() });
    let bad = Event::Committed { record: bad, inputs: vec![], leased: true, owned: None };
    assert_eq!(handoffs.step(NOW, bad), refusal(RefuseReason::BadRecord));
}
