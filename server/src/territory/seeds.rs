//! One-way values derived from the world's seed: none leads back to the seed, or to another one.
//!
//! The seed gives the position of every rock that no player has seen, so it stays in this process. Players draw their
//! sky from [`sky`]; shards make ids, which players see, from [`shards`]; the contents of a sector reveal its random
//! numbers to its visitors, and come from [`sector`], separately for each sector. A short seed can still be found by
//! trying all: a world with secrets needs a random one.

use sha2::{Digest, Sha256};
use sidereal_protocol::world::sector::SectorId;

/// The seed of the players' starfield.
pub fn sky(world_seed: u64) -> u64 {
    word(derived(world_seed, "sky", &[]))
}

/// The seed from which shards make the ids and places of new entities.
pub fn shards(world_seed: u64) -> u64 {
    word(derived(world_seed, "shards", &[]))
}

/// The random state for a sector's contents. `what` separates the random numbers of different purposes.
pub fn sector(world_seed: u64, what: &str, sector: SectorId) -> [u8; 16] {
    let place = [sector.x.to_le_bytes(), sector.y.to_le_bytes()].concat();
    derived(world_seed, what, &place)
}

fn word(state: [u8; 16]) -> u64 {
    u128::from_le_bytes(state) as u64
}

/// The first 16 bytes of SHA-256 over the purpose, the seed and the parameters.
fn derived(world_seed: u64, purpose: &str, more: &[u8]) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update("sidereal ")
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(world_seed.to_le_bytes())
        .chain_update(more)
        .finalize();
    let mut state = [0; 16];
    state.copy_from_slice(&digest[..16]);
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_told_is_neither_the_seed_nor_anything_else_that_is_made_of_it() {
        let mut seen = BTreeSet::new();
        for seed in [0, 1, 42, u64::MAX] {
            assert!(seen.insert(u128::from(sky(seed))), "{seed}");
            assert!(seen.insert(u128::from(shards(seed))), "{seed}");
            assert!(!seen.contains(&u128::from(seed)));
            for what in ["rocks", "station"] {
                for (x, y) in [(0, 0), (0, 1), (1, 0), (-1, 0), (i32::MIN, i32::MAX)] {
                    let state = sector(seed, what, SectorId::new(x, y));
                    assert!(seen.insert(u128::from_le_bytes(state)), "{seed} {what} {x} {y}");
                }
            }
        }
        assert_eq!(sky(42), sky(42), "a world keeps its sky");
    }

    #[test]
    fn the_worlds_that_there_are_stay_as_they_are() {
        // SHA-256 of `sidereal sky`, a zero byte, and the seed in eight bytes, the lowest first.
        let state = derived(7, "sky", &[]);
        let by_hand = Sha256::digest(b"sidereal sky\0\x07\0\0\0\0\0\0\0");
        assert_eq!(state[..], by_hand[..16]);
    }
}
