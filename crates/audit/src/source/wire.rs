//! Protobuf's wire format, read in place: fields one after another, nothing copied. Malformed bytes end the reading
//! with the place where they stand and never with a panic.

/// Where bytes stopped being protobuf, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Bytes that were left when it showed.
    pub(crate) left: usize,
    pub(crate) why: &'static str,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message, in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field and its number; `None` at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let (bytes, rest) =
                    self.0.split_at_checked(length).ok_or(self.bad("a field is longer than its message"))?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups are older than OTLP and never part of it.
            _ => return Err(self.bad("no wire type of protobuf 3")),
        };
        Ok(Some((tag >> 3, value)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        // Nearly all tags and lengths have one byte.
        if let Some((first, rest)) = self.0.split_first()
            && *first < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(*first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            // The tenth byte holds the one bit that is left; what is beyond is cut, as protobuf says.
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.0 = self.0.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(self.bad("a number does not end"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(self.bad("a number is cut off"))?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) const fn bad(&self, why: &'static str) -> Malformed {
        Malformed { left: self.0.len(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_read_to_their_last_bit() {
        let mut bytes = vec![8];
        bytes.extend([0xff; 9]);
        bytes.push(1);
        assert_eq!(Fields(&bytes).next(), Ok(Some((1, Wire::Varint(u64::MAX)))));
        assert_eq!(Fields(&[8, 0x96, 1]).next(), Ok(Some((1, Wire::Varint(150)))));
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_an_error() {
        let cut: [&[u8]; 5] = [&[8], &[8, 0x80], &[9, 1, 2], &[10, 5, 1], &[0x0b]];
        for bytes in cut {
            assert!(Fields(bytes).next().is_err(), "{bytes:?}");
        }
        assert!(Fields(&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).next().is_err());
    }
}
