//! The one thread that writes. It takes what is waiting as a group, and one COMMIT makes the group durable.
//!
//! INVARIANT: nobody is answered before COMMIT has returned, not even a job that was refused: what it saw may have
//! been the uncommitted effect of another job of its group. And a failed COMMIT is never tried again: after a
//! failed sync nobody knows what is on the disk, so the writer stops and a restart reads what is there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sekat_policy::{Access, ClassSet};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{oneshot, watch};

use crate::access::Chain;
use crate::database::Database;
use crate::request_id::{PURGE_LIMIT, purge};
use crate::{ChainHead, StoreError, Tx, now_ms};

/// Jobs that share a COMMIT at most: enough to make its cost small against theirs, few enough that the last of them
/// does not wait long. A group never waits to fill up.
const MAX_GROUP: usize = 256;

/// Writes that may wait: four groups, some 60 ms of work. A longer queue would only hold what its callers give up on.
pub const QUEUE_CAPACITY: usize = 1_024;

/// How often old request ids are looked for.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// What writer and handles share.
pub(crate) struct Shared {
    /// The error that stopped the writer.
    pub(crate) fatal: watch::Sender<Option<StoreError>>,
    /// How many commits changed durable work.
    pub(crate) work: watch::Sender<u64>,
    head: Mutex<ChainHead>,
}

impl Shared {
    pub(crate) fn new(head: ChainHead) -> Self {
        Self { fatal: watch::Sender::new(None), work: watch::Sender::new(0), head: Mutex::new(head) }
    }

