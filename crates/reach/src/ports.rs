//! Sets of ports of all transports, exact and canonical: equal sets are equal values, whichever rules made them, so
//! two analyses can be compared without a common numbering.

use std::fmt;

use sekat_policy::intent::Protocol;

/// The lowest port that a rule can name.
pub const FIRST: u16 = 1;
/// One transport after the other on one line, in the order in which they are printed.
const PRINTED: [Protocol; 3] = [Protocol::Sctp, Protocol::Tcp, Protocol::Udp];
/// The length of a transport's part of the line.
const SPAN: u32 = 1 << 16;

/// A set of pairs of transport and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortSet {
    /// Inclusive, sorted, disjoint, and never adjacent within a transport. Port 0 is in no range, so ranges of two
    /// transports never touch.
    ranges: Vec<(u32, u32)>,
}

const fn offset(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Sctp => 0,
        Protocol::Tcp => SPAN,
        Protocol::Udp => 2 * SPAN,
    }
}

impl PortSet {
    /// No port.
    #[must_use]
    pub const fn none() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Every port of every transport.
    #[must_use]
    pub fn all() -> Self {
        Self { ranges: PRINTED.map(|protocol| line(protocol, FIRST, u16::MAX)).to_vec() }
    }

    /// Every port of a transport.
    #[must_use]
    pub fn of(protocol: Protocol) -> Self {
        Self::range(protocol, FIRST, u16::MAX)
    }

    /// One port.
    #[must_use]
    pub fn one(protocol: Protocol, port: u16) -> Self {
        Self::range(protocol, port, port)
    }

    /// The ports from `first` to `last`, both included; none if `last` is below `first`.
    #[must_use]
    pub fn range(protocol: Protocol, first: u16, last: u16) -> Self {
        let first = first.max(FIRST);
        Self { ranges: if first <= last { vec![line(protocol, first, last)] } else { Vec::new() } }
    }

    /// Whether there is no port in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether every port is in it.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.ranges.len() == PRINTED.len() && self.ranges.iter().all(|(first, last)| last - first == SPAN - 2)
    }

    /// Whether the port is in it.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        let at = offset(protocol) + u32::from(port);
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&at))
    }

    /// Whether all of it is in `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let inside = |&(first, last): &(u32, u32)| other.ranges.iter().any(|(from, to)| *from <= first && last <= *to);
        self.ranges.iter().all(inside)
    }

    /// What is in one of them or in both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() || self == other {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        let mut all: Vec<(u32, u32)> = self.ranges.iter().chain(&other.ranges).copied().collect();
        all.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some(end) if first <= end.1 + 1 => end.1 = end.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        let mut ranges = Vec::new();
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some(&&(a, b)), Some(&&(c, d))) = (left.peek(), right.peek()) {
            let (first, last) = (a.max(c), b.min(d));
            if first <= last {
                ranges.push((first, last));
            }
            if b < d {
                left.next()
            } else {
                right.next()
            };
        }
        Self { ranges }
    }

    /// What is in this one and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        for &(start, last) in &self.ranges {
            let mut first = start;
            for &(from, to) in other.ranges.iter().filter(|(from, to)| *from <= last && *to >= start) {
                if from > first {
                    ranges.push((first, from - 1));
                }
                first = to + 1;
            }
            if first <= last {
                ranges.push((first, last));
            }
        }
        Self { ranges }
    }

    /// Its ranges: transport, first and last port.
    pub fn ranges(&self) -> impl Iterator<Item = (Protocol, u16, u16)> {
        self.ranges.iter().filter_map(|(first, last)| {
            let protocol = PRINTED.into_iter().find(|protocol| offset(*protocol) == first / SPAN * SPAN)?;
            Some((protocol, u16::try_from(first % SPAN).ok()?, u16::try_from(last % SPAN).ok()?))
        })
    }
}

fn line(protocol: Protocol, first: u16, last: u16) -> (u32, u32) {
    (offset(protocol) + u32::from(first), offset(protocol) + u32::from(last))
}

