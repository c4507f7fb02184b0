//! All bodies of a tick by their place, so that weapons and tools look only at what is near.
//!
//! Runs in the shard, after the motion of the tick. The grid is built by the first system of a tick that asks for it,
//! and again after a body was added or removed; in a tick in which nobody shoots, mines or pulls it is not built. A body is in
//! each cell that its square touches, so that one large body does not widen the search for all others.

use crate::bodies::{
    body::{Body, Flight},
    registry::Registry,
};
use bevy::{ecs::system::SystemParam, prelude::*};
use sidereal_protocol::{
    DVec2,
    world::{ids::NetId, tick::SimTick},
};

/// Adds the grid.
pub(crate) struct GridPlugin;

impl Plugin for GridPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Grid>();
    }
}

/// Width of a cell, units: a few times that of a common body.
const CELL: f64 = 128.0;

/// Limit of the cells along one side of a body, from its lower left corner: beyond them it is not found. The largest
/// valid radius, 500 units, needs nine.
const MAX_BODY_CELLS: i64 = 16;

#[derive(Debug, Clone, Copy)]
struct Spot {
    low: DVec2,
    high: DVec2,
    net_id: NetId,
    entity: Entity,
}

/// The bodies of a tick by cells. Cells share lists by their hash; what does not touch the searched area is left out.
#[derive(Resource, Debug, Default)]
pub(crate) struct Grid {
    built: Option<(SimTick, u64)>,
    spots: Vec<Spot>,
    /// For each list where it begins in `entries`, and the end of the last one. Their number is a power of two, plus one.
    starts: Vec<u32>,
    entries: Vec<u32>,
}

/// Searches for bodies, by their positions after the motion of the tick.
#[derive(SystemParam)]
pub(crate) struct Nearby<'w, 's> {
    grid: ResMut<'w, Grid>,
    bodies: Query<'w, 's, (Entity, &'static Body, &'static Flight)>,
}

impl Nearby<'_, '_> {
    /// The grid of the tick `now`. It is built if that is not done yet.
    pub fn prepare(&mut self, now: SimTick, registry: &Registry) -> &Grid {
        let built = Some((now, registry.changes()));
        if self.grid.built != built {
            self.grid.build(self.bodies.iter());
            self.grid.built = built;
        }
        &self.grid
    }
}

impl Grid {
    fn build<'a>(&mut self, bodies: impl Iterator<Item = (Entity, &'a Body, &'a Flight)>) {
        self.spots.clear();
        self.spots.extend(bodies.map(|(entity, body, flight)| {
            let reach = DVec2::splat(body.radius);
            let (low, high) = (flight.0.position - reach, flight.0.position + reach);
            Spot { low, high, net_id: body.net_id, entity }
        }));
        let lists = (2 * self.spots.len()).next_power_of_two().max(1);
        // The lists lie one behind the other: first their lengths, then where each ends, then the entries from behind.
        self.starts.clear();
        self.starts.resize(lists + 1, 0);
        for spot in &self.spots {
            cells(spot.low, spot.high).for_each(|cell| self.starts[list_of(cell, lists)] += 1);
        }
        let mut total = 0;
        for start in &mut self.starts {
            total += *start;
            *start = total;
        }
        self.entries.clear();
        self.entries.resize(total as usize, 0);
        for (index, spot) in self.spots.iter().enumerate() {
            for cell in cells(spot.low, spot.high) {
                let start = &mut self.starts[list_of(cell, lists)];
                *start -= 1;
                self.entries[*start as usize] = index as u32;
            }
        }
    }

    /// The bodies whose squares touch the area from `low` to `high`, by rising net id.
    pub fn within(&self, low: DVec2, high: DVec2) -> Vec<Entity> {
        let touches =
            |spot: &Spot| spot.low.x <= high.x && spot.high.x >= low.x && spot.low.y <= high.y && spot.high.y >= low.y;
        let across = (high - low) / CELL + 1.0;
        let mut found: Vec<(NetId, Entity)> = Vec::new();
        // Written so that an area that is not a number is searched without the grid.
        if across.x * across.y <= self.spots.len() as f64 {
            let lists = self.starts.len().saturating_sub(1);
            for cell in all_cells(low, high) {
                let list = list_of(cell, lists);
                let (start, end) = (self.starts[list] as usize, self.starts[list + 1] as usize);
                let spots = self.entries[start..end].iter().map(|&index| &self.spots[index as usize]);
                found.extend(spots.filter(|spot| touches(spot)).map(|spot| (spot.net_id, spot.entity)));
            }
        } else {
            found.extend(self.spots.iter().filter(|spot| touches(spot)).map(|spot| (spot.net_id, spot.entity)));
        }
        found.sort_unstable_by_key(|&(net_id, _)| net_id);
        found.dedup();
        found.into_iter().map(|(_, entity)| entity).collect()
    }

    /// The bodies whose squares touch the square round `center` that reaches `reach` units in each direction.
    pub fn around(&self, center: DVec2, reach: f64) -> Vec<Entity> {
        self.within(center - reach, center + reach)
    }
}

