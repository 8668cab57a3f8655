//! Ranges of addresses in CIDR notation.

use std::net::IpAddr;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads `address/prefix`; there must be no bits behind the prefix, as Kubernetes asks since 1.33.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let cidr = Self { address: address.parse().ok()?, prefix: prefix.parse().ok().filter(|_| is_number)? };
        (cidr.prefix <= width(cidr.address) && cidr.key(cidr.address) == bits(cidr.address)).then_some(cidr)
    }

    /// Whether `address` lies in it.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        width(self.address) == width(address) && self.key(address) == self.key(self.address)
    }

    /// Whether all of `other` lies in it.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Its lowest address.
    pub(crate) const fn first(self) -> IpAddr {
        self.address
    }

    /// The length of its prefix.
    pub(crate) const fn prefix(self) -> u8 {
        self.prefix
    }

    /// `address` with the bits behind the prefix cleared.
    fn key(self, address: IpAddr) -> u128 {
        let behind = u32::from(width(address).saturating_sub(self.prefix));
        bits(address).checked_shr(behind).and_then(|key| key.checked_shl(behind)).unwrap_or(0)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        let holds =
            |range: &str, address: &str| Cidr::parse(range).expect(range).contains(address.parse().expect("ip"));
        assert!(holds("10.1.0.0/16", "10.1.255.255") && !holds("10.1.0.0/16", "10.2.0.0"));
        assert!(holds("0.0.0.0/0", "255.255.255.255") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("10.0.0.7/32", "10.0.0.7") && !holds("10.0.0.7/32", "10.0.0.6"));
        assert!(holds("2001:db8::/32", "2001:db8:1::") && holds("::/0", "ffff::") && !holds("::/0", "1.2.3.4"));
    }

    #[test]
    fn only_canonical_ranges_are_read() {
        for bad in ["", "10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/+8", "::1/64"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
        let range = |text| Cidr::parse(text).expect(text);
        assert!(range("10.0.0.0/8").covers(range("10.1.0.0/16")) && !range("10.1.0.0/16").covers(range("10.0.0.0/8")));
    }
}
