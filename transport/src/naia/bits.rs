//! Reads bits as naia writes them: the lowest bit of each byte first. Never panics, never allocates.

/// `None`: the packet is too short, or too long.
pub(crate) type Short = Option<()>;

#[derive(Clone, Copy)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
    /// One past the last bit. A field inside a packet need not end with a byte.
    end: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, end: bytes.len() * 8 }
    }

    /// Bits that are left.
    pub(crate) fn left(&self) -> usize {
        self.end - self.position
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        if self.position >= self.end {
            return None;
        }
        let byte = self.bytes.get(self.position / 8)?;
        let bit = byte >> (self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// A number of `width` bits, at most 64.
    pub(crate) fn number(&mut self, width: u32) -> Option<u64> {
        let mut value = 0;
        for shift in 0..width {
            value |= u64::from(self.bit()?) << shift;
        }
        Some(value)
    }

    /// naia's `UnsignedVariableInteger`: groups of `width` bits, each after a bit that is 1 if another group follows.
    /// Honest ones have at most 32 bits here.
    pub(crate) fn variable(&mut self, width: u32) -> Option<u64> {
        let mut value = 0;
        for group in 0..=(32 / width) {
            let more = self.bit()?;
            value |= self.number(width)? << (group * width);
            if !more {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn skip(&mut self, bits: usize) -> Short {
        if bits > self.left() {
            return None;
        }
        self.position += bits;
        Some(())
    }

    /// A length and as many bytes (naia's `String` and `Box<[u8]>`), at most `max`, as a reader of their own.
    pub(crate) fn bytes(&mut self, max: usize) -> Option<Bits<'a>> {
        let length = usize::try_from(self.variable(9)?).ok()?;
        if length > max {
            return None;
        }
        let mut inner = *self;
        self.skip(length * 8)?;
        inner.end = self.position;
        Some(inner)
    }

    /// Whether only the padding of the last byte, or of this field, is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.left() < 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_naia_writes_and_stops_at_the_end() {
        let mut bits = Bits::new(&[0b1010_0101, 0xff]);
        assert_eq!(bits.number(4), Some(5));
        assert_eq!(bits.number(4), Some(10));
        assert_eq!(bits.number(9), None);
        // 3 groups of 3 bits: 7, 7, 1 with the marks 1, 1, 0.
        let mut bits = Bits::new(&[0b1111_1111, 0b0000_0010]);
        assert_eq!(bits.variable(3), Some(0o177));
        assert_eq!(Bits::new(&[0xff; 40]).variable(9), None);
        assert_eq!(Bits::new(&[0xff; 40]).variable(2), None);
    }

    #[test]
    fn a_length_over_what_is_there_is_refused() {
        // Length 3 in 10 bits, then 3 bytes.
        let mut bits = Bits::new(&[0b0000_0110, 0, 0, 0, 0]);
        let mut field = bits.bytes(8).expect("it is all there");
        assert_eq!((field.left(), bits.left()), (24, 6));
        assert!(field.number(24).is_some() && field.bit().is_none());
        let mut bits = Bits::new(&[0b0000_0110, 0, 0]);
        assert!(bits.bytes(8).is_none());
        let mut bits = Bits::new(&[0b0000_0110, 0, 0, 0, 0]);
        assert!(bits.bytes(2).is_none());
    }
}
