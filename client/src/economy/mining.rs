//! The rock that a ship mines, selected as its shard does, so that the player sees at once what will be mined.
//!
//! Pure. Runs in the player client and in bots.

use crate::view::Other;
use sidereal_protocol::{
    rules::{economy::mined_rock, flight::FlightState},
    world::kind::Ore,
};

/// The rock that a ship in this state mines: see [`mined_rock`]. A rock known to be empty is not selected.
pub fn target<'a>(ship: &FlightState, others: impl Iterator<Item = &'a Other>) -> Option<&'a Other> {
    let rocks = others.filter(|other| other.kind.spec().ore == Ore::Deposit && other.ore.is_none_or(|ore| ore > 0));
    mined_rock(ship, rocks.map(|rock| (rock.state.position, rock.radius, rock)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::{
        packets::motion::EngineGlow,
        rules::economy::MINING_RANGE,
        world::{
            ids::{EntityId, NetId},
            kind::EntityKind,
        },
    };

    fn rock(net_id: u32, at: (f64, f64), ore: Option<u32>) -> Other {
        Other {
            net_id: NetId(net_id),
            id: EntityId::default(),
            kind: EntityKind::Asteroid,
            hull_kind: None,
            name: "".into(),
            owner: None,
            state: FlightState { position: at.into(), ..Default::default() },
            glow: EngineGlow::default(),
            hull: 1,
            hull_max: 1,
            radius: 20.0,
            ore,
            silent_s: 0.0,
        }
    }

    #[test]
    fn what_the_ship_looks_at_is_mined_if_it_is_near_and_has_ore() {
        let ship = FlightState::default();
        let found = |rocks: &[Other]| target(&ship, rocks.iter()).map(|rock| rock.net_id.0);
        let ahead = rock(1, (130.0, 20.0), Some(5));
        let beside = rock(2, (0.0, 40.0), Some(5));
        assert_eq!(found(&[beside.clone(), ahead.clone()]), Some(1), "not the nearest one");
        assert_eq!(found(&[beside.clone(), rock(1, (130.0, 20.0), Some(0))]), Some(2), "not an empty one");
        assert_eq!(found(&[rock(1, (141.0, 0.0), None)]), None, "too far: {MINING_RANGE} from edge");
        assert_eq!(found(&[rock(1, (139.0, 0.0), None)]), Some(1), "a rock with an unknown amount may be mined");
        let crate_ahead = Other { kind: EntityKind::Crate, ..ahead };
        assert_eq!(found(&[crate_ahead]), None);
    }
}
