//! Tries cells: sends, waits for the answer or for a counted drop, and says which it was. No verdict rests on time: a
//! cell for which neither is seen within the limit is inconclusive.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};
use sekat_policy::intent::Protocol;

use crate::counters::{Counters, Key};
use crate::listen::{Echo, Nonce, echo};
use crate::report::{Observed, Tally};
use crate::rules::{ACCEPTED, ARRIVED, NOT_LET_IN, NOT_LET_OUT};
use crate::{Error, sctp};

/// The longest that a cell may take. A kernel sends a lost SYN again after a second.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at the counters while cells are open.
const LOOK: Duration = Duration::from_millis(20);
/// Looks without an answer after which a datagram is sent again.
const RESEND_LOOKS: u32 = 10;
/// Events that one wait takes.
const EVENTS: usize = 256;

/// One cell that is being tried.
pub(crate) struct Probe {
    key: Key,
    socket: OwnedFd,
    nonce: Nonce,
    /// Whether the nonce still has to be sent.
    connecting: bool,
    outcome: Option<Outcome>,
}

/// What ended a probe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Echoed,
    /// An answer that is not the right one, or an error that no policy makes.
    Odd,
    Dropped,
    Arrived,
}

impl Probe {
    /// Sends the first packet, in the namespace of this thread. `n` tells the probes of a source apart.
    pub(crate) fn send(key: Key, n: usize) -> Result<Self, Error> {
        let (source, destination, protocol, port) = key;
        let (kind, transport) = match protocol {
            Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
            Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
            Protocol::Sctp => (SocketType::RAW, ipproto::SCTP),
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, Some(transport))
            .map_err(Error::system("make a socket"))?;
        rustix::net::bind(&socket, &SocketAddrV4::new(source, 0)).map_err(Error::system("bind a socket"))?;
        match rustix::net::connect(&socket, &SocketAddrV4::new(destination, port)) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(Error::system("send into a pod's network")(error)),
        }
        // A nonce that a listener could guess would prove nothing; the keys of a `RandomState` are random.
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_usize(n);
        let nonce = hasher.finish().to_be_bytes();
        let mut probe = Self { key, socket, nonce, connecting: protocol == Protocol::Tcp, outcome: None };
        if protocol != Protocol::Tcp {
            probe.datagram(n);
        }
        Ok(probe)
    }

    /// Sends what can get lost: again, if it was sent before.
    fn datagram(&mut self, n: usize) {
        let (_, destination, protocol, port) = self.key;
        let sent = match protocol {
            Protocol::Tcp => return,
            Protocol::Udp => rustix::net::send(&self.socket, &self.nonce, SendFlags::empty()),
            Protocol::Sctp => {
                let packet = sctp::init(sctp::source_port(n), port, sctp::tag(destination, port));
                rustix::net::send(&self.socket, &packet, SendFlags::empty())
            }
        };
        match sent {
            // A raw socket hears that nobody speaks SCTP there, which says that the packet arrived, as counters do.
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOPROTOOPT | Errno::CONNREFUSED) => {}
            Err(_) if protocol == Protocol::Sctp => {}
            Err(_) => self.outcome = Some(Outcome::Odd),
        }
    }

    /// Takes what the socket has.
    fn ready(&mut self) {
        // Something still happens to the socket of one that is known to have been dropped.
        if self.outcome.is_some() {
            return;
        }
        if self.connecting {
            match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) if rustix::net::getpeername(&self.socket).is_ok() => {}
                Ok(Ok(())) => return,
                Ok(Err(_)) | Err(_) => {
                    self.outcome = Some(Outcome::Odd);
                    return;
                }
            }
            self.connecting = false;
            if rustix::net::send(&self.socket, &self.nonce, SendFlags::NOSIGNAL).is_err() {
                self.outcome = Some(Outcome::Odd);
            }
            return;
        }
        let mut answer = Echo::default();
        let (_, destination, _, port) = self.key;
        match rustix::net::recv(&self.socket, &mut answer, RecvFlags::empty()) {
            Ok((length, _)) => {
                let right = length == answer.len() && answer == echo(self.nonce, destination, port);
                self.outcome = Some(if right { Outcome::Echoed } else { Outcome::Odd });
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.outcome = Some(Outcome::Odd),
        }
    }

    /// Takes what the counters say.
    fn look(&mut self, counters: &Counters, before: &Counters) {
        let grew = |set| counters.since(before, set, self.key) > 0;
        if grew(NOT_LET_OUT) || grew(NOT_LET_IN) {
            self.outcome = Some(Outcome::Dropped);
        } else if self.key.2 == Protocol::Sctp && grew(ACCEPTED) {
            self.outcome = Some(Outcome::Arrived);
        }
    }
}

