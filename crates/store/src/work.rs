//! Durable work: what was enqueued in a committed transaction is done at least once, whatever crashes.
//!
//! An item is enqueued in the transaction of the effect that calls for it (an outbox row, a saga), claimed under a
//! lease, and removed in the transaction of its own effect. A worker that dies loses the lease and not the item; a
//! worker that is too slow cannot finish an item that another has claimed meanwhile. Steps must be idempotent.

use std::fmt;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;

use crate::database::Database;
use crate::{Row, Store, StoreError, Tx, now_ms};

/// A key names a row of the service, for instance an order; it is no place for data.
const MAX_KEY: usize = 256;

/// A payload says what to do, in protobuf; what it is about stands in the service's own tables.
const MAX_PAYLOAD: usize = 64 * 1024;

/// Enough of an error to know which it was.
const MAX_ERROR: usize = 512;

/// The longest time that a worker waits without looking: a corrected clock or a missed wake-up costs at most this.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// A trace context in its binary form: version, trace id, span id, flags.
type Trace = [u8; 25];

/// Work to be enqueued.
#[derive(Clone, Copy)]
pub struct NewItem<'a> {
    /// The kind, by which workers claim.
    pub kind: &'static str,
    /// What it is about; unique within its kind. At most 256 bytes.
    pub key: &'a str,
    /// What its worker needs, encoded. At most 64 KiB.
    pub payload: &'a [u8],
    /// The trace that the work continues.
    pub trace: Option<Trace>,
    /// When it is due, in milliseconds since the Unix epoch; the past means now.
    pub due_ms: i64,
}

impl NewItem<'_> {
    fn check(&self) -> Result<(), StoreError> {
        for (what, found, limit) in [
            ("the key of a work item", self.key.len(), MAX_KEY),
            ("the payload of a work item", self.payload.len(), MAX_PAYLOAD),
        ] {
            if found > limit {
                return Err(StoreError::TooLong { what, found, limit });
            }
        }
        Ok(())
    }
}

/// A worker's hold on an item; without it nobody can finish the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    id: i64,
    claim: i64,
    revision: i64,
}

/// A claimed item.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// What [`WorkQueue::done`] and [`WorkQueue::retry`] take.
    pub lease: Lease,
    /// The kind.
    pub kind: String,
    /// What it is about.
    pub key: String,
    /// What was enqueued.
    pub payload: Vec<u8>,
    /// The trace that the work continues.
    pub trace: Option<Trace>,
    /// When it was due, in milliseconds since the Unix epoch.
    pub due_ms: i64,
    /// How often it was claimed, this time included, since it was enqueued or rescheduled.
    pub attempts: i64,
}

/// Without key and payload: they may be classified.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lease, kind, attempts, .. } = self;
        let mut item = f.debug_struct("Item");
        item.field("lease", lease).field("kind", kind).field("attempts", attempts).finish_non_exhaustive()
    }
}

impl Item {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            lease: Lease { id: row.int(0)?, claim: row.int(1)?, revision: row.int(2)? },
            kind: row.text(3)?.to_owned(),
            key: row.text(4)?.to_owned(),
            payload: row.bytes(5)?.to_vec(),
            trace: row.opt_bytes(6)?.map(|_| row.array(6)).transpose()?,
            due_ms: row.int(7)?,
            attempts: row.int(8)?,
        })
    }
}

const ENQUEUE: &str = "
    INSERT INTO work_items (kind, key, payload, trace, due_ms, ready_ms, claim, revision, attempts, last_error)
    VALUES ($1, $2, $3, $4, $5, $5, 0, 0, 0, '') ON CONFLICT (kind, key) DO NOTHING";

/// A held item stays with its worker, whose `done` then keeps it: no two workers run the same key at once.
const RESCHEDULE: &str = "
    INSERT INTO work_items (kind, key, payload, trace, due_ms, ready_ms, claim, revision, attempts, last_error)
    VALUES ($1, $2, $3, $4, $5, $5, 0, 0, 0, '')
    ON CONFLICT (kind, key) DO UPDATE SET
        payload = excluded.payload, trace = excluded.trace, due_ms = excluded.due_ms,
        revision = work_items.revision + 1, attempts = 0, last_error = '',
        ready_ms = CASE WHEN work_items.claim <> 0 AND work_items.ready_ms > $6
                        THEN work_items.ready_ms ELSE excluded.due_ms END";

