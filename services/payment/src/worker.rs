//! The background work: asks providers for what payments wait for, until they have answered. It begins again where a
//! process that was killed had stopped, because what is to be asked stands in the store before it is asked.

use std::sync::Arc;
use std::time::Duration;

use sekat_mesh::context::{Context, TraceContext, scope};
use sekat_store::{Item, Store, StoreError, now_ms};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::charge::{self, Known, Next, next_step};
use crate::connector::QUESTIONS;
use crate::error::Error;
use crate::intents::{Found, Moment};
use crate::service::{Payment, Progress};

/// The kinds of work items of this service.
const KINDS: &[&str] = &[charge::WORK_KIND];

/// Questions in a row before the item is given back: open, find it absent, open again, close.
const MAX_QUESTIONS: usize = 6;

/// Longer than [`MAX_QUESTIONS`] questions of 8 seconds: only a worker that died loses its item.
const LEASE: Duration = Duration::from_secs(60);

/// The pause after the first fruitless question, and the longest one. A provider that is back is asked within the
/// longest, and the buyer was promised an answer within a minute.
const FIRST_PAUSE_MS: i64 = 500;
const LONGEST_PAUSE_MS: i64 = 15_000;

/// After the store refused work: as long as it takes to drain its queue.
const STORE_PAUSE: Duration = Duration::from_millis(200);

/// Works until the process ends.
pub async fn run(payment: Payment) {
    let slots = Arc::new(Semaphore::new(usize::try_from(QUESTIONS).unwrap_or(usize::MAX)));
    let mut queue = payment.store.work();
    loop {
        // One slot before the claim: what is claimed is worked on at once. The semaphore is never closed.
        let Ok(first) = Arc::clone(&slots).acquire_owned().await else { return };
        let free = u32::try_from(slots.available_permits()).unwrap_or(QUESTIONS).saturating_add(1);
        match queue.next(KINDS, free, LEASE).await {
            Ok(items) => start(&payment, &slots, first, items),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no work could be claimed");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
}

/// Begins to work on `items`, each in a task and a slot of its own.
fn start(payment: &Payment, slots: &Arc<Semaphore>, first: OwnedSemaphorePermit, items: Vec<Item>) {
    let mut first = Some(first);
    for item in items {
        // INVARIANT: only this loop takes slots, so that those counted before the claim are still there.
        let slot = first.take().or_else(|| Arc::clone(slots).try_acquire_owned().ok());
        let payment = payment.clone();
        tokio::spawn(async move {
            let _slot = slot;
            work(&payment, item).await;
        });
    }
}

async fn work(payment: &Payment, item: Item) {
    let trace = item.trace.as_ref().and_then(|bytes| TraceContext::from_bytes(bytes));
    let context = Context::detached(None, trace);
    let moment_trace = context.trace();
    let progress = match scope(context, ask_until_known(payment, &item, moment_trace)).await {
        Ok(progress) => progress,
        Err(Error::Store(StoreError::LeaseLost)) => {
            tracing::warn!("another worker has taken over a payment");
            Progress::Later
        }
        Err(error) => {
            // The lease runs out and the item is claimed again; after a restart it is claimed at once.
            tracing::error!(error = &error as &dyn std::error::Error, "a payment's provider could not be asked");
            Progress::Later
        }
    };
    match progress {
        Progress::Settled => payment.announce(&item.key),
        Progress::Later => payment.waiting.wake(&item.key, Progress::Later),
    }
}

/// Asks question after question until the payment waits no more or an answer fails to come.
async fn ask_until_known(payment: &Payment, item: &Item, trace: TraceContext) -> Result<Progress, Error> {
    // The first attempt of a new item is the only one before which nothing can have been asked.
    let mut known = if item.attempts <= 1 { Known::Unasked } else { Known::Uncertain };
    let lease = item.lease;
    for _ in 0..MAX_QUESTIONS {
        let step = match payment.find(&item.key).await? {
            Found::Intent(intent) => next_step(intent.standing.state, known).map(|step| (intent, step)),
            Found::Tombstone(_) | Found::Nothing => None,
        };
        let Some((intent, step)) = step else {
            write(&payment.store, move |tx| charge::finish(tx, lease)).await?;
            return Ok(Progress::Settled);
        };
        let answer = payment.connector.ask(&intent, step).await;
        let (key, moment) = (item.key.clone(), Moment { now_ms: now_ms(), trace });
        let retry_ms = moment.now_ms.saturating_add(pause_ms(item.attempts, &item.key));
        let next = write(&payment.store, move |tx| charge::apply(tx, lease, &key, &answer, retry_ms, moment)).await?;
        match next {
            Next::Settled => return Ok(Progress::Settled),
            Next::Later => return Ok(Progress::Later),
            Next::Ask(now_known) => known = now_known,
        }
    }
    let retry_ms = now_ms().saturating_add(pause_ms(item.attempts, &item.key));
    write(&payment.store, move |tx| {
        sekat_store::WorkQueue::retry(tx, lease, retry_ms, "TOO_MANY_QUESTIONS")?;
        Ok(Next::Later)
    })
    .await?;
    Ok(Progress::Later)
}

/// Writes, again and again while the store's queue is full: an answer that was paid for is not thrown away.
async fn write<F>(store: &Store, job: F) -> Result<Next, Error>
where
    F: FnMut(&mut dyn sekat_store::Tx) -> Result<Next, Error> + Clone + Send + 'static,
{
    loop {
        match store.write(None, job.clone()).await {
            Err(Error::Store(StoreError::Overloaded)) => tokio::time::sleep(STORE_PAUSE).await,
            other => return other,
        }
    }
}

/// The pause after so many attempts: twice the one before up to the longest, less up to a fifth, which the payment's
/// name decides, so that payments that failed together do not come back together.
fn pause_ms(attempts: i64, key: &str) -> i64 {
    // Ten doublings are far beyond the longest pause.
    let doublings = attempts.saturating_sub(1).clamp(0, 10);
    let pause = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
    let spread = key.bytes().fold(0_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 100);
    pause - pause / 5 * spread / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_spread() {
        for (attempts, longest) in
            [(0, 500), (1, 500), (2, 1_000), (3, 2_000), (5, 8_000), (6, 15_000), (i64::MAX, 15_000)]
        {
            for key in ["a", "order-1", "order-2", "order-3"] {
                let pause = pause_ms(attempts, key);
                assert!(pause <= longest && pause >= longest - longest / 5, "{attempts} {key}: {pause}");
            }
        }
        assert_ne!(pause_ms(1, "order-1"), pause_ms(1, "order-2"));
    }
}
