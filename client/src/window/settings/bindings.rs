//! Key and mouse bindings: up to two for each action, and each for one action only.

use bevy::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most keys for one action.
pub(crate) const SLOTS: usize = 2;

macro_rules! actions {
    ($($name:ident, $id:literal, $says:literal, $first:expr, $second:expr;)*) => {
        /// An action that keys are bound to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Action {
            $(#[doc = $says] $name,)*
        }

        impl Action {
            /// All of them, in the order of the list.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in which it is stored.
            const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// Its name for players.
            pub(crate) const fn says(self) -> &'static str {
                match self { $(Self::$name => $says,)* }
            }

            const fn usual(self) -> [Option<Trigger>; SLOTS] {
                match self { $(Self::$name => [$first, $second],)* }
            }
        }
    };
}

const fn key(code: KeyCode) -> Option<Trigger> {
    Some(Trigger::Key(code))
}

actions! {
    Ahead, "ahead", "thrust", key(KeyCode::KeyW), key(KeyCode::ArrowUp);
    Reverse, "reverse", "reverse", key(KeyCode::KeyS), key(KeyCode::ArrowDown);
    Left, "left", "turn left", key(KeyCode::KeyA), key(KeyCode::ArrowLeft);
    Right, "right", "turn right", key(KeyCode::KeyD), key(KeyCode::ArrowRight);
    Fire, "fire", "fire", key(KeyCode::Space), None;
    Beam, "beam", "beam", key(KeyCode::KeyE), Some(Trigger::Mouse(MouseButton::Right));
    Launch, "launch", "missile", key(KeyCode::KeyF), key(KeyCode::KeyQ);
    Mine, "mine", "mine (hold)", key(KeyCode::KeyC), None;
    Tractor, "tractor", "tractor beam (hold)", key(KeyCode::KeyB), None;
    Boost, "boost", "boost", key(KeyCode::ShiftLeft), key(KeyCode::ShiftRight);
    Brake, "brake", "brake", key(KeyCode::KeyX), None;
    Dock, "dock", "dock, undock", key(KeyCode::KeyV), None;
    Trade, "trade", "offer a trade", key(KeyCode::KeyT), None;
    Accept, "accept", "accept an offer", key(KeyCode::KeyY), None;
    Decline, "decline", "decline an offer", key(KeyCode::KeyN), None;
    Respawn, "respawn", "fly again", key(KeyCode::KeyR), None;
    ZoomIn, "zoom-in", "closer (or wheel)", key(KeyCode::Equal), key(KeyCode::NumpadAdd);
    ZoomOut, "zoom-out", "farther (wheel)", key(KeyCode::Minus), key(KeyCode::NumpadSubtract);
    Grid, "grid", "sector grid", key(KeyCode::KeyG), None;
    Map, "map", "map", key(KeyCode::KeyM), None;
    Help, "help", "these keys", key(KeyCode::F1), None;
    Settings, "settings", "settings (Escape)", key(KeyCode::F2), None;
    Link, "link", "connection", key(KeyCode::F3), None;
}

impl Action {
    /// Their number.
    pub(crate) const COUNT: usize = Self::ALL.len();
}

/// A key or a mouse button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// A key, by its position on the keyboard.
    Key(KeyCode),
    /// A button of the mouse.
    Mouse(MouseButton),
}

const MOUSE: [(MouseButton, &str, &str); 5] = [
    (MouseButton::Left, "MouseLeft", "left mouse"),
    (MouseButton::Right, "MouseRight", "right mouse"),
    (MouseButton::Middle, "MouseMiddle", "wheel press"),
    (MouseButton::Back, "MouseBack", "mouse back"),
    (MouseButton::Forward, "MouseForward", "mouse forward"),
];

macro_rules! keys {
    ($($name:ident)*) => { &[$((KeyCode::$name, stringify!($name)),)*] };
}