const READY: &str = "
    SELECT ready_ms, id FROM work_items WHERE kind = $1 AND ready_ms <= $2 ORDER BY ready_ms, id LIMIT $3";

const CLAIM: &str = "
    UPDATE work_items SET claim = $1, ready_ms = $2, attempts = attempts + 1 WHERE id = $3 AND ready_ms <= $4
    RETURNING id, claim, revision, kind, key, payload, trace, due_ms, attempts";

const NEXT: &str = "SELECT ready_ms FROM work_items WHERE kind = $1 ORDER BY ready_ms LIMIT 1";

const REMOVE: &str = "DELETE FROM work_items WHERE id = $1 AND claim = $2 AND revision = $3";

const RETRY: &str = "
    UPDATE work_items SET claim = 0, due_ms = $4, ready_ms = $4, last_error = $5
    WHERE id = $1 AND claim = $2 AND revision = $3";

/// Gives back an item that was rescheduled while it was held: the new due time stands.
const GIVE_BACK: &str = "UPDATE work_items SET claim = 0, ready_ms = due_ms WHERE id = $1 AND claim = $2";

/// Frees what a process that is gone had claimed. INVARIANT: the caller holds the store's lock, so that no other
/// process can hold a lease. (On an engine that instances share, leases run out instead.)
pub(crate) fn release_all_leases(database: &mut Database) -> Result<(), StoreError> {
    database.exec("UPDATE work_items SET claim = 0, ready_ms = due_ms WHERE claim <> 0", &[]).map(|_| ())
}

/// The work of a store. Each value has its own memory of what [`WorkQueue::changed`] has reported: one for each
/// worker loop.
#[derive(Clone)]
pub struct WorkQueue {
    store: Store,
    commits: watch::Receiver<u64>,
}

impl WorkQueue {
    pub(crate) const fn new(store: Store, commits: watch::Receiver<u64>) -> Self {
        Self { store, commits }
    }

    /// Enqueues `item` in the caller's transaction. If one with its kind and key is there already, held or not, that
    /// one stays as it is and the answer is false.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], or if the statement fails.
    pub fn enqueue(tx: &mut dyn Tx, item: NewItem<'_>) -> Result<bool, StoreError> {
        item.check()?;
        let NewItem { kind, key, payload, trace, due_ms } = item;
        let params = [kind.into(), key.into(), payload.into(), trace.into(), due_ms.into()];
        let is_new = tx.exec(ENQUEUE, &params)? > 0;
        if is_new {
            tx.wake_workers();
        }
        Ok(is_new)
    }

    /// Enqueues `item`, or gives the one with its kind and key the new payload, trace and due time and fresh
    /// attempts. If a worker holds that one at this moment, it finishes first and the item is then done again.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], or if the statement fails.
    pub fn enqueue_or_reschedule(tx: &mut dyn Tx, item: NewItem<'_>) -> Result<(), StoreError> {
        item.check()?;
        let NewItem { kind, key, payload, trace, due_ms } = item;
        let now = now_ms();
        let params = [kind.into(), key.into(), payload.into(), trace.into(), due_ms.into(), now.into()];
        tx.exec(RESCHEDULE, &params)?;
        tx.wake_workers();
        Ok(())
    }

    /// Removes a finished item, in the transaction of its effect. False if it was rescheduled while it was held: it
    /// then stays and becomes due as rescheduled.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker has claimed it; return it, so that the effect is rolled back.
    pub fn done(tx: &mut dyn Tx, lease: Lease) -> Result<bool, StoreError> {
        let Lease { id, claim, revision } = lease;
        if tx.exec(REMOVE, &[id.into(), claim.into(), revision.into()])? > 0 {
            return Ok(true);
        }
        give_back(tx, lease)?;
        Ok(false)
    }

