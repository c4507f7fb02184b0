//! Spreads players over the server's endpoints: each ticket names the one with the fewest players, those with a ticket
//! that can still be redeemed included. No I/O, no clock.

use std::collections::BTreeMap;

/// Expiry and serial number of a ticket: the order in which tickets end.
pub(super) type Turn = (u64, u64);

/// The tickets that can be redeemed, by endpoint. Bounded by the number of tickets.
#[derive(Debug)]
pub(super) struct Spread {
    waiting: Vec<usize>,
    endpoint_of: BTreeMap<Turn, usize>,
}

impl Spread {
    /// For so many endpoints, at least one.
    pub fn new(endpoints: usize) -> Self {
        Self { waiting: vec![0; endpoints.max(1)], endpoint_of: BTreeMap::new() }
    }

    /// Chooses the endpoint of a new ticket, while the endpoints have so many `sessions`: the one with the fewest
    /// players, and the first of equals.
    pub fn choose(&mut self, turn: Turn, sessions: &[usize], now_ms: u64) -> usize {
        while let Some((&first, _)) = self.endpoint_of.first_key_value()
            && now_ms >= first.0
        {
            self.end(first);
        }
        let players = self.waiting.iter().enumerate().map(|(endpoint, waiting)| {
            let connected = sessions.get(endpoint).copied().unwrap_or_default();
            (waiting + connected, endpoint)
        });
        let endpoint = players.min().map_or(0, |(_, endpoint)| endpoint);
        self.waiting[endpoint] += 1;
        self.endpoint_of.insert(turn, endpoint);
        endpoint
    }

    /// Tickets that count.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.iter().sum()
    }

    /// A ticket can no longer be redeemed. Calls for one that has ended change nothing.
    pub fn end(&mut self, turn: Turn) {
        if let Some(endpoint) = self.endpoint_of.remove(&turn) {
            self.waiting[endpoint] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_with_the_fewest_players_is_chosen_and_the_first_of_equals() {
        let mut spread = Spread::new(3);
        let chosen: Vec<usize> = (0..7).map(|serial| spread.choose((100, serial), &[0, 0, 0], 0)).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2, 0]);
        // Five players connect elsewhere than their tickets say: that counts where they are.
        (0..7).for_each(|serial| spread.end((100, serial)));
        let chosen: Vec<usize> = (7..12).map(|serial| spread.choose((100, serial), &[5, 1, 0], 0)).collect();
        assert_eq!(chosen, [2, 1, 2, 1, 2]);
    }

    #[test]
    fn a_ticket_counts_until_it_ends_in_any_way_and_no_longer() {
        let mut spread = Spread::new(2);
        assert_eq!(spread.choose((100, 1), &[], 0), 0);
        assert_eq!(spread.choose((200, 2), &[], 0), 1);
        assert_eq!(spread.choose((300, 3), &[], 50), 0);
        spread.end((200, 2));
        spread.end((200, 2));
        assert_eq!(spread.waiting, [2, 0]);
        assert_eq!(spread.choose((400, 4), &[0, 3], 100), 0, "the first has expired");
        assert_eq!(spread.waiting, [2, 0]);
        assert_eq!(spread.choose((900, 5), &[], 899), 0, "and so have all");
        assert_eq!((&spread.waiting[..], spread.endpoint_of.len()), (&[1, 0][..], 1));
    }
}
