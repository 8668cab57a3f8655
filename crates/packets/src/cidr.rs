//! Blocks of addresses, as `ipBlock` writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that share the first `prefix` bits with `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The block; bits behind the prefix are cleared. `None` if the prefix is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= width(address)).then(|| Self { address: masked(address, prefix), prefix })
    }

    /// Whether the address is in the block. An address of the other family never is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// Whether all of `other` is in this block, and this block is larger.
    #[must_use]
    pub fn strictly_covers(&self, other: &Self) -> bool {
        self.prefix < other.prefix && self.contains(other.address)
    }

    /// Its first address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.address
    }

    /// Its last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let rest = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() | rest).into()
            }
            IpAddr::V6(v6) => {
                let rest = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() | rest).into()
            }
        }
    }

    /// All of IPv4.
    #[must_use]
    pub const fn whole_v4() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 }
    }

    /// The `n`th address of an IPv4 block, counted from 0.
    #[must_use]
    pub fn nth(&self, n: u32) -> Option<Ipv4Addr> {
        let IpAddr::V4(first) = self.address else { return None };
        let address = Ipv4Addr::from_bits(first.to_bits().checked_add(n)?);
        self.contains(address.into()).then_some(address)
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl FromStr for Cidr {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').ok_or(())?;
        // `u8` would also take `+8`, which no API server does.
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        Self::new(address.parse().map_err(drop)?, prefix.parse().map_err(drop)?).ok_or(())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_what_shares_its_prefix() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            // Bits behind the prefix do not matter.
            ("10.1.2.3/16", "10.1.9.9", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ];
        for (block, address, inside) in table {
            let block: Cidr = block.parse().unwrap();
            assert_eq!(block.contains(address.parse().unwrap()), inside, "{block} {address}");
        }
    }

    #[test]
    fn a_block_begins_and_ends() {
        let table = [("10.1.2.3/16", "10.1.0.0", "10.1.255.255"), ("192.0.2.7/32", "192.0.2.7", "192.0.2.7")];
        for (block, first, last) in table {
            let block: Cidr = block.parse().unwrap();
            assert_eq!((block.first().to_string(), block.last().to_string()), (first.to_owned(), last.to_owned()));
        }
        assert_eq!(Cidr::whole_v4().last().to_string(), "255.255.255.255");
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", ""] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_block_covers_only_smaller_ones() {
        let cidr = |text: &str| text.parse::<Cidr>().unwrap();
        assert!(cidr("10.0.0.0/8").strictly_covers(&cidr("10.1.0.0/16")));
        assert!(!cidr("10.0.0.0/8").strictly_covers(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/8").strictly_covers(&cidr("11.0.0.0/16")));
    }
}