/// The cell of a position. A float-to-integer cast saturates.
fn cell_of(position: DVec2) -> (i64, i64) {
    ((position.x / CELL).floor() as i64, (position.y / CELL).floor() as i64)
}

fn all_cells(low: DVec2, high: DVec2) -> impl Iterator<Item = (i64, i64)> {
    let ((left, bottom), (right, top)) = (cell_of(low), cell_of(high));
    (bottom..=top).flat_map(move |y| (left..=right).map(move |x| (x, y)))
}

/// The cells of a body's square, up to [`MAX_BODY_CELLS`] along a side.
fn cells(low: DVec2, high: DVec2) -> impl Iterator<Item = (i64, i64)> {
    let ((left, bottom), (right, top)) = (cell_of(low), cell_of(high));
    let (right, top) =
        (right.min(left.saturating_add(MAX_BODY_CELLS - 1)), top.min(bottom.saturating_add(MAX_BODY_CELLS - 1)));
    (bottom..=top).flat_map(move |y| (left..=right).map(move |x| (x, y)))
}

/// The list of a cell. `lists` is a power of two.
fn list_of((x, y): (i64, i64), lists: usize) -> usize {
    let mixed = (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    (mixed >> 32) as usize & (lists - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;
    use sidereal_protocol::{
        record::{EntityKind, EntityRecord, Structure},
        rules::flight::FlightState,
        world::ids::EntityId,
    };

    fn bodies(count: u32, random: &mut Pcg64Mcg) -> Vec<(Entity, Body, Flight)> {
        (1..=count)
            .map(|number| {
                let radius = if number % 50 == 0 { 500.0 } else { random.random_range(3.0..60.0) };
                let position = DVec2::new(random.random_range(-3e3..3e3), random.random_range(-3e3..3e3));
                let id = EntityId::from_halves(1, u64::from(number));
                let mut record = EntityRecord::at_rest(id, EntityKind::Asteroid, position, SimTick(1))
                    .with(Structure::whole(radius, 1));
                // The order of Bevy's entities is another one than that of net ids.
                record.net_id = NetId(10_000 - number);
                let entity = Entity::from_raw_u32(number).expect("a valid number");
                (entity, Body::of(&record), Flight(FlightState { position, ..Default::default() }))
            })
            .collect()
    }

    #[test]
    fn a_search_finds_exactly_what_touches_the_area_in_the_order_of_net_ids() {
        let mut random = Pcg64Mcg::seed_from_u64(5);
        for count in [0, 1, 7, 400] {
            let bodies = bodies(count, &mut random);
            let mut grid = Grid::default();
            grid.build(bodies.iter().map(|(entity, body, flight)| (*entity, body, flight)));
            for size in [0.0, 10.0, 500.0, 20_000.0] {
                let low = DVec2::new(random.random_range(-3e3..3e3), random.random_range(-3e3..3e3));
                let high = low + size;
                let touches = |(_, body, Flight(state)): &&(Entity, Body, Flight)| {
                    let nearest = state.position.clamp(low, high) - state.position;
                    nearest.abs().max_element() <= body.radius
                };
                let mut expected: Vec<_> = bodies.iter().filter(touches).map(|(entity, ..)| *entity).collect();
                expected.reverse();
                assert_eq!(grid.within(low, high), expected, "{count} bodies, {low} to {high}");
            }
        }
    }

    #[test]
    fn absurd_areas_and_positions_are_searched_all_the_same() {
        let mut random = Pcg64Mcg::seed_from_u64(6);
        let mut bodies = bodies(20, &mut random);
        bodies[3].2.0.position = DVec2::splat(2e12);
        bodies[4].2.0.position = DVec2::splat(f64::INFINITY);
        let mut grid = Grid::default();
        grid.build(bodies.iter().map(|(entity, body, flight)| (*entity, body, flight)));
        assert_eq!(grid.within(DVec2::splat(f64::NEG_INFINITY), DVec2::splat(f64::INFINITY)).len(), 20);
        assert_eq!(grid.around(DVec2::splat(2e12), 1.0), vec![bodies[3].0]);
        assert!(grid.around(DVec2::splat(f64::NAN), 1.0).is_empty());
    }
}
