//! Every limit of the stack, with its unit and its reason, and the two that are enforced by counting:
//! calls in flight and the length of a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tonic::{Code, Status};

use crate::refusal;

/// One message, either direction, in bytes. Pages of 100 resources stay well below it; what is larger belongs into a
/// stream.
pub const MESSAGE_BYTES: usize = 256 * 1024;
/// All headers of one request, in bytes. Ours are below 2 KiB with a token; gRPC's usual limit is 16 KiB.
pub(crate) const HEADER_LIST_BYTES: u32 = 8 * 1024;
/// Concurrent calls of one connection.
pub(crate) const STREAMS_PER_CONNECTION: u32 = 256;
/// Connections of one listener.
pub(crate) const CONNECTIONS: usize = 1_024;
/// TLS handshakes in progress on one listener: they are the costliest thing a stranger can ask for.
pub(crate) const HANDSHAKES: usize = 256;
/// For one handshake, waiting for its turn included: a peer that stalls blocks nobody for longer.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// After which a connection is closed in an orderly way, so that peers balance anew and show fresh certificates.
pub(crate) const CONNECTION_AGE: Duration = Duration::from_secs(15 * 60);
/// How far connection ages spread, in percent, so that connections opened together do not close together.
pub(crate) const CONNECTION_AGE_JITTER_PERCENT: u32 = 10;
/// What remains of a certificate's life is divided by this to bound a connection's age: a peer whose certificate
/// ends was long since asked for the next one.
pub(crate) const CONNECTION_AGE_PER_CERTIFICATE_LIFE: u32 = 4;
/// For the calls of a connection that is being closed.
pub(crate) const CONNECTION_GRACE: Duration = Duration::from_secs(30);
/// Without a call for so long, a connection is closed.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(5 * 60);
/// Between the pings with which a server looks for dead peers.
pub(crate) const SERVER_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Between the pings of a client with calls in flight; servers in the field count less than a minute as abuse.
pub(crate) const CLIENT_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// For the answer to a ping.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls in flight per core, over all connections. Without a global limit tonic keeps 6 % of its peak goodput at
/// twice the load.
pub(crate) const IN_FLIGHT_PER_CORE: usize = 8;
/// The least number of calls in flight: a checkout holds several slots while it waits for others.
pub(crate) const IN_FLIGHT_FLOOR: usize = 64;
/// Streams open at one server: they cost memory, not CPU, and so do not count as calls in flight.
pub(crate) const OPEN_STREAMS: usize = 1_024;
/// When a refused caller may come back: the median call is over by then.
pub(crate) const OVERLOAD_RETRY: Duration = Duration::from_millis(50);
/// For the rest of a refused call's message to arrive: it is on its way, a round trip behind its headers at most.
pub(crate) const REFUSED_BODY: Duration = Duration::from_secs(1);
/// For orderly shutdown, from the closing of the listeners to the end of the last call.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);
/// How long streams may go on once draining begins; they never end by themselves, and their readers resume
/// elsewhere.
pub(crate) const DRAIN_STREAMS: Duration = Duration::from_millis(500);
/// Between "not serving" and the closing of the listeners: load balancers notice first.
pub(crate) const LAME_DUCK: Duration = Duration::from_secs(1);

/// A count of calls with a ceiling.
#[derive(Debug)]
pub(crate) struct Slots {
    taken: AtomicUsize,
    most: usize,
}

/// One taken slot, given back on drop.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Slots {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most })
    }

    /// A slot at once, or none: waiting callers would only grow the latency of all.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        let free = |taken: usize| (taken < self.most).then_some(taken.saturating_add(1));
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok()?;
        Some(Slot(Arc::clone(self)))
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The calls in flight of all callers of a server. One caller may fill it; once another finds it full, nobody gets
/// more than half for a moment, so that the other's next attempt finds room.
#[derive(Debug)]
pub(crate) struct InFlight {
    slots: Arc<Slots>,
    began: Instant,
    /// Milliseconds after `began` until which shares are enforced.
    shared_until: AtomicU64,
}

