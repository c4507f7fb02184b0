//! Chat between players: its scopes, and what a text may contain.

use crate::limits::{MAX_SAY_BYTES, MAX_SAY_CHARS};
use thiserror::Error;

/// The most combining marks on one letter. More of them overlap the lines above and below. No language in use needs a
/// third.
const MAX_MARKS: usize = 2;

/// Which players receive a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Scope {
    /// All players whose view contains the speaker's sector.
    #[default]
    Sector = 0,
    /// All players.
    World = 1,
}

impl Scope {
    /// The scope of a number on the wire.
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Sector),
            1 => Some(Self::World),
            _ => None,
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Sector => Self::World,
            Self::World => Self::Sector,
        }
    }

    /// Its name for players.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sector => "sector",
            Self::World => "world",
        }
    }
}

/// Why a text is refused, in words for its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextRefused {
    /// Nothing is left of it after cleaning.
    #[error("there is nothing to say")]
    Empty,
    /// Over [`MAX_SAY_CHARS`] letters or [`MAX_SAY_BYTES`] bytes.
    #[error("that is too long: {MAX_SAY_CHARS} letters at most")]
    TooLong,
}

/// The text as it is sent: all white space becomes single spaces, with none at the ends. Invisible characters are
/// removed: control characters, bidi overrides and isolates, zero-width and other format characters, fillers, variation
/// selectors, tags, and marks beyond two on a letter. They are removed rather than refused because they usually come
/// with copied text, and the author could not find them. (Joiners are removed too: a joined emoji becomes its parts,
/// which are still readable.) Cleaning a cleaned text changes nothing.
///
/// # Errors
/// When nothing is left, or more than 200 letters or 320 bytes. Nothing is cut off, so that no sentence is sent in
/// half.
pub fn clean(text: &str) -> Result<String, TextRefused> {
    let mut said = String::with_capacity(text.len().min(MAX_SAY_BYTES));
    let (mut letters, mut marks) = (0, 0);
    for letter in text.chars() {
        let letter = if letter.is_whitespace() { ' ' } else { letter };
        if is_invisible(letter) || letter == ' ' && (said.is_empty() || said.ends_with(' ')) {
            continue;
        }
        marks = if is_mark(letter) { marks + 1 } else { 0 };
        if marks > MAX_MARKS {
            continue;
        }
        letters += 1;
        // A last space is trimmed below.
        if letters > MAX_SAY_CHARS + 1 || said.len() + letter.len_utf8() > MAX_SAY_BYTES + 1 {
            return Err(TextRefused::TooLong);
        }
        said.push(letter);
    }
    if said.ends_with(' ') {
        said.pop();
        letters -= 1;
    }
    match letters {
        0 => Err(TextRefused::Empty),
        letters if letters > MAX_SAY_CHARS || said.len() > MAX_SAY_BYTES => Err(TextRefused::TooLong),
        _ => Ok(said),
    }
}

/// Whether a character is invisible, or changes how others are shown.
pub fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            // Soft hyphen, grapheme joiner, Arabic letter mark.
            '\u{ad}' | '\u{34f}' | '\u{61c}'
            // Fillers and blanks that are not white space.
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
            // Mongolian variation selectors and vowel separator.
            | '\u{180b}'..='\u{180f}'
            // Zero widths, joiners, marks of direction, embeddings, overrides, invisible operators, isolates.
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // Variation selectors, byte order mark, annotations.
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            // Shorthand and musical controls, tags and further variation selectors.
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        // Not a character, in any plane.
        || u32::from(letter) & 0xfffe == 0xfffe
        || matches!(letter, '\u{fdd0}'..='\u{fdef}')
}

/// Whether a character combines with the one before: the blocks of combining marks that belong to no script.
fn is_mark(letter: char) -> bool {
    matches!(letter,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}
