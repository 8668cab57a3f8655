//! How many calls each peer made of each method and how they ended, and how many peers were not let in and why, counted
//! outside of the trace pipeline: spans may be lost, a counter is not. The proof compares the two.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tonic::Code;

/// The number of gRPC status codes; `Code as usize` is below it.
const CODES: usize = 17;
/// Cells of a method: how often calls ended with each status, and how often calls began.
const COLUMNS: usize = CODES + 1;
/// Peers told apart; certificates bound them long before. Others are counted together as `_OTHER`.
const PEERS: usize = 1_024;
/// Stands for methods and peers that are not told apart.
pub(crate) const OTHER: &str = "_OTHER";

/// On which side of a call this process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It was called.
    Server,
    /// It called.
    Client,
}

/// How often calls of one method, with one peer, ended with one status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CallCount {
    /// The side that this process had.
    pub direction: Direction,
    /// The other side's SPIFFE ID from its certificate; `public` for callers without one.
    pub peer: String,
    /// The gRPC path; `_OTHER` for paths that no contract has.
    pub method: &'static str,
    /// The name of the gRPC status, for instance `PERMISSION_DENIED`.
    pub status: &'static str,
    /// Calls that ended so since the process began.
    pub count: u64,
}

/// Calls of one method that a peer has open: streams, mostly. They have no span yet, which a lost span has not either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct OpenCalls {
    peer: String,
    method: &'static str,
    count: u64,
}

/// How many connections each listener refused, by the stable names of
/// [`Rejection`](sekat_identity::Rejection::name), which are a closed set. Calls are not among them.
pub type RefusedConnections = BTreeMap<&'static str, BTreeMap<&'static str, u64>>;