/// How long shares are enforced after a caller within its share found no slot: twice the pause after which it comes
/// back.
const SHARING: Duration = OVERLOAD_RETRY.saturating_mul(2);

impl InFlight {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { slots: Slots::new(most), began: Instant::now(), shared_until: AtomicU64::new(0) })
    }

    /// A slot at once or none, for a caller that holds `own` slots already.
    pub(crate) fn take(&self, own: usize) -> Option<Slot> {
        let above_share = own >= self.slots.most.div_ceil(2);
        if above_share && self.now() < self.shared_until.load(Ordering::Relaxed) {
            return None;
        }
        let slot = self.slots.take();
        if slot.is_none() && !above_share {
            let sharing = u64::try_from(SHARING.as_millis()).unwrap_or(u64::MAX);
            self.shared_until.store(self.now().saturating_add(sharing), Ordering::Relaxed);
        }
        slot
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Watches the length prefixes of gRPC messages as the bytes pass by.
#[derive(Debug)]
pub(crate) struct MessageLimit {
    most: usize,
    /// How many bytes of the current prefix are known, and the length that they state so far.
    prefix: (usize, u32),
    /// What is still to come of the current message.
    payload: usize,
}

/// The compression flag and four bytes of length.
const PREFIX_BYTES: usize = 5;

impl MessageLimit {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, prefix: (0, 0), payload: 0 }
    }

    /// Takes note of the next bytes.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` as soon as a message announces more than the limit.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len());
                self.payload -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let (known, length) = self.prefix;
            let Some((next, rest)) = bytes.split_first() else { break };
            bytes = rest;
            let length = if known == 0 { 0 } else { length << 8 | u32::from(*next) };
            self.prefix = (known + 1, length);
            if known + 1 == PREFIX_BYTES {
                self.payload = usize::try_from(length).unwrap_or(usize::MAX);
                self.prefix = (0, 0);
                if self.payload > self.most {
                    return Err(too_large(self.most));
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn too_large(most: usize) -> Status {
    refusal::refuse(
        Code::ResourceExhausted,
        "MESSAGE_TOO_LARGE",
        format!("a message is larger than {most} bytes; ask for less at a time"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(vec![7; usize::try_from(length).unwrap()]);
        bytes
    }

    #[test]
    fn messages_up_to_the_limit_pass_however_they_are_cut() {
        let stream: Vec<u8> = [10, 0, 3, 10].into_iter().flat_map(frame).collect();
        for size in 1..=stream.len() {
            let mut limit = MessageLimit::new(10);
            assert!(stream.chunks(size).all(|chunk| limit.pass(chunk).is_ok()), "chunks of {size}");
        }
    }

    #[test]
    fn a_message_above_the_limit_is_refused_by_its_prefix() {
        for size in 1..=5 {
            let mut limit = MessageLimit::new(10);
            let prefix: Vec<u8> = frame(11).into_iter().take(5).collect();
            let results: Vec<_> = prefix.chunks(size).map(|chunk| limit.pass(chunk)).collect();
            let refused = results.last().unwrap().as_ref().unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted);
            assert!(results.iter().rev().skip(1).all(Result::is_ok));
        }
    }

    #[test]
    fn a_caller_may_fill_the_server_until_another_comes() {
        let in_flight = InFlight::new(4);
        let mut greedy: Vec<Slot> = (0..4).map(|own| in_flight.take(own).unwrap()).collect();
        assert!(in_flight.take(0).is_none(), "it is full");
        greedy.pop();
        assert!(in_flight.take(3).is_none(), "above its half, while another waits");
        assert!(in_flight.take(0).is_some(), "the other gets the slot");
    }

    #[test]
    fn slots_are_given_back() {
        let slots = Slots::new(2);
        let (one, two) = (slots.take(), slots.take());
        assert!(one.is_some() && two.is_some() && slots.take().is_none());
        drop(one);
        assert_eq!(slots.taken(), 1);
        assert!(slots.take().is_some());
    }
}
