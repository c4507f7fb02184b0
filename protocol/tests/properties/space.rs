//! Sectors and blocks: every position in one, at every address.

use crate::{given, repeatable};
use proptest::prelude::*;
use sidereal_protocol::{
    DVec2,
    world::sector::{BLOCK_SECTORS, BlockId, SECTOR_SIZE, SectorId},
};
use std::collections::BTreeSet;

/// Offsets inside a sector, its edges among them.
fn inside() -> impl Strategy<Value = f64> {
    prop_oneof![6 => 0.0..SECTOR_SIZE, 1 => Just(0.0), 1 => Just(SECTOR_SIZE / 2.0)]
}

/// Addresses that have all their neighbours.
fn inner_sector() -> impl Strategy<Value = SectorId> {
    given::sector().prop_map(|sector| {
        let inner = |along: i32| along.clamp(i32::MIN + 8, i32::MAX - 8);
        SectorId::new(inner(sector.x), inner(sector.y))
    })
}

fn block() -> impl Strategy<Value = BlockId> {
    given::sector().prop_map(|sector| BlockId { x: sector.x, y: sector.y })
}

proptest! {
    #![proptest_config(repeatable())]

    #[test]
    fn a_sector_holds_its_origin_its_centre_and_what_is_between_its_edges(
        sector in given::sector(),
        x in inside(),
        y in inside(),
    ) {
        let (origin, end) = (sector.origin(), sector.origin() + DVec2::splat(SECTOR_SIZE));
        prop_assert_eq!(SectorId::containing(origin), sector);
        prop_assert_eq!(SectorId::containing(sector.center()), sector);
        // So far out, f64 rounds values close to the far edge up to it.
        let position = (origin + DVec2::new(x, y)).min(DVec2::new(end.x.next_down(), end.y.next_down()));
        prop_assert_eq!(SectorId::containing(position), sector);
        prop_assert_eq!(sector.overshoot(position), 0.0);
    }

    #[test]
    fn the_last_number_before_an_edge_is_on_this_side_of_it(sector in inner_sector()) {
        let origin = sector.origin();
        prop_assume!(origin.x != 0.0 && origin.y != 0.0);
        let before = DVec2::new(origin.x.next_down(), origin.y.next_down());
        prop_assert_eq!(SectorId::containing(before), sector.offset(-1, -1));
        let after = DVec2::new(origin.x.next_up(), origin.y.next_up());
        prop_assert_eq!(SectorId::containing(after), sector);
    }

    #[test]
    fn every_position_is_in_the_sector_that_contains_it(position in given::vector(2.1e12)) {
        let sector = SectorId::containing(position);
        let local = position - sector.origin();
        prop_assert!(local.min_element() >= 0.0 && local.max_element() <= SECTOR_SIZE, "{local} in {sector}");
        prop_assert_eq!(sector.overshoot(position), 0.0);
    }

    #[test]
    fn what_is_past_the_last_sector_is_in_the_last(x in 2.2e12..1e300f64, y in 2.2e12..1e300f64) {
        prop_assert_eq!(SectorId::containing(DVec2::new(x, -y)), SectorId::new(i32::MAX, i32::MIN));
        let infinite = DVec2::new(f64::NEG_INFINITY, f64::INFINITY);
        prop_assert_eq!(SectorId::containing(infinite), SectorId::new(i32::MIN, i32::MAX));
        prop_assert_eq!(SectorId::containing(DVec2::NAN), SectorId::new(0, 0));
    }

    #[test]
    fn overshoot_is_the_way_past_the_nearest_edge(
        sector in given::sector(),
        along in inside(),
        past in 1.0..5000.0f64,
        side in 0..4usize,
    ) {
        let local = [
            DVec2::new(-past, along),
            DVec2::new(SECTOR_SIZE + past, along),
            DVec2::new(along, -past),
            DVec2::new(along, SECTOR_SIZE + past),
        ][side];
        let overshoot = sector.overshoot(sector.origin() + local);
        // 2e12 units out, f64 steps by 0.0003.
        prop_assert!((overshoot - past).abs() < 1e-3, "{overshoot} instead of {past}");
    }

    #[test]
    fn a_neighbourhood_is_the_nine_within_one_step(sector in inner_sector()) {
        let nine = sector.neighbourhood();
        prop_assert_eq!(nine[0], sector);
        prop_assert_eq!(BTreeSet::from(nine).len(), 9);
        for (index, &other) in nine.iter().enumerate() {
            prop_assert_eq!(sector.distance(other), u32::from(index > 0));
            prop_assert!(other.neighbourhood().contains(&sector), "it goes both ways");
            let steps = sector.x.abs_diff(other.x) + sector.y.abs_diff(other.y);
            prop_assert_eq!(steps == 1, (1..=4).contains(&index), "those that share an edge come first");
        }
    }

    #[test]
    fn a_neighbourhood_at_the_end_of_the_addresses_stays_there(sector in given::sector()) {
        let nine = sector.neighbourhood();
        prop_assert_eq!(nine[0], sector);
        prop_assert!(nine.iter().all(|&other| sector.distance(other) <= 1));
    }

    #[test]
    fn a_block_holds_its_sectors_and_no_others(sector in given::sector()) {
        let block = sector.block();
        let sectors: Vec<SectorId> = block.sectors().collect();
        prop_assert_eq!(sectors.len(), (BLOCK_SECTORS * BLOCK_SECTORS) as usize);
        prop_assert!(sectors.contains(&sector));
        prop_assert_eq!(BTreeSet::from_iter(&sectors).len(), sectors.len());
        prop_assert!(sectors.iter().all(|other| other.block() == block));
        for other in sector.neighbourhood() {
            prop_assert_eq!(other.block() == block, sectors.contains(&other));
        }
    }

    #[test]
    fn blocks_touch_when_sectors_of_theirs_share_an_edge(sector in inner_sector(), other in inner_sector()) {
        for (one, other) in [(sector, other), (sector, sector.offset(3, -3)), (sector, sector.offset(4, 1))] {
            let (one, other) = (one.block(), other.block());
            let share = one
                .sectors()
                .flat_map(|sector| [(1, 0), (-1, 0), (0, 1), (0, -1)].map(|(dx, dy)| sector.offset(dx, dy)))
                .any(|next| next.block() == other && one != other);
            prop_assert_eq!(one.touches(other), share);
            prop_assert_eq!(other.touches(one), share);
        }
    }

    #[test]
    fn any_two_addresses_of_blocks_can_be_asked_about(one in block(), other in block()) {
        prop_assert_eq!(one.touches(other), other.touches(one));
        prop_assert!(!one.touches(one));
        prop_assert_eq!(one.sectors().count(), 16);
    }
}