    /// The newest access record that is durable.
    pub(crate) fn head(&self) -> ChainHead {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A unit of work, with the way back to whoever waits for it.
pub(crate) trait Job: Send {
    /// Runs it; it keeps its result. True if its effects are to be kept.
    fn run(&mut self, tx: &mut dyn Tx) -> bool;
    /// Its result is an error of the store.
    fn fail(&mut self, error: StoreError);
    /// Hands the result over.
    fn reply(self: Box<Self>);
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
}

/// What waits in the queue.
pub(crate) struct Queued {
    pub(crate) work: Work,
    /// The access that the group records, unless it is recorded already.
    pub(crate) access: Option<Arc<Access>>,
    /// When it is no longer worth beginning.
    pub(crate) deadline: Option<Instant>,
}

pub(crate) enum Work {
    /// A job; a failed one leaves neither effect nor record.
    Job(Box<dyn Job>),
    /// An access that is recorded by itself.
    Record(oneshot::Sender<Result<(), StoreError>>),
}

impl Queued {
    fn is_abandoned(&self) -> bool {
        match &self.work {
            Work::Job(job) => job.is_abandoned(),
            // The call may be gone; that it touched the data stays true.
            Work::Record(_) => false,
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Hands its result over.
    pub(crate) fn reply(self) {
        match self.work {
            Work::Job(job) => job.reply(),
            // Whoever waited may be gone.
            Work::Record(reply) => drop(reply.send(Ok(()))),
        }
    }

    fn refuse(self, error: StoreError) {
        match self.work {
            Work::Job(mut job) => {
                job.fail(error);
                job.reply();
            }
            Work::Record(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The writer's state.
pub(crate) struct Writer {
    pub(crate) database: Database,
    pub(crate) chain: Chain,
    pub(crate) shared: Arc<Shared>,
    /// Takes committed groups, whose jobs are then answered within the runtime. From this thread, each answer would
    /// wake its task by a way of its own, and the first would go out while the others are still being handed over.
    pub(crate) committed: UnboundedSender<Vec<Queued>>,
    pub(crate) retention: Duration,
    pub(crate) next_purge: Instant,
}

/// What a transaction did besides its jobs' effects.
#[derive(Default)]
struct Committed {
    recorded: Vec<Arc<Access>>,
    wakes: bool,
}

/// Why a transaction was not committed.
enum Failure {
    /// It never began; nothing was lost.
    NotBegun(StoreError),
    /// The writer cannot go on.
    Fatal(StoreError),
}

impl Writer {
    /// Commits group after group until every handle is gone. A panic here is a bug; it stops the store, visibly.
    pub(crate) fn run(mut self, queue: &Receiver<Queued>) {
        let shared = Arc::clone(&self.shared);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while let Ok(first) = queue.recv() {
                let mut group = Vec::with_capacity(MAX_GROUP);
                group.push(first);
                group.extend(queue.try_iter().take(MAX_GROUP - 1));
                self.commit(group);
            }
        }));
        if outcome.is_err() {
            shared.fatal.send_replace(Some(StoreError::Stopped { source: None }));
        }
    }

    fn commit(&mut self, group: Vec<Queued>) {
        let now = Instant::now();
        let mut jobs = Vec::with_capacity(group.len());
        let stopped = self.shared.fatal.borrow().clone().map(Arc::new);
        for queued in group {
            if let Some(cause) = &stopped {
                queued.refuse(StoreError::Stopped { source: Some(Arc::clone(cause)) });
            } else if queued.is_expired(now) {
                queued.refuse(StoreError::Expired);
            } else if !queued.is_abandoned() {
                jobs.push(queued);
            }
        }
        if jobs.is_empty() {
            return;
        }
        match self.transact(&mut jobs) {
            Ok(committed) => {
                if !committed.recorded.is_empty() {
                    *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = self.chain.head().clone();
                }
                committed.recorded.iter().for_each(|access| access.mark_recorded());
                if committed.wakes {
                    self.shared.work.send_modify(|commits| *commits = commits.wrapping_add(1));
                }
                if let Err(SendError(jobs)) = self.committed.send(jobs) {
                    // The runtime in which the store was opened is gone.
                    jobs.into_iter().for_each(Queued::reply);
                }
            }
            Err(Failure::NotBegun(error)) => jobs.into_iter().for_each(|job| job.refuse(error.clone())),
            Err(Failure::Fatal(error)) => {
                self.stop(&error);
                jobs.into_iter().for_each(|job| job.refuse(error.clone()));
            }
        }
    }

    fn stop(&self, error: &StoreError) {
        // Should this fail too, closing copies frames that COMMIT acknowledged and no others.
        let kept = self.database.keep_log_on_close();
        let cause = error as &dyn std::error::Error;
        tracing::error!(error = cause, log_kept = kept.is_ok(), "the store stops; no further write is taken");
        self.shared.fatal.send_replace(Some(error.clone()));
    }

    fn transact(&mut self, jobs: &mut [Queued]) -> Result<Committed, Failure> {
        match self.database.exec("BEGIN IMMEDIATE", &[]) {
            Ok(_) => {}
            Err(error @ StoreError::Busy { .. }) => return Err(Failure::NotBegun(error)),
            Err(error) => return Err(Failure::Fatal(error)),
        }
        self.run_and_commit(jobs).map_err(|error| {
            // SQLite has usually rolled back by itself. If this fails too, closing the connection rolls back.
            let rolled_back = !self.database.in_transaction() || self.database.exec("ROLLBACK", &[]).is_ok();
            tracing::debug!(rolled_back, "a group failed");
            Failure::Fatal(if error.is_fatal() || matches!(error, StoreError::TransactionEnded) {
                error
            } else {
                StoreError::Commit { source: Arc::new(error) }
            })
        })
    }

    /// The transaction between BEGIN and the return of COMMIT. Every error is the group's.
    fn run_and_commit(&mut self, jobs: &mut [Queued]) -> Result<Committed, StoreError> {
        let mut committed = Committed::default();
        for queued in jobs {
            let is_kept = match &mut queued.work {
                Work::Job(job) => self.run_job(job.as_mut(), &mut committed.wakes)?,
                Work::Record(_) => true,
            };
            let Some(access) = queued.access.as_ref().filter(|_| is_kept) else { continue };
            let is_due = access.classes.intersects(ClassSet::RECORDED) && !access.is_recorded();
            if is_due && !committed.recorded.iter().any(|known| Arc::ptr_eq(known, access)) {
                committed.recorded.push(Arc::clone(access));
            }
        }
        let now = now_ms();
        for access in &committed.recorded {
            self.chain.append(&mut self.database, access, now)?;
        }
        self.purge_when_due(now)?;
        self.database.exec("COMMIT", &[])?;
        Ok(committed)
    }

    /// Runs one job in a savepoint. True if its effects are kept.
    fn run_job(&mut self, job: &mut dyn Job, wakes: &mut bool) -> Result<bool, StoreError> {
        self.database.exec("SAVEPOINT job", &[])?;
        let mut tx = self.database.tx();
        let outcome = catch_unwind(AssertUnwindSafe(|| job.run(&mut tx)));
        let (statements, wakes_workers) = tx.end();
        if let Err(error) = &statements
            && error.is_fatal()
        {
            return Err(error.clone());
        }
        if !self.database.in_transaction() {
            return Err(StoreError::TransactionEnded);
        }
        let is_kept = match (outcome, statements) {
            (Ok(is_kept), Ok(())) => is_kept,
            // The closure made a success of a statement that failed, which PostgreSQL would not have let it.
            (Ok(true), Err(error)) => {
                job.fail(error);
                false
            }
            (Ok(false), Err(_)) => false,
            (Err(_), _) => {
                job.fail(StoreError::JobPanicked);
                false
            }
        };
        if !is_kept {
            self.database.exec("ROLLBACK TO job", &[])?;
        }
        self.database.exec("RELEASE job", &[])?;
        *wakes |= is_kept && wakes_workers;
        Ok(is_kept)
    }

    /// Removes request ids past their time: a bounded number with the group, the next ones with the next group.
    fn purge_when_due(&mut self, now: i64) -> Result<(), StoreError> {
        if Instant::now() < self.next_purge {
            return Ok(());
        }
        let retention_ms = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        if purge(&mut self.database, now.saturating_sub(retention_ms))? < PURGE_LIMIT {
            self.next_purge = Instant::now() + PURGE_INTERVAL;
        }
        Ok(())
    }
}
