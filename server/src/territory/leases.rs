//! Leases on blocks of sectors: which shard simulates which block, without I/O.
//!
//! A block is requested when a player's ship is in or near it. It goes to the shard with the fewest blocks, or
//! to one that has more of its neighbours while the difference stays small, so that leases stay contiguous and most
//! crossings stay within a shard. Each change of holder raises the lease's epoch.

use sidereal_protocol::{
    frames::control::Lease,
    world::{
        ids::ShardId,
        sector::{BlockId, SectorId},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// How many blocks more than the least loaded shard one may have for the sake of contiguity. With one, a shard in five
/// had more than two pieces in worlds that grew at random, with three one in ten or less.
const IMBALANCE: usize = 3;

/// Maximum number of simulated blocks: 65,536 sectors. Leases are never revoked, so without a limit one pilot who
/// flies straight on for days would fill every process. At the limit the world ends there, as it does for a ship whose
/// next sector has no holder yet.
const MAX_BLOCKS: usize = 4_096;

/// The part reserved for stored ships that enter the world: a player who flew far must be able to log in.
const BLOCKS_FOR_ARRIVALS: usize = 512;

/// The state of a block's entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockState {
    /// Not in the mirror: they must be read from the database, or generated.
    Stored,
    /// Requested from the database.
    Loading,
    /// In the mirror.
    Live,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    holder: Option<ShardId>,
    epoch: u64,
    state: BlockState,
}

/// The leases of the world.
#[derive(Debug, Default)]
pub struct Leases {
    blocks: BTreeMap<BlockId, Block>,
    shards: BTreeSet<ShardId>,
    /// Requests of blocks that were rejected at the limit.
    pub refused: u64,
}

impl Leases {
    /// A shard has connected.
    pub fn add_shard(&mut self, shard: ShardId) {
        self.shards.insert(shard);
    }

    /// A shard has gone: its blocks have no holder until [`Leases::assign`]. Returns them.
    pub fn lose_shard(&mut self, shard: ShardId) -> Vec<BlockId> {
        self.shards.remove(&shard);
        let mut lost = Vec::new();
        for (id, block) in &mut self.blocks {
            if block.holder == Some(shard) {
                block.holder = None;
                lost.push(*id);
            }
        }
        lost
    }

    /// The number of connected shards.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The number of blocks with a holder whose entities are in the mirror.
    pub fn live_blocks(&self) -> usize {
        self.blocks.values().filter(|block| block.holder.is_some() && block.state == BlockState::Live).count()
    }

    /// Requests the simulation of a block, if there is room for it.
    pub fn want(&mut self, id: BlockId) {
        self.want_within(id, MAX_BLOCKS - BLOCKS_FOR_ARRIVALS);
    }

    /// The same for a stored ship that enters the world.
    pub fn request_block_for_arrival(&mut self, id: BlockId) {
        self.want_within(id, MAX_BLOCKS);
    }

    fn want_within(&mut self, id: BlockId, room: usize) {
        if self.blocks.contains_key(&id) {
            return;
        }
        if self.blocks.len() >= room {
            self.refused += 1;
            return;
        }
        self.blocks.insert(id, Block { holder: None, epoch: 0, state: BlockState::Stored });
    }

    /// The number of requested blocks.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none is requested.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Assigns every requested block without a holder to a shard; returns the new assignments, with the state of each
    /// block's entities. Assigns nothing while no shard is connected.
    pub fn assign(&mut self) -> Vec<(BlockId, ShardId, BlockState)> {
        let open: Vec<BlockId> =
            self.blocks.iter().filter(|(_, block)| block.holder.is_none()).map(|(id, _)| *id).collect();
        let mut given = Vec::new();
        for id in open {
            let Some(shard) = self.choose(id) else { break };
            if let Some(block) = self.blocks.get_mut(&id) {
                block.holder = Some(shard);
                block.epoch += 1;
                given.push((id, shard, block.state));
            }
        }
        given
    }

    fn choose(&self, id: BlockId) -> Option<ShardId> {
        let load = |shard: ShardId| self.blocks.values().filter(|block| block.holder == Some(shard)).count();
        let least = self.shards.iter().map(|shard| load(*shard)).min()?;
        let neighbours = |shard: ShardId| {
            self.blocks.iter().filter(|(other, block)| other.touches(id) && block.holder == Some(shard)).count()
        };
        let open = self.blocks.values().filter(|block| block.holder.is_none()).count();
        let idle = self.shards.iter().filter(|shard| load(**shard) == 0).count();
        // While a shard has no block, no other gets more than a fair share, and the last blocks go to the idle ones.
        let most = match least {
            0 if open <= idle => 0,
            0 => self.blocks.len().div_ceil(self.shards.len()) - 1,
            _ => least + IMBALANCE,
        };
        self.shards
            .iter()
            .copied()
            .filter(|shard| load(*shard) <= most)
            .max_by_key(|shard| (neighbours(*shard), std::cmp::Reverse(load(*shard)), std::cmp::Reverse(*shard)))
    }

    /// The block's entities were requested from the database, or are in the mirror now.
    pub fn set_state(&mut self, id: BlockId, state: BlockState) {
        if let Some(block) = self.blocks.get_mut(&id) {
            block.state = state;
        }
    }

    /// The shard with the lease on the block, whether or not its entities are loaded.
    pub fn holder_of_block(&self, id: BlockId) -> Option<ShardId> {
        self.blocks.get(&id)?.holder
    }

    /// The shard that simulates the sector: `None` until its entities are in the mirror.
    pub fn holder(&self, sector: SectorId) -> Option<ShardId> {
        let block = self.blocks.get(&sector.block())?;
        (block.state == BlockState::Live).then_some(block.holder)?
    }

    /// The leases on a block's sectors.
    pub fn leases_of(&self, id: BlockId) -> Vec<Lease> {
        let Some(block) = self.blocks.get(&id) else { return Vec::new() };
        id.sectors().map(|sector| Lease { sector, epoch: block.epoch }).collect()
    }

    /// Live blocks of one shard.
    pub fn blocks_of(&self, shard: ShardId) -> impl Iterator<Item = BlockId> + '_ {
        self.blocks
            .iter()
            .filter(move |(_, block)| block.holder == Some(shard) && block.state == BlockState::Live)
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    #[test]
    fn home_is_split_in_two_connected_halves() {
        let mut leases = Leases::default();
        leases.add_shard(ShardId(1));
        leases.add_shard(ShardId(2));
        for (x, y) in [(-1, -1), (-1, 0), (0, -1), (0, 0)] {
            leases.want(BlockId { x, y });
        }
        let given = leases.assign();
        assert_eq!(given.len(), 4);
        for shard in [ShardId(1), ShardId(2)] {
            let blocks: Vec<BlockId> = given.iter().filter(|(_, to, _)| *to == shard).map(|(id, _, _)| *id).collect();
            assert_eq!(blocks.len(), 2, "{given:?}");
            assert!(blocks[0].touches(blocks[1]), "{given:?}");
        }
    }

    #[test]
    fn the_ground_has_an_end_and_stored_ships_have_room_beyond_it() {
        let mut leases = Leases::default();
        (0..5_000).for_each(|x| leases.want(BlockId { x, y: 0 }));
        assert_eq!((leases.len(), leases.refused), (MAX_BLOCKS - BLOCKS_FOR_ARRIVALS, 5_000 - 3_584));
        leases.want(BlockId { x: 0, y: 0 });
        assert_eq!(leases.refused, 5_000 - 3_584, "a requested one is not rejected");
        (0..1_000).for_each(|x| leases.request_block_for_arrival(BlockId { x, y: 1 }));
        assert_eq!(leases.len(), MAX_BLOCKS);
    }

    #[test]
    fn home_is_shared_by_all_shards() {
        for shards in 1..=4 {
            let mut leases = Leases::default();
            (1..=shards).for_each(|shard| leases.add_shard(ShardId(shard)));
            for (x, y) in [(-1, -1), (-1, 0), (0, -1), (0, 0)] {
                leases.want(BlockId { x, y });
            }
            let holders: BTreeSet<ShardId> = leases.assign().into_iter().map(|(_, shard, _)| shard).collect();
            assert_eq!(holders.len() as u32, shards);
        }
    }

    /// Connected pieces of the blocks of one shard.
    fn pieces(leases: &Leases, shard: ShardId) -> usize {
        let mut open: Vec<BlockId> =
            leases.blocks.iter().filter(|(_, block)| block.holder == Some(shard)).map(|(id, _)| *id).collect();
        let mut pieces = 0;
        while let Some(start) = open.pop() {
            pieces += 1;
            let mut edge = vec![start];
            while let Some(id) = edge.pop() {
                let (near, far) = open.iter().partition(|other| other.touches(id));
                open = far;
                edge.extend::<Vec<BlockId>>(near);
            }
        }
        pieces
    }

    /// Players wander from the centre into unvisited space, shards come and go: each shard's blocks stay in few
    /// pieces, and no shard has many more than the others.
    #[test]
    fn leases_stay_contiguous_and_balanced_while_the_world_grows() {
        let (mut total, mut scattered, mut worst) = (0, 0, 0);
        for seed in 0..200 {
            let mut random = Pcg64Mcg::seed_from_u64(seed);
            let shards = random.random_range(2..=4);
            let mut leases = Leases::default();
            (1..=shards).for_each(|shard| leases.add_shard(ShardId(shard)));
            for (x, y) in [(-1, -1), (-1, 0), (0, -1), (0, 0)] {
                leases.want(BlockId { x, y });
            }
            leases.assign();
            let mut players = [(0, 0); 6];
            for step in 0..60 {
                let (x, y) = &mut players[step % 6];
                match random.random_range(0..4) {
                    0 => *x += 1,
                    1 => *x -= 1,
                    2 => *y += 1,
                    _ => *y -= 1,
                }
                leases.want(BlockId { x: *x, y: *y });
                leases.assign();
            }
            let held = |shard| leases.blocks.values().filter(|block| block.holder == Some(shard)).count();
            let counts: Vec<usize> = (1..=shards).map(|shard| held(ShardId(shard))).collect();
            let (most, least) = (counts.iter().max().copied(), counts.iter().min().copied());
            assert!(most <= least.map(|least| least + IMBALANCE + 1), "seed {seed}: {counts:?}");
            for shard in 1..=shards {
                let pieces = pieces(&leases, ShardId(shard));
                total += 1;
                scattered += usize::from(pieces > 2);
                worst = worst.max(pieces);
            }
        }
        println!("{total} shards: {scattered} hold more than two pieces, {worst} at most");
        assert!(scattered * 8 <= total, "{scattered} of {total} shards hold more than two pieces");
    }

    #[test]
    fn a_lost_shards_blocks_go_to_the_others_under_a_new_epoch() {
        let mut leases = Leases::default();
        leases.add_shard(ShardId(1));
        let block = BlockId { x: 0, y: 0 };
        leases.want(block);
        assert_eq!(leases.assign(), vec![(block, ShardId(1), BlockState::Stored)]);
        leases.set_state(block, BlockState::Live);
        assert_eq!(leases.leases_of(block)[0].epoch, 1);
        assert_eq!(leases.lose_shard(ShardId(1)), vec![block]);
        assert_eq!(leases.holder(SectorId::new(0, 0)), None);
        assert_eq!(leases.assign(), vec![], "no shard is there");
        leases.add_shard(ShardId(2));
        assert_eq!(leases.assign(), vec![(block, ShardId(2), BlockState::Live)]);
        assert_eq!(leases.leases_of(block)[0].epoch, 2);
        assert_eq!(leases.holder(SectorId::new(3, 3)), Some(ShardId(2)));
    }
}
