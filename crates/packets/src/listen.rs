//! What answers in every pod: TCP and UDP on each port that is tried, one thread for all of them. An answer is the
//! nonce that came in and the address and port that heard it, so that an echo proves who was reached.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use rustix::event::epoll;

use crate::Error;

/// What a probe sends.
pub(crate) type Nonce = [u8; 8];
/// What comes back: nonce, address, port.
pub(crate) type Echo = [u8; 14];

/// Events that one wait takes; more wait for the next.
const EVENTS: usize = 64;
/// The number that stands for "stop" among the sources of events.
const STOP: u64 = 0;

/// The right answer to `nonce` of who listens at that address and port.
pub(crate) fn echo(nonce: Nonce, address: Ipv4Addr, port: u16) -> Echo {
    let mut echo = Echo::default();
    let answer = nonce.into_iter().chain(address.octets()).chain(port.to_be_bytes());
    for (byte, value) in echo.iter_mut().zip(answer) {
        *byte = value;
    }
    echo
}

/// Makes the sockets of one address and port in the namespace of this thread.
pub(crate) fn bind(at: SocketAddrV4) -> Result<[Source; 2], Error> {
    let tcp = TcpListener::bind(at).map_err(Error::system("listen in a pod (TCP)"))?;
    tcp.set_nonblocking(true).map_err(Error::system("make a socket non-blocking"))?;
    let udp = UdpSocket::bind(at).map_err(Error::system("listen in a pod (UDP)"))?;
    udp.set_nonblocking(true).map_err(Error::system("make a socket non-blocking"))?;
    Ok([Source::Tcp(at, tcp), Source::Udp(at, udp)])
}

/// A socket that something may come in on.
pub(crate) enum Source {
    Tcp(SocketAddrV4, TcpListener),
    Udp(SocketAddrV4, UdpSocket),
    /// A connection to the address; it gives one answer.
    Stream(SocketAddrV4, TcpStream),
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(_, socket) => socket.as_fd(),
            Self::Udp(_, socket) => socket.as_fd(),
            Self::Stream(_, socket) => socket.as_fd(),
        }
    }
}

/// All listeners, answering until this is dropped.
pub(crate) struct Answering {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    pub(crate) fn start(sources: Vec<Source>) -> Result<Self, Error> {
        let (stop, stopped) = UnixStream::pair().map_err(Error::system("make a socket pair"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::system("make an epoll"))?;
        epoll::add(&epoll, &stopped, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)
            .map_err(Error::system("watch a socket"))?;
        let mut server = Server { epoll, sources: BTreeMap::new(), next: STOP };
        for source in sources {
            server.add(source).map_err(Error::system("watch a socket"))?;
        }
        let thread = thread::spawn(move || {
            server.run();
            drop(stopped);
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it has panicked, the probes have already seen that nobody answers.
            drop(thread.join());
        }
    }
}

struct Server {
    epoll: OwnedFd,
    sources: BTreeMap<u64, Source>,
    next: u64,
}

impl Server {
    fn add(&mut self, source: Source) -> rustix::io::Result<()> {
        self.next = self.next.saturating_add(1);
        epoll::add(&self.epoll, &source, epoll::EventData::new_u64(self.next), epoll::EventFlags::IN)?;
        self.sources.insert(self.next, source);
        Ok(())
    }

    /// Answers until the other end of the stop pair is closed. A socket that fails is closed: its prober sees it.
    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            for event in &events {
                let number = event.data.u64();
                if number == STOP {
                    return;
                }
                self.serve(number);
            }
        }
    }

    fn serve(&mut self, number: u64) {
        match self.sources.get_mut(&number) {
            Some(Source::Tcp(at, listener)) => {
                let at = *at;
                let Ok((stream, _)) = listener.accept() else { return };
                // One that cannot be watched is closed.
                if stream.set_nonblocking(true).is_ok() {
                    let _ = self.add(Source::Stream(at, stream));
                }
            }
            Some(Source::Udp(at, socket)) => {
                let mut nonce = Nonce::default();
                if let Ok((length, peer)) = socket.recv_from(&mut nonce)
                    && length == nonce.len()
                {
                    // What gets lost is asked for again.
                    drop(socket.send_to(&echo(nonce, *at.ip(), at.port()), peer));
                }
            }
            Some(Source::Stream(at, stream)) => {
                let mut nonce = Nonce::default();
                // A nonce comes in one segment. The prober closes first.
                if stream.read(&mut nonce).is_ok_and(|length| length == nonce.len()) {
                    drop(stream.write_all(&echo(nonce, *at.ip(), at.port())));
                } else {
                    self.sources.remove(&number);
                }
            }
            None => {}
        }
    }
}
