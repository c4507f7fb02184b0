//! Chat texts: whatever the input, the result is short and visible, and cleaning it again changes nothing.

use proptest::prelude::*;
use sidereal_protocol::{
    frames::{
        chat::{Scope, TextRefused, clean, is_invisible},
        messages::{Said, Say},
    },
    limits::{MAX_SAY_BYTES, MAX_SAY_CHARS},
};

/// Characters that could hide text or break its display.
fn strange() -> impl Strategy<Value = char> {
    prop::sample::select(vec![
        ' ',
        '\n',
        '\t',
        '\0',
        '\u{7}',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{a0}',
        '\u{ad}',
        '\u{301}',
        '\u{489}',
        '\u{61c}',
        '\u{2028}',
        '\u{200b}',
        '\u{200d}',
        '\u{202e}',
        '\u{2066}',
        '\u{2800}',
        '\u{3000}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{fffd}',
        '\u{ffff}',
        '\u{e0041}',
        '\u{10ffff}',
        '字',
        '🚀',
    ])
}

fn text() -> impl Strategy<Value = String> {
    let letter = prop_oneof![3 => any::<char>(), 3 => strange(), 4 => prop::char::range('a', 'z')];
    prop::collection::vec(letter, 0..260).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(crate::repeatable())]

    #[test]
    fn what_is_said_is_short_and_visible_whatever_was_written(written in text()) {
        match clean(&written) {
            Ok(said) => {
                prop_assert!((1..=MAX_SAY_CHARS).contains(&said.chars().count()));
                prop_assert!(said.len() <= MAX_SAY_BYTES);
                prop_assert!(!said.chars().any(is_invisible), "{said:?}");
                prop_assert!(!said.chars().any(|letter| letter.is_whitespace() && letter != ' '), "{said:?}");
                prop_assert!(said.trim() == said && !said.contains("  "), "{said:?}");
                prop_assert_eq!(clean(&said), Ok(said.clone()));
            }
            Err(TextRefused::Empty) => {
                prop_assert!(written.chars().all(|letter| letter.is_whitespace() || is_invisible(letter)));
            }
            Err(TextRefused::TooLong) => {
                prop_assert!(written.chars().count() > MAX_SAY_CHARS || written.len() > MAX_SAY_BYTES);
            }
        }
    }

    #[test]
    fn plain_text_is_said_as_it_is(written in "[!-~]{1,200}") {
        prop_assert_eq!(clean(&written), Ok(written.clone()));
    }

    #[test]
    fn hidden_characters_change_nothing(
        written in "[!-~]{1,150}", hidden in strange(), places in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
    ) {
        prop_assume!(is_invisible(hidden) && !hidden.is_whitespace());
        let mut letters: Vec<char> = written.chars().collect();
        for place in places {
            letters.insert(place.index(letters.len() + 1), hidden);
        }
        prop_assert_eq!(clean(&String::from_iter(letters)), Ok(written));
    }

    #[test]
    fn a_scope_comes_out_of_its_message_or_is_refused(number in any::<u8>()) {
        let say = Say { scope: number, text: String::new() };
        prop_assert_eq!(say.scope().ok(), Scope::from_u8(number));
        let said = Said { scope: number, speaker: String::new(), text: String::new(), yours: false };
        prop_assert_eq!(said.scope(), Scope::from_u8(number));
    }
}

#[test]
fn a_text_is_said_to_the_last_letter_and_not_beyond() {
    let full = "x".repeat(MAX_SAY_CHARS);
    assert_eq!(clean(&format!("  {full}\n")), Ok(full.clone()));
    assert_eq!(clean(&format!("{full}y")), Err(TextRefused::TooLong));
    assert_eq!(clean(&format!("{full} y")), Err(TextRefused::TooLong));
    let rockets = "🚀".repeat(MAX_SAY_BYTES / 4);
    assert_eq!(clean(&rockets), Ok(rockets.clone()));
    assert_eq!(clean(&format!("{rockets}!")), Err(TextRefused::TooLong));
    assert_eq!(clean("\u{200b}\u{202e} \n"), Err(TextRefused::Empty));
}

#[test]
fn a_text_cannot_turn_others_round_or_pile_up() {
    assert_eq!(clean("a\u{202e}b\u{2066}c\u{0}d\r\ne").as_deref(), Ok("abcd e"));
    assert_eq!(clean(&format!("e{}x", "\u{301}".repeat(50))).as_deref(), Ok("e\u{301}\u{301}x"));
}