    /// Gives an item back, to be claimed again at `due_ms`. `error` says why, in words without stored values; it is
    /// cut after 512 bytes. If the item was rescheduled while it was held, that due time stands instead.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker has claimed it.
    pub fn retry(tx: &mut dyn Tx, lease: Lease, due_ms: i64, error: &str) -> Result<(), StoreError> {
        let Lease { id, claim, revision } = lease;
        let error = error.get(..error.floor_char_boundary(MAX_ERROR)).unwrap_or_default();
        let params = [id.into(), claim.into(), revision.into(), due_ms.into(), error.into()];
        if tx.exec(RETRY, &params)? == 0 {
            give_back(tx, lease)?;
        }
        tx.wake_workers();
        Ok(())
    }

    /// Claims up to `limit` items of the given kinds that are due, the longest due first, for the time of `lease`.
    /// Who does not finish within it loses them to whoever claims next.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn claim(
        &self,
        kinds: &'static [&'static str],
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<Item>, StoreError> {
        if self.next_due(kinds).await?.is_none_or(|due_ms| due_ms > now_ms()) {
            return Ok(Vec::new());
        }
        let claim = claim_token()?;
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        self.store
            .write(None, move |tx| {
                let now = now_ms();
                let until = now.saturating_add(lease_ms);
                let mut items = Vec::new();
                for id in ready(tx, kinds, limit, now)? {
                    let claimed = tx.optional(CLAIM, &[claim.into(), until.into(), id.into(), now.into()])?;
                    items.extend(claimed.as_ref().map(Item::read).transpose()?);
                }
                Ok(items)
            })
            .await
    }

    /// When the next item of the given kinds can be claimed, in milliseconds since the Unix epoch: its due time, or
    /// the end of the lease under which it is held. Nothing if there is no item.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn next_due(&self, kinds: &'static [&'static str]) -> Result<Option<i64>, StoreError> {
        self.store
            .read(move |tx| {
                let mut next = None;
                for kind in kinds {
                    let due = tx.optional(NEXT, &[(*kind).into()])?.map(|row| row.int(0)).transpose()?;
                    next = [next, due].into_iter().flatten().min();
                }
                Ok(next)
            })
            .await
    }

    /// Ready when a transaction that enqueued, rescheduled or gave back work has committed since this was last ready
    /// (or since the value was made); at once if one has.
    pub async fn changed(&mut self) {
        // It cannot fail: the store that this value holds keeps the sender.
        let _ = self.commits.changed().await;
    }

    /// Waits until at least one item can be claimed, and claims up to `limit`: what a worker loop repeats. A commit
    /// wakes it at once, a due time at that time.
    ///
    /// # Errors
    /// As [`WorkQueue::claim`].
    pub async fn next(
        &mut self,
        kinds: &'static [&'static str],
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<Item>, StoreError> {
        loop {
            let items = self.claim(kinds, limit, lease).await?;
            if !items.is_empty() {
                return Ok(items);
            }
            let wait = self.next_due(kinds).await?.map_or(MAX_WAIT, |due_ms| {
                Duration::from_millis(u64::try_from(due_ms.saturating_sub(now_ms())).unwrap_or(0)).min(MAX_WAIT)
            });
            tokio::select! {
                () = self.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

fn give_back(tx: &mut dyn Tx, lease: Lease) -> Result<(), StoreError> {
    if tx.exec(GIVE_BACK, &[lease.id.into(), lease.claim.into()])? == 0 {
        return Err(StoreError::LeaseLost);
    }
    tx.wake_workers();
    Ok(())
}

/// The items of all kinds that have been ready longest.
fn ready(tx: &mut dyn Tx, kinds: &[&'static str], limit: u32, now: i64) -> Result<Vec<i64>, StoreError> {
    let mut ready = Vec::new();
    for kind in kinds {
        for row in tx.rows(READY, &[(*kind).into(), now.into(), limit.into()])? {
            ready.push((row.int(0)?, row.int(1)?));
        }
    }
    ready.sort_unstable();
    ready.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(ready.into_iter().map(|(_, id)| id).collect())
}

/// A random token, so that no lease ever fits an item that only reuses its id.
fn claim_token() -> Result<i64, StoreError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::NoRandomness)?;
    // Zero means that nobody holds the item.
    Ok(i64::from_be_bytes(bytes) | 1)
}