/// `All Connections`, `No Connections`, or the transports with their ports: `TCP 80,443,UDP 53`.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("All Connections");
        }
        if self.is_empty() {
            return f.write_str("No Connections");
        }
        let mut before = None;
        for (protocol, first, last) in self.ranges() {
            if before.is_some() {
                f.write_str(",")?;
            }
            if before != Some(protocol) {
                write!(f, "{protocol} ")?;
            }
            before = Some(protocol);
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

/// What is open between two peers, as far as it can be known.
///
/// INVARIANT: `certain` is within `possible`. What is in neither is denied; what is only possible is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn {
    /// Allowed, whatever the manifests leave open.
    pub certain: PortSet,
    /// Not denied for certain.
    pub possible: PortSet,
}

impl Conn {
    /// Everything is allowed for certain.
    #[must_use]
    pub fn all() -> Self {
        Self { certain: PortSet::all(), possible: PortSet::all() }
    }

    /// Nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self { certain: PortSet::none(), possible: PortSet::all() }
    }

    /// What both ends let through.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            certain: self.certain.intersection(&other.certain),
            possible: self.possible.intersection(&other.possible),
        }
    }

    /// The same, for some ports only.
    #[must_use]
    pub fn only(&self, ports: &PortSet) -> Self {
        Self { certain: self.certain.intersection(ports), possible: self.possible.intersection(ports) }
    }

    /// What can neither be claimed nor ruled out.
    #[must_use]
    pub fn unsure(&self) -> PortSet {
        self.possible.without(&self.certain)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_print_as_people_compare_them() {
        let set = PortSet::one(Protocol::Udp, 53)
            .union(&PortSet::one(Protocol::Tcp, 443))
            .union(&PortSet::one(Protocol::Tcp, 80))
            .union(&PortSet::range(Protocol::Tcp, 8000, 8080));
        assert_eq!(set.to_string(), "TCP 80,443,8000-8080,UDP 53");
        assert_eq!(PortSet::all().to_string(), "All Connections");
        assert_eq!(PortSet::none().to_string(), "No Connections");
        assert_eq!(PortSet::of(Protocol::Sctp).to_string(), "SCTP 1-65535");
        let all_but = PortSet::all().without(&PortSet::one(Protocol::Tcp, 80));
        assert_eq!(all_but.to_string(), "SCTP 1-65535,TCP 1-79,81-65535,UDP 1-65535");
    }

    #[test]
    fn the_last_port_of_one_transport_does_not_touch_the_first_of_the_next() {
        let ends = PortSet::one(Protocol::Tcp, u16::MAX).union(&PortSet::one(Protocol::Udp, 1));
        assert_eq!(ends.to_string(), "TCP 65535,UDP 1");
        assert_eq!(PortSet::range(Protocol::Tcp, 0, 0), PortSet::none());
        assert_eq!(PortSet::range(Protocol::Tcp, 9, 8), PortSet::none());
    }

    fn sets() -> impl Strategy<Value = PortSet> {
        let range = (0_usize..3, 1_u16..12, 0_u16..4);
        proptest::collection::vec(range, 0..6).prop_map(|ranges| {
            ranges.into_iter().fold(PortSet::none(), |set, (protocol, first, more)| {
                set.union(&PortSet::range(Protocol::ALL[protocol], first, first + more))
            })
        })
    }

    proptest! {
        #[test]
        fn operations_agree_with_membership(a in sets(), b in sets()) {
            let (union, both, less) = (a.union(&b), a.intersection(&b), a.without(&b));
            for protocol in Protocol::ALL {
                for port in 1..20 {
                    let (x, y) = (a.contains(protocol, port), b.contains(protocol, port));
                    prop_assert_eq!(union.contains(protocol, port), x || y);
                    prop_assert_eq!(both.contains(protocol, port), x && y);
                    prop_assert_eq!(less.contains(protocol, port), x && !y);
                }
            }
            prop_assert_eq!(a.is_within(&b), less.is_empty());
            prop_assert_eq!(less.union(&both), a);
        }
    }
}
