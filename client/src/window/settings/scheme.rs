//! The colour schemes that a player can choose from.

use serde::{Deserialize, Serialize};

/// For whose eyes the colours are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// For those who see all colours.
    #[default]
    Usual,
    /// For those who take red for green (protanopia, deuteranopia).
    RedGreen,
    /// For those who take blue for yellow (tritanopia).
    BlueYellow,
}

impl Scheme {
    /// All of them, in the order in which they are chosen from.
    pub const ALL: [Self; 3] = [Self::Usual, Self::RedGreen, Self::BlueYellow];

    /// As players read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::RedGreen => "for red-green blindness",
            Self::BlueYellow => "for blue-yellow blindness",
        }
    }
}
