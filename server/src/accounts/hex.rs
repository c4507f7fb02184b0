//! Bytes as hexadecimal digits: tokens in the API, ids and records in a dump.

use std::fmt::Write;

/// Encodes each byte as two digits.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes whatever is written");
        text
    })
}

/// The inverse of [`encode`], for upper and lower case. `None` unless the text is two digits for each byte.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(pair[0])? * 16 + digit(*pair.get(1)?)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_what_is_not_digits_is_seen() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
        assert_eq!(decode("0aFF"), Some(vec![10, 255]));
        assert_eq!(decode(""), Some(vec![]));
        for wrong in ["0", "0aF", "+f", "0x", " 0", "é0", "zz"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
