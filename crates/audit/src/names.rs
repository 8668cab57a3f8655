//! Names as small numbers, so that records have one size and comparing them costs nothing.

use std::collections::HashMap;

/// Names that are told apart. A mesh has far fewer; who invents names to fill memory is counted as [`OTHER`].
const NAMES: usize = 1 << 16;
/// Bytes of a name that count: the longest SPIFFE ID.
const NAME_BYTES: usize = 2_048;

/// Names that are found without hashing: those of a busy mesh's edges mostly.
const RECENT: usize = 1_024;

/// A place for a name, by a hash that is fast and that anybody could outwit: who does gets the slower way.
fn recent(text: &str) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (chunks, rest) = text.as_bytes().as_chunks::<8>();
    let step = |hash: u64, bytes: u64| (hash.rotate_left(5) ^ bytes).wrapping_mul(FACTOR);
    let hash = chunks.iter().fold(text.len() as u64, |hash, chunk| step(hash, u64::from_le_bytes(*chunk)));
    let hash = rest.iter().fold(hash, |hash, byte| step(hash, u64::from(*byte)));
    usize::try_from(hash >> 54).unwrap_or_default()
}

/// The number of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) u32);

impl Name {
    /// Nobody said anything.
    pub(crate) const NONE: Self = Self(0);
    /// One of those that are not told apart, and what `_OTHER` means in spans and counters.
    pub(crate) const OTHER: Self = Self(1);
    /// Callers on a public listener, who have no certificate.
    pub(crate) const PUBLIC: Self = Self(2);

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// All names of an audit.
#[derive(Debug)]
pub(crate) struct Names {
    numbers: HashMap<Box<str>, Name>,
    texts: Vec<Box<str>>,
    /// The name that was asked for last, by a hash that costs nothing; it is compared before it counts.
    recent: [Name; RECENT],
    /// Names that found no room.
    pub(crate) refused: u64,
}

impl Names {
    pub(crate) fn new() -> Self {
        let mut names = Self { numbers: HashMap::new(), texts: Vec::new(), recent: [Name::NONE; RECENT], refused: 0 };
        for fixed in ["", crate::dialect::OTHER, "public"] {
            names.add(fixed);
        }
        names
    }

    /// The number of `text`.
    #[inline]
    pub(crate) fn number(&mut self, text: &str) -> Name {
        if text.is_empty() {
            return Name::NONE;
        }
        let slot = recent(text);
        if let Some(known) = self.recent.get(slot)
            && self.text(*known) == text
        {
            return *known;
        }
        let name = self.look_up(text);
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = name;
        }
        name
    }

    fn look_up(&mut self, text: &str) -> Name {
        if let Some(known) = self.numbers.get(text) {
            return *known;
        }
        if self.texts.len() >= NAMES || text.len() > NAME_BYTES {
            self.refused += 1;
            return Name::OTHER;
        }
        self.add(text)
    }

    fn add(&mut self, text: &str) -> Name {
        let name = Name(u32::try_from(self.texts.len()).unwrap_or(Name::OTHER.0));
        self.texts.push(text.into());
        self.numbers.insert(text.into(), name);
        name
    }

    /// The number of `text`, if it has one.
    pub(crate) fn known(&self, text: &str) -> Option<Name> {
        self.numbers.get(text).copied()
    }

    pub(crate) fn text(&self, name: Name) -> &str {
        usize::try_from(name.0).ok().and_then(|index| self.texts.get(index)).map_or("", AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_room_is_limited() {
        let mut names = Names::new();
        let order = names.number("order");
        assert_eq!((names.number("order"), names.text(order)), (order, "order"));
        assert_eq!(
            (names.number(""), names.number("_OTHER"), names.number("public")),
            (Name::NONE, Name::OTHER, Name::PUBLIC)
        );
        for index in 0..NAMES {
            names.number(&index.to_string());
        }
        assert_eq!(names.number("one too many"), Name::OTHER);
        assert_eq!(names.number("order"), order);
        assert!(names.refused > 0);
        assert_eq!(names.number(&"x".repeat(NAME_BYTES + 1)), Name::OTHER);
    }
}
