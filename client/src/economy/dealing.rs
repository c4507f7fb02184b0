//! Sends the deal book's requests, receives their answers, and the player's balances.
//!
//! Runs in the player client and in bots. It owns what belongs to one session: the offers that wait for an answer. The
//! deals themselves are in [`crate::economy::deals`].

use crate::{
    economy::deals::DealBook,
    flight::piloting::{DockState, Piloting},
    replication::clock::ClientClock,
    session::{
        link::{Session, SessionState},
        news::{self, News},
    },
    view::{NoticeKind, PurseShown, TradeOffer, WorldView},
    weapons::arms::Arms,
};
use bevy::{
    ecs::{
        message::MessageReader,
        system::{Res, ResMut},
    },
    prelude::Resource,
};
use sidereal_protocol::{
    frames::messages::{Deal, DealOutcome, FromPlayer, ToPlayer, TradeNews},
    rules::economy::{Bargain, Goods},
    world::ids::NetId,
};

/// How long an offer waits for an answer, seconds. The server decides by its own clock.
pub const OFFER_SECONDS: f64 = 30.0;

/// The most offers shown; the oldest is dropped first.
pub const MAX_OFFERS: usize = 8;

/// After a completed docking, the time until the balances with the station must have arrived, seconds. They are sent a
/// few times a second.
const PURSE_AFTER_DOCK_S: f64 = 1.5;

/// The session's own part of the deals.
#[derive(Resource, Default)]
pub struct Dealing {
    docked_until_s: f64,
}

/// Receives balances and offers.
pub(crate) fn follow_purse(
    mut told: MessageReader<News>,
    clock: Res<ClientClock>,
    mut session: ResMut<Session>,
    mut piloting: ResMut<Piloting>,
    mut arms: ResMut<Arms>,
    mut view: ResMut<WorldView>,
) {
    for offer in &mut view.trades {
        offer.age_s += clock.delta_s;
    }
    view.trades.retain(|offer| offer.age_s < OFFER_SECONDS);
    for News(told) in told.read() {
        match told {
            ToPlayer::Purse(purse) => {
                let docked = (purse.docked != 0).then_some(NetId(purse.docked));
                let fitted = purse.fitted();
                piloting.set_fitted(fitted);
                arms.set_fitted(fitted);
                let (credits, ore, hold, stored) = (purse.credits, purse.ore, purse.hold, purse.stored);
                view.purse = Some(PurseShown { credits, ore, hold, fitted, docked, stored });
            }
            ToPlayer::TradeNews(news) => take_in_news(&mut view, &mut session, news),
            _ => {}
        }
    }
}

fn take_in_news(view: &mut WorldView, session: &mut Session, news: &TradeNews) {
    let key = news.key();
    view.trades.retain(|offer| offer.key != key);
    if news.stage == 0 {
        if view.trades.len() >= MAX_OFFERS {
            view.trades.remove(0);
        }
        view.trades.push(TradeOffer {
            key,
            partner: news.partner.clone(),
            get: Goods { ore: news.get_ore, credits: news.get_credits },
            give: Goods { ore: news.give_ore, credits: news.give_credits },
            age_s: 0.0,
        });
        return;
    }
    let (kind, text) = match news.stage {
        1 => (NoticeKind::Info, format!("Traded with {}: {}", news.partner, news.text)),
        _ => (NoticeKind::Warning, format!("No trade with {}: {}", news.partner, news.text)),
    };
    session.announce(view, kind, text);
}

/// Seconds of the wall clock.
fn wall_s() -> f64 {
    #[cfg(target_family = "wasm")]
    return js_sys::Date::now() / 1e3;
    #[cfg(not(target_family = "wasm"))]
    return std::time::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64());
}

/// Sends due requests, receives answers, and keeps the controls neutral while the ship is docked.
pub(crate) fn deal(
    mut told: MessageReader<News>,
    clock: Res<ClientClock>,
    state: Res<SessionState>,
    mut book: ResMut<DealBook>,
    mut dealing: ResMut<Dealing>,
    mut session: ResMut<Session>,
    mut piloting: ResMut<Piloting>,
    mut view: ResMut<WorldView>,
) {
    let now_s = clock.now_s;
    for given_up in book.give_up(wall_s()) {
        tracing::warn!(key = %given_up.key, "a deal was given up: its result is unknown");
        let text = "The result of your deal is unknown: check your balances".to_owned();
        session.announce(&mut view, NoticeKind::Warning, text);
    }
    // Without a ship the server accepts no deals.
    if *state == SessionState::InSpace {
        for (key, bargain) in book.due(now_s) {
            let again = book.open().iter().any(|deal| deal.key == key && deal.sent > 1);
            // It is repeated after a pause.
            if let Err(error) = news::ask(&session, &FromPlayer::Deal(Deal::of(key, &bargain).again(again))) {
                tracing::warn!(%key, %error, "a request for a deal failed");
            }
        }
    }
    for News(told) in told.read() {
        let ToPlayer::DealReply(reply) = told else { continue };
        let key = reply.key();
        let outcome = reply.outcome();
        let Some(deal) = book.receive(key, outcome, &reply.text, now_s) else { continue };
        if outcome != DealOutcome::Undecided {
            view.trades.retain(|offer| offer.key != key);
        }
        if deal.bargain == Bargain::Dock && outcome == DealOutcome::Done {
            dealing.docked_until_s = now_s + PURSE_AFTER_DOCK_S;
        }
        let (kind, text) = match outcome {
            DealOutcome::Done => (NoticeKind::Info, reply.text.clone()),
            DealOutcome::Refused => (NoticeKind::Warning, reply.text.clone()),
            // Shown once, however often it is repeated.
            DealOutcome::Undecided if deal.undecided => continue,
            DealOutcome::Undecided => {
                (NoticeKind::Warning, "Your deal is not decided yet: the request is repeated until it is".to_owned())
            }
        };
        session.announce(&mut view, kind, text);
    }
    view.deals_open = book.open().len();
    let docked = view.purse.is_some_and(|purse| purse.docked.is_some());
    piloting.moor(if docked {
        DockState::Docked
    } else if book.is_docking() || now_s < dealing.docked_until_s {
        DockState::Docking
    } else {
        DockState::Free
    });
}