/// The keys that can be bound, with their names in the W3C's list of physical keys. Escape is not among them: it closes
/// everything.
const KEYS: &[(KeyCode, &str)] = keys![
    KeyA KeyB KeyC KeyD KeyE KeyF KeyG KeyH KeyI KeyJ KeyK KeyL KeyM KeyN KeyO KeyP KeyQ KeyR KeyS KeyT KeyU KeyV KeyW
    KeyX KeyY KeyZ Digit0 Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Backquote Minus Equal
    BracketLeft BracketRight Backslash IntlBackslash Semicolon Quote Comma Period Slash Space Tab Enter Backspace
    CapsLock ShiftLeft ShiftRight ControlLeft ControlRight AltLeft AltRight ArrowUp ArrowDown ArrowLeft ArrowRight
    Insert Delete Home End PageUp PageDown Numpad0 Numpad1 Numpad2 Numpad3 Numpad4 Numpad5 Numpad6 Numpad7 Numpad8
    Numpad9 NumpadAdd NumpadSubtract NumpadMultiply NumpadDivide NumpadDecimal NumpadEnter F1 F2 F3 F4 F5 F6 F7 F8 F9
    F10 F11 F12
];

impl Trigger {
    /// The key `code`, if it can be bound.
    pub(crate) fn of_key(code: KeyCode) -> Option<Self> {
        KEYS.iter().any(|(known, _)| *known == code).then_some(Self::Key(code))
    }

    /// The name in which it is stored.
    fn id(self) -> Option<&'static str> {
        match self {
            Self::Key(code) => KEYS.iter().find(|(known, _)| *known == code).map(|(_, id)| *id),
            Self::Mouse(button) => MOUSE.iter().find(|(known, ..)| *known == button).map(|(_, id, _)| *id),
        }
    }

    fn of_id(id: &str) -> Option<Self> {
        let key = KEYS.iter().find(|(_, known)| *known == id).map(|(code, _)| Self::Key(*code));
        key.or_else(|| MOUSE.iter().find(|(_, known, _)| *known == id).map(|(button, ..)| Self::Mouse(*button)))
    }

    /// Its name for players.
    pub(crate) fn says(self) -> String {
        if let Self::Mouse(button) = self {
            return MOUSE.iter().find(|(known, ..)| *known == button).map_or("mouse", |(.., says)| *says).to_owned();
        }
        let id = self.id().unwrap_or("?");
        match id {
            "Minus" => return "-".to_owned(),
            "Equal" => return "+".to_owned(),
            "NumpadAdd" => return "Num +".to_owned(),
            "NumpadSubtract" => return "Num -".to_owned(),
            _ => {}
        }
        for (start, end) in [("Shift", "Shift"), ("Control", "Ctrl"), ("Alt", "Alt")] {
            match id.strip_prefix(start) {
                Some("Left") => return format!("left {end}"),
                Some("Right") => return format!("right {end}"),
                _ => {}
            }
        }
        let short = ["Key", "Digit", "Arrow"].iter().find_map(|start| id.strip_prefix(start));
        short.map_or_else(|| id.replace("Numpad", "Num "), str::to_owned)
    }
}

/// The bindings of all actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Vec<String>>", into = "BTreeMap<String, Vec<String>>")]
pub(crate) struct Bindings([[Option<Trigger>; SLOTS]; Action::COUNT]);

impl Default for Bindings {
    fn default() -> Self {
        Self(std::array::from_fn(|index| Action::ALL[index].usual()))
    }
}

impl From<Bindings> for BTreeMap<String, Vec<String>> {
    fn from(bindings: Bindings) -> Self {
        let ids = |action: Action| {
            let triggers = bindings.of(action).into_iter().flatten();
            triggers.filter_map(Trigger::id).map(str::to_owned).collect()
        };
        Action::ALL.iter().map(|action| (action.id().to_owned(), ids(*action))).collect()
    }
}

impl TryFrom<BTreeMap<String, Vec<String>>> for Bindings {
    type Error = String;

    fn try_from(kept: BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        let mut bindings = Self([[None; SLOTS]; Action::COUNT]);
        for (id, triggers) in &kept {
            let action = Action::ALL.iter().find(|action| action.id() == id);
            let action = *action.ok_or_else(|| format!("there is no action {id:?}"))?;
            if triggers.len() > SLOTS {
                return Err(format!("{id:?} has more than {SLOTS} keys"));
            }
            for (slot, trigger) in triggers.iter().enumerate() {
                let trigger = Trigger::of_id(trigger).ok_or_else(|| format!("there is no key {trigger:?}"))?;
                if let Some(other) = bindings.bind(action, slot, trigger) {
                    return Err(format!("a key is bound to {id:?} and {:?}", other.id()));
                }
            }
        }
        // An action that is missing is newer than the stored settings: its keys are the default ones, where they are
        // free.
        for action in Action::ALL.iter().filter(|action| !kept.contains_key(action.id())) {
            for (slot, trigger) in action.usual().into_iter().enumerate() {
                if let Some(trigger) = trigger.filter(|trigger| bindings.user_of(*trigger).is_none()) {
                    bindings.bind(*action, slot, trigger);
                }
            }
        }
        Ok(bindings)
    }
}