/// Direction, surface, peer.
type PeerKey = (Direction, &'static str, String);

/// All counters of one process.
#[derive(Default)]
pub(crate) struct Counters {
    peers: Mutex<HashMap<PeerKey, Arc<PeerCounters>>>,
    refused: Mutex<RefusedConnections>,
}

/// The counters of one peer.
#[derive(Debug)]
pub(crate) struct PeerCounters {
    methods: Arc<[&'static str]>,
    /// One row of [`COLUMNS`] per method and one more for other paths.
    cells: Box<[AtomicU64]>,
    /// Calls of this peer that are running, for its fair share.
    pub(crate) in_flight: AtomicUsize,
}

impl PeerCounters {
    /// Counts the beginning of a call of the method with this index; `None` is a path that no contract has.
    pub(crate) fn begin(&self, method: Option<usize>) {
        self.add(method, CODES);
    }

    /// Counts the end of one.
    pub(crate) fn count(&self, method: Option<usize>, code: Code) {
        self.add(method, code as usize);
    }

    fn add(&self, method: Option<usize>, column: usize) {
        let row = method.unwrap_or(self.methods.len());
        if let Some(cell) = self.cells.get(row * COLUMNS + column) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Counters {
    /// The counters of one peer, made at its first connection. `surface` names the set of methods, for instance a
    /// listener or a package; it always comes with the same `methods`.
    pub(crate) fn peer(
        &self,
        direction: Direction,
        surface: &'static str,
        peer: &str,
        methods: &Arc<[&'static str]>,
    ) -> Arc<PeerCounters> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = peers.contains_key(&(direction, surface, peer.to_owned()));
        let peer = if known || peers.len() < PEERS { peer } else { OTHER };
        let counters = peers.entry((direction, surface, peer.to_owned())).or_insert_with(|| {
            let cells = (0..(methods.len() + 1) * COLUMNS).map(|_| AtomicU64::new(0)).collect();
            Arc::new(PeerCounters { methods: Arc::clone(methods), cells, in_flight: AtomicUsize::new(0) })
        });
        Arc::clone(counters)
    }

    /// Counts one connection that a listener refused.
    pub(crate) fn refused(&self, listener: &'static str, reason: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(listener).or_default().entry(reason).or_default() += 1;
    }

    /// All refused connections.
    pub(crate) fn refused_connections(&self) -> RefusedConnections {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All counts of calls that are not zero, sorted.
    pub(crate) fn snapshot(&self) -> Vec<CallCount> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Vec::new();
        for ((direction, _, peer), counters) in peers.iter() {
            let cells = counters.cells.iter().enumerate().filter(|(index, _)| index % COLUMNS < CODES);
            for (index, cell) in cells {
                let count = cell.load(Ordering::Relaxed);
                if count > 0 {
                    let method = counters.methods.get(index / COLUMNS).copied().unwrap_or(OTHER);
                    let status = code_name(index % COLUMNS);
                    counts.push(CallCount { direction: *direction, peer: peer.clone(), method, status, count });
                }
            }
        }
        counts.sort();
        counts
    }
}

impl Counters {
    /// The calls that peers have open here, sorted.
    pub(crate) fn open(&self) -> Vec<OpenCalls> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = Vec::new();
        for ((_, _, peer), counters) in peers.iter().filter(|((direction, ..), _)| *direction == Direction::Server) {
            for (row, cells) in counters.cells.chunks(COLUMNS).enumerate() {
                let Some((begun, ended)) = cells.split_last() else { continue };
                // Ends first: a call that begins and ends in between is not open.
                let ended: u64 = ended.iter().map(|cell| cell.load(Ordering::Acquire)).sum();
                let count = begun.load(Ordering::Acquire).saturating_sub(ended);
                if count > 0 {
                    let method = counters.methods.get(row).copied().unwrap_or(OTHER);
                    open.push(OpenCalls { peer: peer.clone(), method, count });
                }
            }
        }
        open.sort();
        open
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.snapshot()).finish()
    }
}

/// The name of a status code as `google.rpc.Code` and OpenTelemetry spell it.
pub(crate) fn code_name(code: usize) -> &'static str {
    const NAMES: [&str; CODES] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(code).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_by_direction_peer_method_and_status() {
        let counters = Counters::default();
        let methods: Arc<[&'static str]> = Arc::from(["/a", "/b"]);
        let peer = counters.peer(Direction::Server, "mesh", "spiffe://d/x", &methods);
        peer.count(Some(1), Code::Ok);
        counters.peer(Direction::Server, "mesh", "spiffe://d/x", &methods).count(Some(1), Code::Ok);
        peer.count(None, Code::PermissionDenied);
        let seen: Vec<_> = counters.snapshot().into_iter().map(|c| (c.method, c.status, c.count)).collect();
        assert_eq!(seen, [("/b", "OK", 2), ("_OTHER", "PERMISSION_DENIED", 1)]);
    }

    #[test]
    fn a_call_is_open_until_it_ends() {
        let counters = Counters::default();
        let methods: Arc<[&'static str]> = Arc::from(["/a", "/b"]);
        let peer = counters.peer(Direction::Server, "mesh", "spiffe://d/x", &methods);
        (0..3).for_each(|_| peer.begin(Some(1)));
        peer.count(Some(1), Code::Cancelled);
        let open = |count| vec![OpenCalls { peer: "spiffe://d/x".to_owned(), method: "/b", count }];
        assert_eq!(counters.open(), open(2));
        peer.count(Some(1), Code::Ok);
        assert_eq!(counters.open(), open(1));
        peer.count(Some(1), Code::Ok);
        assert_eq!((counters.open(), counters.snapshot().len()), (Vec::new(), 2));
    }

    #[test]
    fn peers_beyond_the_limit_are_counted_together() {
        let counters = Counters::default();
        let methods: Arc<[&'static str]> = Arc::from(["/a"]);
        for index in 0..PEERS + 5 {
            counters.peer(Direction::Server, "mesh", &index.to_string(), &methods).count(Some(0), Code::Ok);
        }
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.len(), PEERS + 1);
        assert_eq!(snapshot.iter().map(|count| count.count).sum::<u64>(), u64::try_from(PEERS + 5).unwrap());
    }

    #[test]
    fn code_names_follow_grpc() {
        for (code, name) in [(Code::Ok, "OK"), (Code::Unauthenticated, "UNAUTHENTICATED"), (Code::Aborted, "ABORTED")] {
            assert_eq!(code_name(code as usize), name);
        }
    }
}
