//! Several lane datagrams in one: what a player gets in a tick is mostly less than one packet, and each packet costs
//! as much to send as a thousand of its bytes.
//!
//! Layout: the kind byte, then for each part its length (16 bits, little endian) and the part, which is a datagram with
//! its own kind byte. A bundle in a bundle is not read.

use crate::{DecodeError, limits::MAX_LANE_BYTES, packets::lane};

/// Bytes before the first part.
const HEADER_BYTES: usize = 1;
/// Bytes before each part.
const LENGTH_BYTES: usize = 2;

/// Joins datagrams, in their order, into as few as hold them.
#[derive(Debug, Default)]
pub struct Bundler {
    finished: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Bundler {
    /// Adds a datagram of at most [`MAX_LANE_BYTES`]. Returns the index of the datagram that it becomes a part of.
    pub fn push(&mut self, part: &[u8]) -> usize {
        if !self.open.is_empty() && self.open.len() + LENGTH_BYTES + part.len() > MAX_LANE_BYTES {
            self.close();
        }
        if HEADER_BYTES + LENGTH_BYTES + part.len() > MAX_LANE_BYTES {
            // It fits only without a bundle around it.
            self.finished.push(part.to_vec());
            return self.finished.len() - 1;
        }
        if self.open.is_empty() {
            self.open.reserve(MAX_LANE_BYTES);
            self.open.push(lane::BUNDLE);
        }
        // A part is shorter than a datagram.
        self.open.extend_from_slice(&(part.len() as u16).to_le_bytes());
        self.open.extend_from_slice(part);
        self.finished.len()
    }

    fn close(&mut self) {
        let bundle = std::mem::take(&mut self.open);
        let first = HEADER_BYTES + LENGTH_BYTES;
        let length = u16::from_le_bytes([bundle[1], bundle[2]]) as usize;
        // A single part needs no bundle.
        self.finished.push(if bundle.len() == first + length { bundle[first..].to_vec() } else { bundle });
    }

    /// The datagrams.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.close();
        }
        self.finished
    }
}

/// The parts of a received datagram: itself, if it is no bundle. Ends after an error.
///
/// ```
/// use sidereal_protocol::packets::bundle::{Bundler, parts};
///
/// let mut bundler = Bundler::default();
/// bundler.push(&[1, 10]);
/// bundler.push(&[2, 20, 21]);
/// let datagrams = bundler.finish();
/// let read: Vec<&[u8]> = parts(&datagrams[0]).collect::<Result<_, _>>()?;
/// assert_eq!(read, [&[1, 10][..], &[2, 20, 21]]);
/// # Ok::<(), sidereal_protocol::DecodeError>(())
/// ```
pub fn parts(datagram: &[u8]) -> Parts<'_> {
    match datagram.split_first() {
        Some((&lane::BUNDLE, rest)) => Parts { rest, is_bundle: true },
        _ => Parts { rest: datagram, is_bundle: false },
    }
}

/// [`parts`].
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    rest: &'a [u8],
    is_bundle: bool,
}

impl<'a> Parts<'a> {
    fn next_part(&mut self) -> Result<&'a [u8], DecodeError> {
        let (length, rest) = self.rest.split_at_checked(LENGTH_BYTES).ok_or(DecodeError::Truncated)?;
        let length = u16::from_le_bytes([length[0], length[1]]) as usize;
        let (part, rest) = rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        match part.first() {
            None => Err(DecodeError::Truncated),
            Some(&lane::BUNDLE) => Err(DecodeError::UnknownKind(lane::BUNDLE)),
            Some(_) => Ok(part),
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if !self.is_bundle {
            return Some(Ok(std::mem::take(&mut self.rest)));
        }
        let part = self.next_part();
        if part.is_err() {
            self.rest = &[];
        }
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(all: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<usize>) {
        let mut bundler = Bundler::default();
        let places = all.iter().map(|part| bundler.push(part)).collect();
        (bundler.finish(), places)
    }

    proptest! {
        /// Every part comes out again, in order, in the datagram that `push` named, and no datagram is too long.
        #[test]
        fn what_is_joined_comes_apart_again(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..MAX_LANE_BYTES), 0..12)
        ) {
            let all: Vec<Vec<u8>> = all.into_iter().map(|tail| [&[lane::SECTOR_UPDATE], &tail[..]].concat()).collect();
            let (datagrams, places) = joined(&all);
            let mut read = Vec::new();
            for (index, datagram) in datagrams.iter().enumerate() {
                prop_assert!(datagram.len() <= MAX_LANE_BYTES);
                for part in parts(datagram) {
                    prop_assert_eq!(places[read.len()], index);
                    read.push(part?.to_vec());
                }
            }
            prop_assert_eq!(read, all);
        }

        /// Hostile bytes give parts of them, or an error, and an end.
        #[test]
        fn any_bytes_come_to_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(kind) = bytes.first_mut() {
                *kind = lane::BUNDLE;
            }
            let total: usize = parts(&bytes).filter_map(Result::ok).map(<[u8]>::len).sum();
            prop_assert!(total <= bytes.len());
        }
    }

    #[test]
    fn small_parts_share_a_datagram_and_a_single_one_has_no_wrapping() {
        let (datagrams, _) = joined(&vec![vec![lane::SECTOR_UPDATE; 100]; 11]);
        assert_eq!(datagrams.len(), 1);
        let (datagrams, places) = joined(&vec![vec![lane::SECTOR_UPDATE; 700]; 2]);
        assert_eq!((datagrams[0].len(), datagrams[1].len(), places), (700, 700, vec![0, 1]));
    }

    #[test]
    fn a_bundle_in_a_bundle_and_an_empty_part_are_refused() {
        let nested = [lane::BUNDLE, 3, 0, lane::BUNDLE, 0, 0];
        assert_eq!(parts(&nested).last(), Some(Err(DecodeError::UnknownKind(lane::BUNDLE))));
        assert_eq!(parts(&[lane::BUNDLE, 0, 0]).last(), Some(Err(DecodeError::Truncated)));
        assert_eq!(parts(&[lane::BUNDLE, 9]).last(), Some(Err(DecodeError::Truncated)));
    }
}
