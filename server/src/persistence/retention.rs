//! `--retention`: how long old rows are kept in the database.

use sidereal_protocol::rules::economy::DEAL_KEY_LIFE;
use std::{fmt, str::FromStr, time::Duration};

/// Minimum age: within it, less five minutes for clocks and delays, a client may repeat a deal's request, and its key
/// must still be stored.
pub const MIN_RETENTION: Duration = Duration::from_secs(DEAL_KEY_LIFE.as_secs() + 300);

/// How long deals, and the fences of entities that are gone, are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(Option<Duration>);

impl Default for Retention {
    /// A month of deals, to answer players' questions.
    fn default() -> Self {
        Self(Some(Duration::from_secs(30 * 86_400)))
    }
}

impl Retention {
    /// The age; `None` means forever.
    pub fn age(self) -> Option<Duration> {
        self.0
    }
}

impl FromStr for Retention {
    type Err = String;

    /// `30d`, `12h`, `90m`, `3600s`, or a plain number of days; `0` means forever.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "give days, like 30 or 30d, hours (12h), minutes (90m) or seconds (3600s), or 0 for ever".to_owned();
        let (number, unit_s) = match text.char_indices().next_back() {
            Some((end, 'd')) => (&text[..end], 86_400),
            Some((end, 'h')) => (&text[..end], 3_600),
            Some((end, 'm')) => (&text[..end], 60),
            Some((end, 's')) => (&text[..end], 1),
            _ => (text, 86_400),
        };
        let number: u32 = number.parse().map_err(|_| wrong())?;
        if number == 0 {
            return Ok(Self(None));
        }
        let age = Duration::from_secs(u64::from(number) * unit_s);
        if age < MIN_RETENTION {
            let least = MIN_RETENTION.as_secs() / 60;
            return Err(format!("give {least} minutes or more: a client may ask for a deal again until then"));
        }
        Ok(Self(Some(age)))
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.map_or(0, |age| age.as_secs());
        match [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")]
            .iter()
            .find(|(unit_s, _)| seconds.is_multiple_of(*unit_s))
        {
            Some((unit_s, unit)) if seconds > 0 => write!(f, "{}{unit}", seconds / unit_s),
            _ => f.write_str("0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_read_in_any_unit_and_shown_as_it_was_given() {
        for (text, seconds, shown) in [
            ("30", 30 * 86_400, "30d"),
            ("30d", 30 * 86_400, "30d"),
            ("12h", 12 * 3_600, "12h"),
            ("90m", 5_400, "90m"),
            ("3601s", 3_601, "3601s"),
            ("4294967295d", 4_294_967_295 * 86_400, "4294967295d"),
        ] {
            let retention: Retention = text.parse().expect("an age");
            assert_eq!(
                (retention.age(), retention.to_string()),
                (Some(Duration::from_secs(seconds)), shown.to_owned())
            );
        }
        assert_eq!("0".parse::<Retention>().expect("forever").age(), None);
        assert_eq!(Retention::default().to_string().parse(), Ok(Retention::default()));
    }

    #[test]
    fn an_age_that_is_none_or_too_short_is_refused() {
        for text in ["", "d", "-1", "1.5h", "soon", "30 days", "99999999999d", "30ö"] {
            assert!(text.parse::<Retention>().expect_err("no age").contains("30d"), "{text}");
        }
        for text in ["1s", "5m", "899s"] {
            assert!(text.parse::<Retention>().expect_err("too short").contains("15 minutes"), "{text}");
        }
        assert_eq!("900s".parse::<Retention>().expect("just enough").age(), Some(MIN_RETENTION));
    }
}
