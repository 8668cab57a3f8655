//! The addresses of a workload, as an operator states them.

use std::net::SocketAddr;

use crate::env::FromEnv;

/// `host:port[,host:port]`, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses(Vec<Address>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Fixed(SocketAddr),
    /// A name that is looked up, again and again.
    Name(String),
}

impl Addresses {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }

    /// All addresses, if none is a name.
    pub(crate) fn fixed(&self) -> Option<Vec<SocketAddr>> {
        let fixed = |address: &Address| match address {
            Address::Fixed(address) => Some(*address),
            Address::Name(_) => None,
        };
        self.0.iter().map(fixed).collect()
    }
}

impl FromEnv for Addresses {
    const EXPECTED: &'static str = "host:port, or several of them with commas between";

    fn from_env(text: &str) -> Option<Self> {
        text.split(',').map(|part| address(part.trim())).collect::<Option<Vec<_>>>().map(Self)
    }

    fn placeholder() -> Self {
        Self(Vec::new())
    }
}

fn address(text: &str) -> Option<Address> {
    if let Ok(fixed) = text.parse() {
        return Some(Address::Fixed(fixed));
    }
    let (host, port) = text.rsplit_once(':')?;
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let host_is_name = host.trim_end_matches('.').split('.').all(label);
    (host_is_name && port.parse::<u16>().is_ok()).then(|| Address::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sockets_and_names() {
        let parsed = Addresses::from_env("127.0.0.1:1, [::1]:2,payment.commerce.svc:8443").unwrap();
        assert_eq!(parsed.iter().count(), 3);
        assert_eq!(parsed.fixed(), None);
        assert_eq!(Addresses::from_env("127.0.0.1:1").unwrap().fixed().unwrap().len(), 1);
        for bad in ["", "payment", "127.0.0.1", "a:1,", "a b:1", "https://a:1", ":1", "a:99999"] {
            assert_eq!(Addresses::from_env(bad), None, "{bad}");
        }
    }
}
