//! Ranges of IP addresses of both families, and the atoms into which the blocks of all policies cut them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An inclusive range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// Whether it is IPv6. First, so that ranges of a family stand together.
    v6: bool,
    first: u128,
    last: u128,
}

impl Range {
    /// All IPv4 addresses.
    pub const V4: Self = Self { v6: false, first: 0, last: u32::MAX as u128 };
    /// All IPv6 addresses.
    pub const V6: Self = Self { v6: true, first: 0, last: u128::MAX };

    /// One address.
    #[must_use]
    pub fn one(address: IpAddr) -> Self {
        let (v6, bits) = match address {
            IpAddr::V4(v4) => (false, u128::from(u32::from(v4))),
            IpAddr::V6(v6) => (true, u128::from(v6)),
        };
        Self { v6, first: bits, last: bits }
    }

    /// Reads CIDR notation, or one address.
    ///
    /// # Errors
    /// If it is neither: what is wrong, as a half-sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
        let one = Self::one(address);
        let Some(length) = length else { return Ok(one) };
        let bits: u32 = if one.v6 { 128 } else { 32 };
        let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u32 = length
            .parse()
            .ok()
            .filter(|length| plain && *length <= bits)
            .ok_or_else(|| format!("`/{length}` is no prefix length between 0 and {bits}"))?;
        let host = if one.v6 {
            u128::MAX.checked_shr(length).unwrap_or(0)
        } else {
            u128::from(u32::MAX.checked_shr(length).unwrap_or(0))
        };
        Ok(Self { v6: one.v6, first: one.first & !host, last: one.first | host })
    }

    /// Whether they have an address in common.
    #[must_use]
    pub fn touches(self, other: Self) -> bool {
        self.v6 == other.v6 && self.first <= other.last && other.first <= self.last
    }

    /// Whether all of it is in `other`.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.v6 == other.v6 && other.first <= self.first && self.last <= other.last
    }

    /// Whether it is of IPv6.
    #[must_use]
    pub const fn is_v6(self) -> bool {
        self.v6
    }
}

/// `10.0.0.0-10.255.255.255`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = [self.first, self.last];
        if self.v6 {
            let [first, last] = ends.map(Ipv6Addr::from);
            return write!(f, "{first}-{last}");
        }
        // INVARIANT: bounds of an IPv4 range are IPv4 addresses.
        let [first, last] = ends.map(|end| Ipv4Addr::from(u32::try_from(end).unwrap_or(u32::MAX)));
        write!(f, "{first}-{last}")
    }
}

/// A block of addresses with parts cut out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    /// What it covers.
    pub cidr: Range,
    /// What of that it does not cover.
    pub except: Vec<Range>,
}

impl Block {
    /// What is left of `range` inside of the block.
    fn covered(&self, range: Range) -> Vec<Range> {
        if !range.touches(self.cidr) {
            return Vec::new();
        }
        let inside =
            Range { v6: range.v6, first: range.first.max(self.cidr.first), last: range.last.min(self.cidr.last) };
        self.except.iter().fold(vec![inside], |left, cut| left.into_iter().flat_map(|part| minus(part, *cut)).collect())
    }

    /// Whether some address of `range` is in the block.
    #[must_use]
    pub fn touches(&self, range: Range) -> bool {
        !self.covered(range).is_empty()
    }

    /// Whether every address of `range` is in the block.
    #[must_use]
    pub fn covers(&self, range: Range) -> bool {
        range.is_within(self.cidr) && !self.except.iter().any(|cut| cut.touches(range))
    }
}

fn minus(range: Range, cut: Range) -> Vec<Range> {
    if !range.touches(cut) {
        return vec![range];
    }
    let mut left = Vec::with_capacity(2);
    if cut.first > range.first {
        left.push(Range { last: cut.first - 1, ..range });
    }
    if cut.last < range.last {
        left.push(Range { first: cut.last + 1, ..range });
    }
    left
}

