//! Sections of weapons: when each is ready again, and a missile's warhead.

use super::{EntityRecord, Presence, Section};
use crate::{
    rules::tool::Tool,
    world::{ids::EntityId, kind::EntityKind, tick::SimTick},
};
use serde::{Deserialize, Serialize};

/// No shot before this tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GunReady(pub SimTick);

/// No missile before this tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LauncherReady(pub SimTick);

/// No beam before this tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BeamReady(pub SimTick);

/// The state of a missile's control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warhead {
    /// The ship that launched it, which it never hits.
    pub shooter: EntityId,
    /// Its target; without one it flies straight on.
    pub target: Option<EntityId>,
    /// When it ends by itself.
    pub expires: SimTick,
}

/// A tool's waiting time is one of the kinds that carry it.
fn of_carriers(tool: Tool, kind: EntityKind) -> Presence {
    if tool.is_carried_by(kind) { Presence::Optional } else { Presence::Never }
}

impl Section for GunReady {
    const ID: u16 = 6;
    const NAME: &'static str = "weapon_ready";

    fn presence(kind: EntityKind) -> Presence {
        of_carriers(Tool::Gun, kind)
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Section for LauncherReady {
    const ID: u16 = 7;
    const NAME: &'static str = "launcher_ready";

    fn presence(kind: EntityKind) -> Presence {
        of_carriers(Tool::Launcher, kind)
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Section for BeamReady {
    const ID: u16 = 8;
    const NAME: &'static str = "beam_ready";

    fn presence(kind: EntityKind) -> Presence {
        of_carriers(Tool::Beam, kind)
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Section for Warhead {
    const ID: u16 = 9;
    const NAME: &'static str = "warhead";

    fn presence(kind: EntityKind) -> Presence {
        if kind == EntityKind::Missile { Presence::Required } else { Presence::Never }
    }
}

impl EntityRecord {
    /// A missile's warhead.
    pub fn warhead(&self) -> Option<Warhead> {
        self.get()
    }
}
