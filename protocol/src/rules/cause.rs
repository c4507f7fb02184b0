//! The causes of impacts, and what the mesh must know of each: one row of a table per cause.
//!
//! Code that applies, holds back, journals or credits an impact looks the row up instead of matching on its cause. What
//! belongs to one capability alone (how two shards agree on a contact) is not here but in that capability. Ore does not
//! move by impacts but by [`OreMove`](crate::rules::economy::OreMove).

use crate::{rules::shot::ShotId, world::ids::EntityId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The cause of an impact. Target and cause identify the impact. A cause's number on the wire is its place in this list
/// ([`CauseSpec::number`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ImpactCause {
    /// A bullet: it ends with its first hit.
    Bullet(ShotId),
    /// A beam: it hits at most one target.
    Beam(ShotId),
    /// A missile: it ends with its hit.
    Missile(EntityId),
    /// Two bodies touched. Both authorities may have detected it: see `shard`'s contacts.
    Contact {
        /// The other body.
        other: EntityId,
    },
    /// A tick of a tractor beam.
    Tractor(ShotId),
}

/// How often an impact counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Once, whenever it arrives. A handoff holds it back and passes it on.
    Once,
    /// Once for each touch, which the shards of both bodies may have simulated. The push is applied at once, also to a
    /// body that is leaving; a handoff passes on what the new owner's copy has missed.
    Witnessed,
    /// Only now: its sender computes the next one from what became of the body, in the next tick. It is not kept, and
    /// nothing is lost with it.
    Momentary,
}

/// Which entity destroyed a body whose hull ends by an impact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credit {
    /// The impact's source: the ship that fired.
    Source,
    /// The other body of the contact.
    OtherBody,
    /// None: it destroys nothing.
    None,
}

/// What the mesh must know of a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CauseSpec {
    /// Its number on the wire.
    pub number: u8,
    /// Its name in journals and messages.
    pub name: &'static str,
    /// How often it counts.
    pub counting: Counting,
    /// Whether it changes the velocity of its target.
    pub pushes: bool,
    /// Whether it takes hull points.
    pub harms: bool,
    /// Which entity is named as the one that destroyed its target.
    pub credit: Credit,
}

/// The table, by the causes' numbers.
const CAUSES: [CauseSpec; 5] = [
    CauseSpec {
        number: 0,
        name: "bullet",
        counting: Counting::Once,
        pushes: true,
        harms: true,
        credit: Credit::Source,
    },
    CauseSpec { number: 1, name: "beam", counting: Counting::Once, pushes: false, harms: true, credit: Credit::Source },
    CauseSpec {
        number: 2,
        name: "missile",
        counting: Counting::Once,
        pushes: true,
        harms: true,
        credit: Credit::Source,
    },
    CauseSpec {
        number: 3,
        name: "contact",
        counting: Counting::Witnessed,
        pushes: true,
        harms: true,
        credit: Credit::OtherBody,
    },
    CauseSpec {
        number: 4,
        name: "tractor beam",
        counting: Counting::Momentary,
        pushes: true,
        harms: false,
        credit: Credit::None,
    },
];

const _: () = {
    let mut number = 0;
    while number < CAUSES.len() {
        let spec = &CAUSES[number];
        assert!(spec.number as usize == number, "the rows stand in the order of the causes' numbers");
        let is_momentary = matches!(spec.counting, Counting::Momentary);
        assert!(!(is_momentary && spec.harms), "what may be dropped takes no hull points");
        assert!(spec.harms || matches!(spec.credit, Credit::None), "what takes no hull points destroys nothing");
        number += 1;
    }
};

impl ImpactCause {
    /// Its row.
    pub fn spec(self) -> &'static CauseSpec {
        let number = match self {
            Self::Bullet(_) => 0,
            Self::Beam(_) => 1,
            Self::Missile(_) => 2,
            Self::Contact { .. } => 3,
            Self::Tractor(_) => 4,
        };
        &CAUSES[number]
    }

    /// The other body of a contact.
    pub fn other_body(self) -> Option<EntityId> {
        match self {
            Self::Contact { other } => Some(other),
            _ => None,
        }
    }
}

impl CauseSpec {
    /// Whether it counts only in its own tick.
    pub fn is_momentary(&self) -> bool {
        self.counting == Counting::Momentary
    }

    /// Whether the shards of both bodies may have simulated it.
    pub fn is_witnessed(&self) -> bool {
        self.counting == Counting::Witnessed
    }
}

impl fmt::Display for ImpactCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.spec().name;
        match self {
            Self::Bullet(id) | Self::Beam(id) | Self::Tractor(id) => {
                write!(f, "{name} of {} at {}", id.shooter, id.tick)
            }
            Self::Missile(id) => write!(f, "{name} {id}"),
            Self::Contact { other } => write!(f, "{name} with {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{ids::NetId, tick::SimTick};

    fn all() -> [ImpactCause; CAUSES.len()] {
        let shot = ShotId { shooter: NetId(7), tick: SimTick(100) };
        let other = EntityId::from_halves(2, 2);
        [
            ImpactCause::Bullet(shot),
            ImpactCause::Beam(shot),
            ImpactCause::Missile(other),
            ImpactCause::Contact { other },
            ImpactCause::Tractor(shot),
        ]
    }

    #[test]
    fn numbers_on_the_wire_are_the_rows() {
        let numbers: Vec<u8> = all()
            .into_iter()
            .map(|cause| {
                let bytes = postcard::to_extend(&cause, Vec::new()).expect("plain numbers are always written");
                assert_eq!(postcard::from_bytes::<ImpactCause>(&bytes), Ok(cause));
                assert_eq!(bytes[0], cause.spec().number);
                bytes[0]
            })
            .collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_unknown_number_is_rejected() {
        let mut bytes = postcard::to_extend(&all()[0], Vec::new()).expect("plain numbers are always written");
        for number in [CAUSES.len() as u8, 127] {
            bytes[0] = number;
            assert!(postcard::from_bytes::<ImpactCause>(&bytes).is_err());
        }
    }

    #[test]
    fn a_cause_is_written_by_its_name_and_what_it_came_from() {
        let [bullet, .., tractor] = all();
        assert_eq!(bullet.to_string(), format!("bullet of {} at t100", NetId(7)));
        assert_eq!(tractor.to_string(), format!("tractor beam of {} at t100", NetId(7)));
    }
}
