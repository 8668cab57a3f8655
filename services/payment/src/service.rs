//! The payment process: its store, its connector, and who waits for what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prost::Message;
use sekat_mesh::Permit;
use sekat_store::{RequestKey, Store, Tx, now_ms};
use tokio::sync::watch;

use crate::config::Config;
use crate::connector::Connector;
use crate::error::Error;
use crate::intents::{Found, Moment, find};

/// What remains of a call's time to answer once the waiting is over: a read and the way back.
const REPLY_TIME: Duration = Duration::from_millis(200);

/// Everything that calls and background work share. Cheap to clone.
#[derive(Clone)]
pub struct Payment {
    /// The store of the service.
    pub store: Store,
    /// The way to the providers.
    pub connector: Connector,
    /// What the process was told.
    pub config: Arc<Config>,
    /// Whoever waits for a provider's answer.
    pub waiting: Waiting,
    /// Grows when events may have been appended.
    pub news: watch::Sender<u64>,
}

impl Payment {
    /// A service on `store` that reaches providers through `connector`.
    #[must_use]
    pub fn new(store: Store, connector: Connector, config: Config) -> Self {
        Self { store, connector, config: Arc::new(config), waiting: Waiting::default(), news: watch::Sender::default() }
    }

    /// Carries `request` out once for its id; the reply is stored with the effect.
    ///
    /// # Errors
    /// The job's, or the store's.
    pub async fn once<R, F>(
        &self,
        permit: &Permit,
        request_id: &str,
        request: &impl Message,
        job: F,
    ) -> Result<R, Error>
    where
        R: Message + Default + 'static,
        F: FnMut(&mut dyn Tx) -> Result<R, Error> + Send + 'static,
    {
        let body = request.encode_to_vec();
        let key = RequestKey { access: permit.access(), request_id, body: &body };
        self.store.by(permit.deadline()).write_once(key, job).await
    }

    /// What stands under the name `id`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn find(&self, id: &str) -> Result<Found, Error> {
        let id = id.to_owned();
        self.store.read(move |tx| find(tx, &id)).await
    }

    /// Waits until the payment of `waiter` waits for its provider no more, the provider has given no answer, or the
    /// call's time is nearly over; then says what stands under its name.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn settled(&self, mut waiter: Waiter, until: Instant) -> Result<Found, Error> {
        let until = until.checked_sub(REPLY_TIME).unwrap_or(until);
        loop {
            let found = self.find(&waiter.id).await?;
            let waits = matches!(&found, Found::Intent(intent) if intent.standing.state.waits_for_provider());
            if !waits {
                return Ok(found);
            }
            match tokio::time::timeout_at(until.into(), waiter.progress()).await {
                // The next look decides: it may have been the end of an earlier question.
                Ok(Progress::Settled) => {}
                Ok(Progress::Later) => return self.find(&waiter.id).await,
                Err(_) => return Ok(found),
            }
        }
    }

    /// Says that events may have been appended, and that what waits for the payment `id` should look again. Whoever
    /// misses it, because a call was dropped between its commit and this, looks again after a second.
    pub fn announce(&self, id: &str) {
        self.waiting.wake(id, Progress::Settled);
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Now, in the trace of a call: one time for all that its transaction writes.
#[must_use]
pub fn moment(permit: &Permit) -> Moment {
    Moment { now_ms: now_ms(), trace: permit.trace() }
}

/// What became of a question to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was answered, or money came.
    Settled,
    /// It was not; it will be asked again later.
    Later,
}

/// The calls that wait for a provider's answer, by payment.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<HashMap<String, watch::Sender<Option<Progress>>>>>);

impl Waiting {
    /// Begins to wait for news of the payment `id`. Begin before the write that asks: nothing is missed then.
    #[must_use]
    pub fn join(&self, id: &str) -> Waiter {
        let news = self.lock().entry(id.to_owned()).or_default().subscribe();
        Waiter { id: id.to_owned(), news, waiting: self.clone() }
    }

    /// Wakes whoever waits for the payment `id`.
    pub fn wake(&self, id: &str, progress: Progress) {
        if let Some(news) = self.lock().get(id) {
            // A call that has given up meanwhile needs no news.
            let _ = news.send(Some(progress));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<Progress>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that waits.
pub struct Waiter {
    id: String,
    news: watch::Receiver<Option<Progress>>,
    waiting: Waiting,
}

impl Waiter {
    /// The next news.
    async fn progress(&mut self) -> Progress {
        match self.news.changed().await {
            Ok(()) => self.news.borrow_and_update().unwrap_or(Progress::Settled),
            // The sender stays in the table as long as somebody waits.
            Err(_) => Progress::Later,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut all = self.waiting.lock();
        // This one still counts.
        if all.get(&self.id).is_some_and(|news| news.receiver_count() <= 1) {
            all.remove(&self.id);
        }
    }
}