/// Where pods live unless somebody says otherwise: the private ranges of RFC 1918, RFC 6598 and RFC 4193.
#[must_use]
pub fn private() -> Vec<Range> {
    let v4 = |a, b, c, d, length: u32| Range {
        v6: false,
        first: u128::from(u32::from(Ipv4Addr::new(a, b, c, d))),
        last: u128::from(u32::from(Ipv4Addr::new(a, b, c, d)) | (u32::MAX >> length)),
    };
    let unique_local = Range { v6: true, first: 0xfc << 120, last: (0xfe << 120) - 1 };
    vec![v4(10, 0, 0, 0, 8), v4(100, 64, 0, 0, 10), v4(172, 16, 0, 0, 12), v4(192, 168, 0, 0, 16), unique_local]
}

/// Both address spaces, cut wherever a block begins or ends: a block covers each atom wholly or not at all.
#[must_use]
pub fn atoms<'a>(blocks: impl Iterator<Item = &'a Block>) -> Vec<Range> {
    let mut starts = BTreeSet::from([(false, 0), (true, 0)]);
    for range in blocks.flat_map(|block| block.except.iter().chain([&block.cidr])) {
        starts.insert((range.v6, range.first));
        let whole = if range.v6 { Range::V6 } else { Range::V4 };
        if range.last < whole.last {
            starts.insert((range.v6, range.last + 1));
        }
    }
    let mut atoms = Vec::with_capacity(starts.len());
    let mut following = starts.iter().skip(1);
    for &(v6, first) in &starts {
        let whole = if v6 { Range::V6 } else { Range::V4 };
        let last = following.next().filter(|(next, _)| *next == v6).map_or(whole.last, |(_, next)| next - 1);
        atoms.push(Range { v6, first, last });
    }
    atoms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::parse(text).expect(text)
    }

    #[test]
    fn cidr_notation_is_read_strictly() {
        for (text, printed) in [
            ("0.0.0.0/0", "0.0.0.0-255.255.255.255"),
            ("10.1.2.3/8", "10.0.0.0-10.255.255.255"),
            ("10.1.2.3", "10.1.2.3-10.1.2.3"),
            ("10.1.2.3/32", "10.1.2.3-10.1.2.3"),
            ("fd00::/8", "fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::1/128", "::1-::1"),
        ] {
            assert_eq!(range(text).to_string(), printed);
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "a/8", "10.0.0.0/8/8"] {
            assert!(Range::parse(text).is_err(), "{text}");
        }
        assert_eq!(range("::/0"), Range::V6);
        assert_eq!(private()[4], range("fc00::/7"));
    }

    #[test]
    fn exceptions_are_cut_out() {
        let block = Block { cidr: range("10.0.0.0/8"), except: vec![range("10.1.0.0/16"), range("10.2.0.0/16")] };
        assert!(block.covers(range("10.3.0.0/16")) && block.touches(range("10.0.0.0/8")));
        assert!(!block.covers(range("10.0.0.0/8")) && !block.touches(range("10.1.5.0/24")));
        assert!(!block.touches(range("10.1.0.0/16")) && block.touches(range("10.1.0.0/15")));
        let hole = Block { cidr: range("10.0.0.0/8"), except: vec![range("0.0.0.0/0")] };
        assert!(!hole.touches(range("10.0.0.0/8")) && !hole.covers(range("10.0.0.1")));
        assert!(!block.touches(Range::V6));
    }

    #[test]
    fn atoms_tile_both_spaces() {
        let block = Block { cidr: range("10.0.0.0/8"), except: vec![range("10.1.0.0/16")] };
        let edge = Block { cidr: range("255.0.0.0/8"), except: Vec::new() };
        let printed: Vec<String> = atoms([&block, &edge].into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(
            printed,
            [
                "0.0.0.0-9.255.255.255",
                "10.0.0.0-10.0.255.255",
                "10.1.0.0-10.1.255.255",
                "10.2.0.0-10.255.255.255",
                "11.0.0.0-254.255.255.255",
                "255.0.0.0-255.255.255.255",
                "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
            ]
        );
        assert_eq!(atoms([].into_iter()), [Range::V4, Range::V6]);
    }
}
