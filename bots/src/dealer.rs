//! A bot's deals: from its pilot's requests to the deal book and the journal, and their totals.

use crate::{journal::Journal, trader::Ask};
use anyhow::Result;
use bevy::prelude::World;
use sidereal_client::{
    economy::deals::{BookFull, DealBook, DealCounts},
    view::WorldView,
};

/// The totals of a bot's deals.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DealAccount {
    /// How many deals.
    pub counts: DealCounts,
    /// Deals that have not ended.
    pub open: u64,
    /// Ore that was gathered in space, units of ore.
    pub ore_gathered: u64,
    /// Credits, by the last message.
    pub credits: u64,
}

/// A bot's records of its deals beside the deal book, over all of its sessions.
#[derive(Debug)]
pub struct Dealer {
    name: String,
    ore: u32,
    ore_gathered: u64,
    credits: u64,
}

impl Dealer {
    /// For the bot with this name.
    pub fn new(name: String) -> Self {
        Self { name, ore: 0, ore_gathered: 0, credits: 0 }
    }

    /// Enters the pilot's request. It is written to the journal before it is sent.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn ask(&mut self, ask: Option<Ask>, world: &mut World, journal: &mut Journal) -> Result<()> {
        let Some(ask) = ask else { return Ok(()) };
        let mut book = world.resource_mut::<DealBook>();
        let asked = match ask {
            Ask::Bargain(bargain) => book.ask(bargain).map(|_| ()),
            Ask::Answer(offer, accept) => book.answer_offer(offer, accept),
        };
        if let Err(BookFull) = asked {
            tracing::debug!(bot = self.name, ?ask, "a deal was not asked for: too many are open");
        }
        self.write(world, journal)
    }

    /// Records the events of an update.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn follow(&mut self, world: &mut World, journal: &mut Journal) -> Result<()> {
        if let Some(purse) = world.resource::<WorldView>().purse {
            if purse.docked.is_none() {
                self.ore_gathered += u64::from(purse.ore.saturating_sub(self.ore));
            }
            (self.ore, self.credits) = (purse.ore, purse.credits);
        }
        self.write(world, journal)
    }

    /// The totals.
    pub fn account(&self, book: &DealBook) -> DealAccount {
        let open = book.open().len() as u64;
        DealAccount { counts: book.counts(), open, ore_gathered: self.ore_gathered, credits: self.credits }
    }

    fn write(&self, world: &mut World, journal: &mut Journal) -> Result<()> {
        let account = world.resource::<WorldView>().account;
        for event in world.resource_mut::<DealBook>().take_events() {
            journal.write(&self.name, account, &event)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trader::Ask;
    use sidereal_client::view::PurseShown;
    use sidereal_protocol::{
        rules::economy::{Bargain, DealKey},
        world::ids::{AccountId, NetId},
    };

    #[test]
    fn what_is_asked_for_stands_in_the_journal_at_once_and_its_key_is_the_books() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(Some(&path)).unwrap();
        let mut world = World::new();
        world.init_resource::<DealBook>();
        let account = AccountId(uuid::Uuid::from_u128(7));
        world.insert_resource(WorldView { account: Some(account), ..Default::default() });
        let (mut dealer, offer) = (Dealer::new("bot-1-2".to_owned()), DealKey::random());
        dealer.ask(Some(Ask::Bargain(Bargain::Sell { ore: 5 })), &mut world, &mut journal).unwrap();
        dealer.ask(Some(Ask::Answer(offer, true)), &mut world, &mut journal).unwrap();
        dealer.ask(None, &mut world, &mut journal).unwrap();
        let lines: Vec<serde_json::Value> =
            std::fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let book = world.resource::<DealBook>();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["key"], book.open()[0].key.to_string());
        assert_eq!(lines[0]["bargain"]["Sell"]["ore"], 5);
        assert_eq!((&lines[1]["key"], &lines[1]["bargain"]), (&offer.to_string().into(), &"Accept".into()));
        assert_eq!(lines[1]["account"], account.0.to_string());
        assert_eq!(dealer.account(book).open, 2);
    }

    #[test]
    fn ore_that_comes_in_space_is_gathered_and_what_comes_at_a_station_is_not() {
        let mut journal = Journal::open(None).unwrap();
        let mut world = World::new();
        world.init_resource::<DealBook>();
        let mut dealer = Dealer::new(String::new());
        for (ore, docked) in [(4, None), (8, None), (8, Some(NetId(3))), (0, Some(NetId(3))), (20, Some(NetId(3)))] {
            let purse = PurseShown { ore, docked, credits: u64::from(ore), ..Default::default() };
            world.insert_resource(WorldView { purse: Some(purse), ..Default::default() });
            dealer.follow(&mut world, &mut journal).unwrap();
        }
        let account = dealer.account(world.resource::<DealBook>());
        assert_eq!((account.ore_gathered, account.credits), (8, 20));
    }
}
