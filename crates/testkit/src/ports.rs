//! Addresses that are known before anybody serves there and stay the same over restarts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpSocket;

/// The addresses of a world's workloads. Each port is held by a socket that is bound and does not listen: nobody else
/// is given the port, whoever connects is refused, and the workload can still listen there.
#[derive(Default)]
pub(crate) struct Ports(Mutex<BTreeMap<String, (SocketAddr, TcpSocket)>>);

impl Ports {
    /// The address of one listener of a workload.
    pub(crate) fn address(&self, workload: &str, listener: &str) -> SocketAddr {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (address, _) = held.entry(format!("{workload} {listener}")).or_insert_with(|| {
            let socket = TcpSocket::new_v4().unwrap();
            // Without it the kernel would keep the workload itself away.
            socket.set_reuseaddr(true).unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            (socket.local_addr().unwrap(), socket)
        });
        *address
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn an_address_is_closed_until_somebody_listens_and_stays_the_same() {
        let ports = Ports::default();
        let address = ports.address("catalog", "mesh");
        assert_ne!(address, ports.address("catalog", "feed"));
        for _ in 0..2 {
            assert!(TcpStream::connect(address).await.is_err());
            let listener = TcpListener::bind(ports.address("catalog", "mesh")).await.unwrap();
            TcpStream::connect(address).await.unwrap();
            drop(listener);
        }
    }
}
