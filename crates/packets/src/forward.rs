//! From this machine's loopback into a world: a relay in user space, so that the machine's own routes stay as they
//! are.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::Error;
use crate::netns::Netns;

/// How long a connection into the world may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// An open port on the loopback; it is closed when this is dropped. Connections that are open then last on.
pub struct Forward {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Forward {
    /// Where to connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn open(from: Arc<Netns>, to: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::system("open a port"))?;
        let address = listener.local_addr().map_err(Error::system("open a port"))?;
        let closed = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&closed);
        thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(client) = client else { continue };
                let from = Arc::clone(&from);
                // A connection that cannot be made on is closed, which its client sees.
                thread::spawn(move || drop(relay(client, &from, to)));
            }
        });
        Ok(Self { address, closed })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // Wakes the thread that accepts, which then sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

fn relay(client: TcpStream, from: &Netns, to: SocketAddr) -> Result<(), Error> {
    let connect = || TcpStream::connect_timeout(&to, CONNECT_MAX).map_err(Error::system("connect into the world"));
    let server = from.enter(connect)?;
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let copied = io::copy(&mut from, &mut to);
        // What ends on one side ends on the other.
        drop(to.shutdown(Shutdown::Write));
        copied.map_err(Error::system("relay a connection"))
    };
    thread::scope(|scope| {
        let back = scope.spawn(|| copy(&server, &client));
        let there = copy(&client, &server).map(drop);
        drop(back.join());
        there
    })
}
