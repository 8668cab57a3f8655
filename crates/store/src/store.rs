//! The handle: how services write, read and stop.

use std::future::Future;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use prost::Message;
use sekat_policy::Access;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::database::Database;
use crate::open::{Opened, StoreConfig, open};
use crate::writer::{Job, QUEUE_CAPACITY, Queued, Shared, Work, Writer};
use crate::{ChainHead, PageTokens, RequestKey, StoreError, Tx, WorkQueue, now_ms};

/// A service's open store; clones are handles to the same one. When the last is dropped, the writer finishes, the
/// file is closed and its lock freed, before the drop returns.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    deadline: Option<Instant>,
}

struct Inner {
    /// Taken when the store closes, which ends the writer.
    queue: Option<SyncSender<Queued>>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<Mutex<Database>>,
    pages: PageTokens,
    shared: Arc<Shared>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer closes last, so that it can move its log into the file.
        self.readers.clear();
        self.queue = None;
        // A job may have held the last handle; the writer cannot wait for itself.
        if let Some(writer) = self.writer.take().filter(|writer| writer.thread().id() != thread::current().id()) {
            let _ = writer.join();
        }
    }
}

/// What the writer's thread hands back when the store is open.
struct Parts {
    readers: Vec<Database>,
    pages: PageTokens,
    shared: Arc<Shared>,
}

