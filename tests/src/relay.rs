//! A man in the middle: what a client sends to a server passes through it, record by TLS record (RFC 8446, section
//! 5.1), and is written down, altered or sent twice.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Type, version and length.
const HEADER_BYTES: usize = 5;
/// Records from here on hold (a part of) a call: what HTTP/2 says by itself is shorter.
const CALL_BYTES: usize = 100;

/// What happens to a record on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// Its last byte is another one.
    Alter,
    /// It arrives twice.
    Repeat,
}

/// A listener in front of a server.
#[derive(Debug)]
pub struct Relay {
    address: String,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is done to the next call's record, once.
    next: Mutex<Option<Tampering>>,
    /// All that clients have sent.
    sent: Mutex<Vec<u8>>,
}

impl Relay {
    /// Stands in front of `server`, a `host:port`, until the test's runtime ends.
    ///
    /// # Panics
    /// If there is no port left.
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (state, server) = (Arc::new(State::default()), server.to_owned());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server listens");
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                let state = Arc::clone(&shared);
                // Either side may end the connection; the other then hears of it.
                tokio::spawn(async move { state.forward(from_client, to_server).await });
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            }
        });
        Self { address, state }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Tampers with the next call that passes.
    ///
    /// # Panics
    /// If a connection's task panicked.
    pub fn tamper(&self, how: Tampering) {
        *self.state.next.lock().unwrap() = Some(how);
    }

    /// All that clients have sent so far.
    ///
    /// # Panics
    /// If a connection's task panicked.
    #[must_use]
    pub fn sent(&self) -> Vec<u8> {
        self.state.sent.lock().unwrap().clone()
    }
}

impl State {
    async fn forward(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        loop {
            let mut record = vec![0; HEADER_BYTES];
            from.read_exact(&mut record).await?;
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            record.resize(HEADER_BYTES + length, 0);
            from.read_exact(&mut record[HEADER_BYTES..]).await?;
            self.sent.lock().unwrap().extend_from_slice(&record);
            let tampering = if length < CALL_BYTES { None } else { self.next.lock().unwrap().take() };
            match tampering {
                None => {}
                Some(Tampering::Alter) => *record.last_mut().expect("it has a header") ^= 1,
                Some(Tampering::Repeat) => to.write_all(&record).await?,
            }
            to.write_all(&record).await?;
        }
    }
}