/// A cell that was tried, and what ended that.
pub(crate) struct Tried {
    key: Key,
    outcome: Option<Outcome>,
}

impl Tried {
    /// The verdict, with the counters after the last packet.
    pub(crate) fn judge(&self, after: &Counters, before: &Counters) -> (Observed, Tally) {
        let of = |set| after.since(before, set, self.key);
        let tally = Tally {
            accepted: of(ACCEPTED),
            not_let_out: of(NOT_LET_OUT),
            not_let_in: of(NOT_LET_IN),
            arrived: of(ARRIVED),
        };
        let dropped = tally.not_let_out > 0 || tally.not_let_in > 0;
        let observed = match self.outcome {
            Some(Outcome::Echoed) if !dropped => Observed::Reached,
            // Nobody answers SCTP: what counts is what the destination has counted.
            Some(Outcome::Arrived) if !dropped && tally.arrived > 0 => Observed::Reached,
            Some(Outcome::Dropped) if tally.accepted == 0 && tally.arrived == 0 => Observed::Denied,
            _ => Observed::Inconclusive,
        };
        (observed, tally)
    }

    pub(crate) const fn key(&self) -> Key {
        self.key
    }
}

/// Waits until every probe has an outcome, or the limit is over.
pub(crate) fn settle(
    mut probes: Vec<Probe>,
    before: &Counters,
    mut counters: impl FnMut() -> Result<Counters, Error>,
) -> Result<Vec<Tried>, Error> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::system("make an epoll"))?;
    let mut by_number = BTreeMap::new();
    for (number, probe) in (0_u64..).zip(probes.iter_mut()) {
        if probe.key.2 != Protocol::Sctp {
            let flags = if probe.connecting { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            epoll::add(&epoll, probe.socket.as_fd(), epoll::EventData::new_u64(number), flags)
                .map_err(Error::system("watch a socket"))?;
        }
        by_number.insert(number, probe);
    }
    let begun = Instant::now();
    let mut last_look = begun;
    let mut looks = 0_u32;
    let mut events = Vec::with_capacity(EVENTS);
    while by_number.values().any(|probe| probe.outcome.is_none()) && begun.elapsed() < LIMIT {
        events.clear();
        let patience = Timespec::try_from(LOOK).unwrap_or_default();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::system("wait for answers")(error)),
        }
        for event in &events {
            let number = event.data.u64();
            let Some(probe) = by_number.get_mut(&number) else { continue };
            let connecting = probe.connecting;
            probe.ready();
            let data = epoll::EventData::new_u64(number);
            let watched = if probe.outcome.is_some() {
                epoll::delete(&epoll, probe.socket.as_fd())
            } else if connecting && !probe.connecting {
                epoll::modify(&epoll, probe.socket.as_fd(), data, epoll::EventFlags::IN)
            } else {
                Ok(())
            };
            watched.map_err(Error::system("watch a socket"))?;
        }
        if last_look.elapsed() < LOOK {
            continue;
        }
        let now = counters()?;
        last_look = Instant::now();
        looks = looks.saturating_add(1);
        for (number, probe) in by_number.iter_mut().filter(|(_, probe)| probe.outcome.is_none()) {
            probe.look(&now, before);
            if probe.outcome.is_none() && looks.is_multiple_of(RESEND_LOOKS) {
                probe.datagram(usize::try_from(*number).unwrap_or_default());
            }
        }
    }
    Ok(probes.into_iter().map(|Probe { key, outcome, .. }| Tried { key, outcome }).collect())
}
