//! The choices for the colours.

use serde::{Deserialize, Serialize};

/// A colour scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// For full colour vision.
    #[default]
    Usual,
    /// For red-green blindness (protanopia, deuteranopia).
    RedGreen,
    /// For blue-yellow blindness (tritanopia).
    BlueYellow,
}

impl Scheme {
    /// All of them, in the order of the choice.
    pub const ALL: [Self; 3] = [Self::Usual, Self::RedGreen, Self::BlueYellow];

    /// Its name for players.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::RedGreen => "for red-green blindness",
            Self::BlueYellow => "for blue-yellow blindness",
        }
    }
}