/// Opens the store and writes until the last sender of `queue` is gone.
fn write_until_closed(
    config: &StoreConfig,
    queue: &Receiver<Queued>,
    committed: UnboundedSender<Vec<Queued>>,
    opened: oneshot::Sender<Result<Parts, StoreError>>,
) {
    let Opened { writer: database, readers, chain, pages, lock } = match open(config) {
        Ok(parts) => parts,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let shared = Arc::new(Shared::new(chain.head().clone()));
    // Without a receiver the sender of `queue` is gone as well, and the loop ends at once.
    let _ = opened.send(Ok(Parts { readers, pages, shared: Arc::clone(&shared) }));
    let (retention, next_purge) = (config.request_id_retention, Instant::now());
    Writer { database, chain, shared, committed, retention, next_purge }.run(queue);
    drop(lock);
}

impl Store {
    /// Opens or creates the store, brings its schema up to date and starts its writer. Writes are answered by a task of
    /// the runtime in which this is called.
    ///
    /// # Errors
    /// One for each thing that can be wrong with the directory, the file, its owner or its schema, saying what to do.
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let (sender, queue) = sync_channel(QUEUE_CAPACITY);
        let (opened, parts) = oneshot::channel();
        let (committed, mut groups) = unbounded_channel::<Vec<Queued>>();
        tokio::spawn(async move {
            while let Some(group) = groups.recv().await {
                group.into_iter().for_each(Queued::reply);
            }
        });
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_until_closed(&config, &queue, committed, opened))
            .map_err(|error| StoreError::NoThread { source: Arc::new(error) })?;
        let Parts { readers, pages, shared } = parts.await.map_err(|_| StoreError::Stopped { source: None })??;
        let readers = readers.into_iter().map(Mutex::new).collect();
        let inner = Inner { queue: Some(sender), writer: Some(writer), readers, pages, shared };
        Ok(Self { inner: Arc::new(inner), deadline: None })
    }

    /// This store for a call that ends at `deadline`: what has not begun by then fails with
    /// [`StoreError::Expired`] and has no effect.
    #[must_use]
    pub fn by(&self, deadline: impl Into<Instant>) -> Self {
        Self { inner: Arc::clone(&self.inner), deadline: Some(deadline.into()) }
    }

    /// Runs `job` in a transaction and returns when it is durable. An error of the job rolls back the job, alone.
    /// With `access`, its record becomes durable with the effects of a job that succeeds, and is marked so; a job
    /// that fails leaves no record, and the access is still to be recorded.
    ///
    /// `job` runs on the store's thread. An engine that reports a serialization failure runs it again, so it must
    /// have no effect besides `tx`. Whoever drops the future before the job begins may prevent it; later, not.
    ///
    /// # Errors
    /// The job's own, or [`StoreError`]: [`StoreError::Overloaded`] and [`StoreError::Expired`] before it began; one
    /// of kind [`crate::ErrorKind::Unavailable`] if the store stops, when the effect may or may not be durable.
    pub async fn write<T, E>(
        &self,
        access: Option<&Arc<Access>>,
        job: impl FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let job = Work::Job(Box::new(WriteJob { job, result: None, reply }));
        self.enqueue(job, access)?;
        result.await.unwrap_or_else(|_| Err(self.stopped().into()))
    }

    /// Runs `job`, whose answer is `key`'s: a repetition of the same request gets the stored reply and runs nothing.
    /// The reply is stored in the transaction of the effect; an error is not stored. Look up who may ask before
    /// calling this: whoever owns the key gets the reply.
    ///
    /// # Errors
    /// [`StoreError::InvalidRequestId`], [`StoreError::RequestIdReused`] if the owner sent the id with another
    /// body, and those of [`Store::write`].
    pub async fn write_once<R, E>(
        &self,
        key: RequestKey<'_>,
        mut job: impl FnMut(&mut dyn Tx) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Message + Default + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let stored = key.stored()?;
        self.write(Some(key.access), move |tx| {
            if let Some(reply) = stored.replay(tx)? {
                return Ok(reply);
            }
            let reply = job(tx)?;
            stored.store(tx, &reply, now_ms())?;
            Ok(reply)
        })
        .await
    }

    /// Runs `job` on a snapshot, on a connection that cannot write. It runs in place, on the thread that polls, so keep
    /// it short and its lists bounded: measured, a point read takes 1.3 to 2.8 µs of CPU in place and 6 to 33 µs on
    /// threads of its own.
    ///
    /// # Errors
    /// The job's own, or [`StoreError`].
    pub async fn read<T, E>(&self, mut job: impl FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(StoreError::Expired.into());
        }
        let mut snapshot = Snapshot::begin(self.reader()?)?;
        let mut tx = snapshot.reader.tx();
        let result = job(&mut tx);
        match (result, tx.end().0) {
            (Ok(_), Err(error)) => Err(error.into()),
            (result, _) => result,
        }
    }

    /// The durable work of this store.
    #[must_use]
    pub fn work(&self) -> WorkQueue {
        WorkQueue::new(self.clone(), self.inner.shared.work.subscribe())
    }

    /// The page tokens of this store.
    #[must_use]
    pub fn pages(&self) -> &PageTokens {
        &self.inner.pages
    }

    /// The newest durable access record of this instance.
    #[must_use]
    pub fn access_head(&self) -> ChainHead {
        self.inner.shared.head()
    }

    /// Ready with the error if the store can no longer write: its process must then stop, for nothing that it
    /// acknowledges from there on would be true.
    pub fn fatal(&self) -> impl Future<Output = StoreError> + Send + 'static {
        let mut fatal = self.inner.shared.fatal.subscribe();
        async move {
            let error = fatal.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
            match error {
                Some(error) => error,
                // The store was closed in order.
                None => std::future::pending().await,
            }
        }
    }

    /// Appends the record of an access that no job carried.
    pub(crate) async fn append_access(&self, access: &Arc<Access>) -> Result<(), StoreError> {
        if access.is_recorded() {
            return Ok(());
        }
        let (reply, result) = oneshot::channel();
        self.enqueue(Work::Record(reply), Some(access))?;
        result.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    fn enqueue(&self, work: Work, access: Option<&Arc<Access>>) -> Result<(), StoreError> {
        let queue = self.inner.queue.as_ref().ok_or_else(|| self.stopped())?;
        let queued = Queued { work, access: access.cloned(), deadline: self.deadline };
        queue.try_send(queued).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => self.stopped(),
        })
    }

    fn stopped(&self) -> StoreError {
        StoreError::Stopped { source: self.inner.shared.fatal.borrow().clone().map(Arc::new) }
    }

    /// The first idle reader, so that few callers share warm caches. If all are busy, waits for the first: there are
    /// about as many as threads that could ask.
    fn reader(&self) -> Result<MutexGuard<'_, Database>, StoreError> {
        let readers = &self.inner.readers;
        let idle = readers.iter().find_map(|reader| match reader.try_lock() {
            Ok(reader) => Some(reader),
            // A job panicked; its snapshot was given up as the panic passed.
            Err(TryLockError::Poisoned(reader)) => Some(reader.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let first = || readers.first().map(|reader| reader.lock().unwrap_or_else(PoisonError::into_inner));
        idle.or_else(first).ok_or_else(|| self.stopped())
    }
}

/// A read transaction; it ends however its job ends.
struct Snapshot<'a> {
    reader: MutexGuard<'a, Database>,
}

impl<'a> Snapshot<'a> {
    fn begin(mut reader: MutexGuard<'a, Database>) -> Result<Self, StoreError> {
        reader.exec("BEGIN", &[])?;
        Ok(Self { reader })
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        // It changed nothing; should it fail, the next BEGIN on this connection says so.
        let _ = self.reader.exec("ROLLBACK", &[]);
    }
}

/// A closure, its result, and who waits for it.
struct WriteJob<F, T, E> {
    job: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for WriteJob<F, T, E>
where
    F: FnMut(&mut dyn Tx) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &mut dyn Tx) -> bool {
        let result = (self.job)(tx);
        let is_kept = result.is_ok();
        self.result = Some(result);
        is_kept
    }

    fn fail(&mut self, error: StoreError) {
        self.result = Some(Err(error.into()));
    }

    fn reply(self: Box<Self>) {
        if let Some(result) = self.result {
            // Whoever waited may be gone.
            let _ = self.reply.send(result);
        }
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}
