//! The durable checkout: takes each order through its states, a step at a time, in a task of the service and never in
//! a request. An order's state is written before its step is taken; a crash at any moment repeats at most that step,
//! and every step is idempotent.
//!
//! There is one work item for an order that is not at rest. While the order waits for its payment, the item is due
//! when the time to pay is over; whatever changes the order makes it due at once.

#[cfg(test)]
mod exploration;
mod machine;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use sekat_mesh::context::{self, Context, TraceContext};
use sekat_store::{Item, Lease, StoreError, Tx, WorkQueue, now_ms};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub(crate) use machine::{Event, Reason, State, Verdict};

use crate::error::Error;
use crate::order::{self, Change, Order};
use crate::shop::Shop;
use steps::Outcome;

/// The kind of the work items.
pub(crate) const CHECKOUT: &str = "checkout";

/// Orders that are driven at a time: they mostly wait for peers, which admit 64 calls each.
const CONCURRENT: usize = 64;

/// The longest time for which an order is driven in one go: at most seven steps, each of one call with its retries,
/// of which closing a payment takes the longest, 8 seconds.
const LEASE: Duration = Duration::from_secs(90);

/// Between two tries of a step whose outcome is not known: doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Between two looks at a store that fails; the process is about to stop then.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Drives orders for as long as the service runs.
pub(crate) async fn run(shop: Arc<Shop>) {
    let mut queue = shop.store.work();
    let slots = Arc::new(Semaphore::new(CONCURRENT));
    let mut driven = JoinSet::new();
    // The semaphore is never closed. Claiming is not interrupted: an item claimed by a future that is dropped would
    // wait for the end of its lease.
    while let Ok(first) = Arc::clone(&slots).acquire_owned().await {
        let free = u32::try_from(slots.available_permits().saturating_add(1)).unwrap_or(1);
        let items = match queue.next(&[CHECKOUT], free, LEASE).await {
            Ok(items) => items,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "orders cannot be driven");
                tokio::time::sleep(STORE_PAUSE).await;
                continue;
            }
        };
        let mut slot = Some(first);
        for item in items {
            let slot = slot.take().or_else(|| Arc::clone(&slots).try_acquire_owned().ok());
            let shop = Arc::clone(&shop);
            driven.spawn(async move {
                drive(&shop, item).await;
                drop(slot);
            });
        }
        while driven.try_join_next().is_some() {}
    }
}

/// Drives one order until it waits, has ended, or a step's outcome is not known. Its calls belong to the trace of the
/// call that created it; the first one is linked to the payment event that called for it.
async fn drive(shop: &Shop, item: Item) {
    let mut run = Context::detached(None, item.trace.as_ref().and_then(|trace| TraceContext::from_bytes(trace)));
    if let Some(cause) = TraceContext::from_bytes(&item.payload) {
        run = run.linked(cause);
    }
    if let Err(error) = context::scope(run, proceed(shop, &item)).await {
        // The item comes back when its lease ends.
        tracing::error!(error = &error as &dyn std::error::Error, "an order could not be driven");
    }
}

async fn proceed(shop: &Shop, item: &Item) -> Result<(), Error> {
    let mut order = Arc::new(order::load(&shop.store, &item.key).await?);
    loop {
        // At the end of its time an order that waits for something outside stops waiting.
        let is_due = now_ms() >= order.expire_ms && matches!(order.state.on(Event::Due), Verdict::Go(..));
        let event = match (is_due, order.state.step()) {
            (true, _) => Event::Due,
            (false, None) => return rest(shop, order, item.lease).await,
            (false, Some(step)) => match steps::take(&shop.peers, &order, step).await {
                Outcome::Known(event) => event,
                Outcome::Copied(ship_to) => {
                    Arc::make_mut(&mut order).ship_to = Some(ship_to);
                    Event::Done
                }
                Outcome::Unknown(why) => return try_again(shop, order, item, why).await,
            },
        };
        let (lease, before) = (item.lease, Arc::clone(&order));
        order = match shop.store.write(None, move |tx| advance(tx, &before, event, lease)).await? {
            Next::Step(after) => {
                shop.changes.announce(&after);
                after
            }
            Next::Rest(after) => {
                shop.changes.announce(&after);
                return Ok(());
            }
            Next::Again => return try_again(shop, order, item, "refused for now").await,
            Next::Broken => {
                tracing::error!(state = order.state.word(), ?event, "a peer gave an answer that it may not give");
                return try_again(shop, order, item, "an answer that may not be given").await;
            }
            Next::Superseded => Arc::new(order::load(&shop.store, &item.key).await?),
        };
    }
}

/// What comes after an event.
enum Next {
    /// The order's next step.
    Step(Arc<Order>),
    /// Nothing; the order's item was let go.
    Rest(Arc<Order>),
    /// The same step, later.
    Again,
    /// The same step, later, for want of a better answer.
    Broken,
    /// The order has changed meanwhile: look at it anew.
    Superseded,
}

fn advance(tx: &mut dyn Tx, before: &Order, event: Event, lease: Lease) -> Result<Next, Error> {
    Ok(match before.take(tx, event)? {
        Change::Moved(after) if after.state.step().is_some() => Next::Step(after),
        Change::Moved(after) => {
            let_go(tx, &after, lease)?;
            Next::Rest(after)
        }
        Change::None => Next::Again,
        Change::Refused | Change::Broken => Next::Broken,
        Change::Superseded => Next::Superseded,
    })
}

/// Lets go of the item of an order that was read without a step; if it has one by now, the item stays due.
async fn rest(shop: &Shop, order: Arc<Order>, lease: Lease) -> Result<(), Error> {
    let job = move |tx: &mut dyn Tx| {
        let now = Order::load(tx, &order.id)?.ok_or(Error::NotFound("order"))?;
        match now.state.step() {
            None => Ok(let_go(tx, &now, lease)?),
            Some(_) => Ok(WorkQueue::retry(tx, lease, now_ms(), "")?),
        }
    };
    shop.store.write(None, job).await
}

/// An order that waits has its item come back when its time is over; one that has ended needs none.
fn let_go(tx: &mut dyn Tx, order: &Order, lease: Lease) -> Result<(), StoreError> {
    if order.state.has_ended() {
        WorkQueue::done(tx, lease).map(|_| ())
    } else {
        WorkQueue::retry(tx, lease, order.expire_ms, "")
    }
}

async fn try_again(shop: &Shop, order: Arc<Order>, item: &Item, why: &'static str) -> Result<(), Error> {
    let (lease, attempts) = (item.lease, item.attempts);
    tracing::warn!(state = order.state.word(), attempts, why, "a step is taken again");
    let due_ms = now_ms().saturating_add(pause_ms(attempts));
    shop.store.write(None, move |tx| WorkQueue::retry(tx, lease, due_ms, why).map_err(Error::from)).await
}

/// The pause before the next try, in milliseconds, up to a fifth longer or shorter so that orders that failed
/// together do not come back together.
fn pause_ms(attempts: i64) -> i64 {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
    let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    let spread = pause_ms / 5;
    pause_ms.saturating_add(rand::random_range(-spread..=spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_spread_by_a_fifth() {
        for (attempts, expected) in [(0, 50), (1, 50), (2, 100), (5, 800), (9, 12_800), (10, 15_000), (90, 15_000)] {
            for _ in 0..20 {
                let pause = pause_ms(attempts);
                assert!((pause - expected).abs() <= expected / 5, "{attempts}: {pause}");
            }
        }
    }
}
