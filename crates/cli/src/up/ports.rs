//! Which address each listener gets, and whether it is free.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::bail;

/// All listeners of the mesh, each a fixed distance from the first port, so that addresses survive a restart.
const LISTENERS: [(&str, u16); 29] = [
    ("showcase-edge public", 0),
    ("commerce-edge public", 1),
    ("notify-ingress public", 2),
    ("bank", 3),
    ("bank control", 4),
    ("showcase mesh", 10),
    ("catalog mesh", 11),
    ("catalog feed", 12),
    ("account mesh", 13),
    ("order mesh", 14),
    ("payment mesh", 15),
    ("merchant mesh", 16),
    ("psp-connector mesh", 17),
    ("showcase-edge health", 20),
    ("commerce-edge health", 21),
    ("notify-ingress health", 22),
    ("showcase health", 23),
    ("catalog health", 24),
    ("account health", 25),
    ("order health", 26),
    ("payment health", 27),
    ("merchant health", 28),
    ("psp-connector health", 29),
    ("jaeger ui", 40),
    ("jaeger query", 41),
    ("jaeger otlp", 42),
    ("jaeger otlp http", 43),
    ("jaeger health", 44),
    ("witness", 45),
];

/// The listeners of the mesh and the bank, not those of who takes their spans.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    LISTENERS.into_iter().map(|(name, _)| name).filter(|name| !name.starts_with("jaeger") && *name != "witness")
}

/// The block of ports that a mesh uses, on loopback only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    base: u16,
}

impl Ports {
    /// A block of ports, all of them free.
    ///
    /// # Errors
    /// Names the listener and the port that is taken.
    pub(crate) fn claim(base: u16, with_jaeger: bool, with_witness: bool) -> anyhow::Result<Self> {
        let ports = Self { base };
        for (name, offset) in LISTENERS {
            if name.starts_with("jaeger") && !with_jaeger || name == "witness" && !with_witness {
                continue;
            }
            let address = ports.at(offset);
            if let Err(error) = TcpListener::bind(address) {
                bail!(
                    "port {} for {name} cannot be used ({error}): stop what listens there, or choose another block \
                     of ports with --port-base",
                    address.port()
                );
            }
        }
        Ok(ports)
    }

    /// The address of a listener named in the table above.
    pub(crate) fn address(self, name: &str) -> anyhow::Result<SocketAddr> {
        match LISTENERS.iter().find(|(known, _)| *known == name) {
            Some((_, offset)) => Ok(self.at(*offset)),
            None => bail!("no listener is called {name}"),
        }
    }

    fn at(self, offset: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.base.saturating_add(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_and_a_free_block_is_not() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let base = free.min(u16::MAX - 45);
        let holder = TcpListener::bind(("127.0.0.1", base + 1)).unwrap();
        let refusal = Ports::claim(base, false, false).unwrap_err().to_string();
        assert!(refusal.contains("commerce-edge public"), "{refusal}");
        assert!(refusal.contains(&(base + 1).to_string()), "{refusal}");
        drop(holder);
        Ports::claim(base, false, false).unwrap();
    }

    #[test]
    fn no_two_listeners_share_a_port() {
        let mut offsets: Vec<u16> = LISTENERS.iter().map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), LISTENERS.len());
    }
}
