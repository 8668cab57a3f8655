//! The recorder of spans: each is encoded when it ends and appended to one of a few buffers, from which the exporter
//! takes them. What does not fit is dropped and counted, never waited for.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::otlp;

/// Bytes that one shard holds between two flushes: at 500 bytes a span and 200 ms, 10,000 spans a second a shard.
const SHARD_BYTES: usize = 1024 * 1024;
/// Shards: enough that two threads seldom meet.
const SHARDS: usize = 8;

/// Encoded spans that left the recorder together.
#[derive(Debug)]
pub(crate) struct Spans {
    pub(crate) encoded: Vec<u8>,
    pub(crate) count: u64,
}

/// Where spans go when they end.
#[derive(Debug)]
pub(crate) struct Recorder {
    shards: [Mutex<Spans>; SHARDS],
    shard_bytes: usize,
    /// False without an exporter: then nothing is encoded.
    on: bool,
    recorded: AtomicU64,
    dropped: AtomicU64,
}

impl Recorder {
    pub(crate) fn new(on: bool) -> Self {
        Self::with_shard_bytes(on, SHARD_BYTES)
    }

    fn with_shard_bytes(on: bool, shard_bytes: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Spans { encoded: Vec::new(), count: 0 }));
        Self { shards, shard_bytes, on, recorded: AtomicU64::new(0), dropped: AtomicU64::new(0) }
    }

    /// Appends the span that `encode` writes.
    pub(crate) fn record(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if !self.on {
            return;
        }
        SCRATCH.with_borrow_mut(|span| {
            span.clear();
            encode(span);
            self.append(span);
        });
    }

    fn append(&self, span: &[u8]) {
        self.recorded.fetch_add(1, Ordering::Relaxed);
        let Some(shard) = self.shards.get(SHARD.get() % SHARDS) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.encoded.len() + span.len() > self.shard_bytes {
            drop(shard);
            self.count_dropped(1);
            return;
        }
        otlp::push_span(&mut shard.encoded, span);
        shard.count += 1;
    }

    /// Takes what the shards hold, one batch each.
    pub(crate) fn take(&self) -> impl Iterator<Item = Spans> {
        self.shards.iter().filter_map(|shard| {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let encoded = std::mem::take(&mut shard.encoded);
            let count = std::mem::take(&mut shard.count);
            (count > 0).then_some(Spans { encoded, count })
        })
    }

    /// Spans ended since the start, dropped ones included.
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// Spans that nobody will ever see.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn count_dropped(&self, spans: u64) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
    }
}

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: Cell<usize> = Cell::new(NEXT_SHARD.fetch_add(1, Ordering::Relaxed));
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// When something began. Its duration comes from the monotonic clock, so that a step of the wall clock cannot make
/// it negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    unix_nanos: u64,
    at: Instant,
}

impl Beginning {
    pub(crate) fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { unix_nanos: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX), at: Instant::now() }
    }

    pub(crate) fn at(self) -> Instant {
        self.at
    }

    pub(crate) fn unix_nanos(self) -> u64 {
        self.unix_nanos
    }

    pub(crate) fn end_unix_nanos(self) -> u64 {
        let lasted = u64::try_from(self.at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.unix_nanos.saturating_add(lasted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let recorder = Recorder::with_shard_bytes(true, 100);
        for _ in 0..10 {
            recorder.record(|span| span.extend_from_slice(&[0; 30]));
        }
        let kept: u64 = recorder.take().map(|spans| spans.count).sum();
        assert_eq!(recorder.recorded(), 10);
        assert!(kept > 0 && recorder.dropped() > 0);
        assert_eq!(kept + recorder.dropped(), 10);
        assert_eq!(recorder.take().count(), 0);
    }

    #[test]
    fn a_recorder_without_an_exporter_encodes_nothing() {
        let recorder = Recorder::new(false);
        recorder.record(|_| unreachable!());
        assert_eq!((recorder.recorded(), recorder.dropped()), (0, 0));
    }
}
