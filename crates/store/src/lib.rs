//! A service's store: what it acknowledges is on the disk, what it refuses left no trace, and who touched
//! classified data is in a hash chain before the answer leaves.
//!
//! A unit of work is a synchronous closure over a [`Tx`]. Nothing inside a transaction can await, so no cancelled
//! call and no timeout can tear one. The engine is SQLite: one writer thread that commits in groups, and a few
//! read-only connections. SQL is one text for every engine: `$1` placeholders, `BIGINT`, `TEXT` and bytes.
//!
//! INVARIANT: no error text, log line or `Debug` output of this crate holds a stored value.

mod access;
mod database;
mod dialect;
mod error;
mod hash;
mod migrate;
mod open;
mod pages;
mod request_id;
mod store;
mod tx;
mod value;
mod work;
mod writer;

pub use access::{AccessRecord, ChainHead, MAX_ACCESS_PAGE};
pub use error::{ConstraintKind, ErrorKind, StoreError};
pub use migrate::Migration;
pub use open::StoreConfig;
pub use pages::{FilterDigest, PageTokens, page_size};
pub use request_id::{MIN_RETENTION, RequestKey};
pub use store::Store;
pub use tx::Tx;
pub use value::{Row, Value};
pub use work::{Item, Lease, NewItem, WorkQueue};
pub use writer::QUEUE_CAPACITY;

/// Milliseconds since the Unix epoch by the system's wall clock; it may step back when the clock is corrected.
#[must_use]
pub fn now_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