impl Bindings {
    /// The keys of `action`.
    pub(crate) fn of(&self, action: Action) -> [Option<Trigger>; SLOTS] {
        self.0[action as usize]
    }

    /// The action of `trigger`.
    pub(crate) fn user_of(&self, trigger: Trigger) -> Option<Action> {
        Action::ALL.iter().copied().find(|action| self.of(*action).contains(&Some(trigger)))
    }

    /// Binds `trigger` to `action`, in place of the key in `slot`, and removes it from its previous action. Returns
    /// that one, if it was another action.
    pub(crate) fn bind(&mut self, action: Action, slot: usize, trigger: Trigger) -> Option<Action> {
        let before = self.user_of(trigger);
        for known in self.0.iter_mut().flatten().filter(|known| **known == Some(trigger)) {
            *known = None;
        }
        self.0[action as usize][slot.min(SLOTS - 1)] = Some(trigger);
        before.filter(|before| *before != action)
    }

    /// Empties `slot` of `action`.
    pub(crate) fn clear(&mut self, action: Action, slot: usize) {
        self.0[action as usize][slot.min(SLOTS - 1)] = None;
    }

    /// The keys of `action` for players.
    pub(crate) fn says(&self, action: Action) -> String {
        let triggers: Vec<_> = self.of(action).into_iter().flatten().map(Trigger::says).collect();
        if triggers.is_empty() { "no key".to_owned() } else { triggers.join(" / ") }
    }

    /// The first of them, for a prompt.
    pub(crate) fn first(&self, action: Action) -> String {
        self.of(action).into_iter().flatten().next().map_or_else(|| "no key".to_owned(), Trigger::says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_usual_keys_do_one_thing_each_and_come_back_from_text() {
        let usual = Bindings::default();
        let all: Vec<_> = usual.0.iter().flatten().flatten().filter_map(|trigger| trigger.id()).collect();
        assert_eq!(all.len(), usual.0.iter().flatten().flatten().count(), "each has a name");
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        let text = serde_json::to_string(&usual).unwrap();
        assert_eq!(serde_json::from_str::<Bindings>(&text).unwrap(), usual);
    }

    #[test]
    fn a_key_is_taken_away_from_what_it_did_before() {
        let mut bindings = Bindings::default();
        let space = Trigger::Key(KeyCode::Space);
        assert_eq!(bindings.bind(Action::Brake, 1, space), Some(Action::Fire));
        assert_eq!(bindings.of(Action::Fire), [None, None]);
        assert_eq!(bindings.user_of(space), Some(Action::Brake));
        assert_eq!(bindings.bind(Action::Brake, 0, space), None, "its own place is no conflict");
        assert_eq!(bindings.of(Action::Brake), [Some(space), None]);
        assert_eq!((bindings.says(Action::Fire), bindings.says(Action::Brake)), ("no key".into(), "Space".into()));
    }

    #[test]
    fn an_action_without_keys_stays_so_and_one_that_is_not_told_of_gets_what_is_free() {
        let kept = r#"{"fire": [], "brake": ["KeyG", "MouseLeft"]}"#;
        let bindings: Bindings = serde_json::from_str(kept).unwrap();
        assert_eq!(bindings.of(Action::Fire), [None, None]);
        assert_eq!(bindings.of(Action::Grid), [None, None], "G brakes");
        assert_eq!(bindings.of(Action::Ahead), Action::Ahead.usual());
        for wrong in [r#"{"dance": []}"#, r#"{"fire": ["KeyG"], "grid": ["KeyG"]}"#, r#"{"fire": ["G"]}"#] {
            assert!(serde_json::from_str::<Bindings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_have_the_names_that_players_know() {
        let says = |code| Trigger::Key(code).says();
        assert_eq!(
            [KeyCode::KeyW, KeyCode::ArrowUp, KeyCode::Digit4, KeyCode::ShiftLeft, KeyCode::Numpad5].map(says),
            ["W", "Up", "4", "left Shift", "Num 5"]
        );
        assert_eq!(Trigger::Mouse(MouseButton::Right).says(), "right mouse");
        assert_eq!(Trigger::of_key(KeyCode::Escape), None);
    }
}
