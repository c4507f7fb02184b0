//! Deals on the wire: every bargain is decoded as it was encoded, and numbers out of range are refused.

use crate::given;
use proptest::prelude::*;
use sidereal_protocol::{frames::messages::Deal, rules::economy::DealKey};
use uuid::Uuid;

proptest! {
    #![proptest_config(crate::repeatable())]

    #[test]
    fn a_bargain_comes_out_of_its_message_as_it_went_in(key in any::<u128>(), bargain in given::bargain()) {
        let key = DealKey(Uuid::from_u128(key));
        let deal = Deal::of(key, &bargain);
        prop_assert_eq!(deal.key(), key);
        prop_assert_eq!(deal.bargain(), Ok(bargain));
    }

    #[test]
    fn any_numbers_give_a_bargain_in_range_or_an_error(
        kind in any::<u8>(), item in any::<u8>(), to in any::<u32>(), ore in any::<u32>(), credits in any::<u64>(),
    ) {
        let deal = Deal {
            key_high: 0, key_low: 0, kind, item, to, ore, credits, want_ore: ore, want_credits: credits, again: false,
        };
        if let Ok(bargain) = deal.bargain() {
            prop_assert_eq!(bargain.validate(), Ok(()));
        }
    }
}
