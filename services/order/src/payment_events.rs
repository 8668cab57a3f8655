//! News of payments: read from payment's stream, let loose on the orders, and remembered, all in one transaction, so
//! that each event counts once and none is lost. The stream ends now and then and is opened again where it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use sekat_api_payment::v1::{PaymentEvent, PaymentEventType, WatchPaymentEventsRequest};
use sekat_mesh::context::{self, Context, TraceContext};
use sekat_mesh::refusal::reason;
use sekat_store::Tx;
use tonic::{Code, Status};

use crate::error::Error;
use crate::order::{Change, Order};
use crate::saga::Event;
use crate::shop::Shop;

/// Events that one transaction takes in: enough to share a commit, few enough to keep it short.
const BATCH: usize = 64;

/// Before a stream is opened again, also one that ended in order: doubled with each failure, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long one stream lasts: a peer that has gone silent is noticed by then.
const STREAM_TIME: Duration = Duration::from_mins(1);

/// Takes in news for as long as the service runs.
pub(crate) async fn run(shop: Arc<Shop>) {
    let mut pause = FIRST_PAUSE;
    loop {
        // Each stream is a trace of its own; what it leads to belongs to the orders' traces.
        let stream = Context::detached(Some(Instant::now() + STREAM_TIME), None);
        pause = match context::scope(stream, follow(&shop)).await {
            Ok(()) => FIRST_PAUSE,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "payment events are interrupted");
                pause.saturating_mul(2).min(LONGEST_PAUSE)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Follows the stream until it ends; an end in order, at its deadline for instance, is no error.
async fn follow(shop: &Shop) -> Result<(), Error> {
    let resume_token = shop.store.read(resume_token).await?;
    let request = WatchPaymentEventsRequest { resume_token };
    let stream = shop.peers.payment_events.clone().watch_payment_events(request).await.map_err(lost)?;
    let mut batches = stream.into_inner().ready_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        let mut events = Vec::with_capacity(batch.len());
        let mut ending = None;
        for event in batch {
            match event {
                Ok(event) => events.push(event),
                Err(status) => ending = Some(status),
            }
        }
        if !events.is_empty() {
            let changed = shop.store.write(None, move |tx| take_in(tx, &events)).await?;
            changed.iter().for_each(|order| shop.changes.announce(order));
        }
        match ending {
            None => {}
            Some(status) if is_orderly(&status) => return Ok(()),
            Some(status) => return Err(lost(status)),
        }
    }
    Ok(())
}

/// The ends that a long stream meets: its time is over, or its connection's.
fn is_orderly(status: &Status) -> bool {
    status.code() == Code::DeadlineExceeded || reason(status).as_deref() == Some("CONNECTION_ENDING")
}

fn lost(status: Status) -> Error {
    Error::Peer { peer: "payment", status: Box::new(status) }
}

fn resume_token(tx: &mut dyn Tx) -> Result<String, Error> {
    let row = tx.optional("SELECT resume_token FROM payment_events WHERE id = 1", &[])?;
    row.map_or_else(|| Ok(String::new()), |row| Ok(row.text(0)?.to_owned()))
}

/// Lets events change their orders; returns those that changed.
fn take_in(tx: &mut dyn Tx, events: &[PaymentEvent]) -> Result<Vec<Arc<Order>>, Error> {
    let mut changed = Vec::new();
    for news in events {
        let Some(event) = meaning(news.r#type()) else { continue };
        let Some(id) = news.order.strip_prefix("orders/") else { continue };
        let Some(order) = Order::load(tx, id)?.filter(|order| names_payment_of(news, order)) else {
            // This store was set back to an older state, which does not know the order.
            tracing::error!("an event of a payment whose order is not known was passed over");
            continue;
        };
        if let Change::Moved(after) = order.take(tx, event)? {
            after.wake(tx, TraceContext::from_traceparent(news.traceparent.as_bytes()))?;
            changed.push(after);
        }
    }
    if let Some(last) = events.last() {
        tx.exec(
            "INSERT INTO payment_events (id, resume_token) VALUES (1, $1)
             ON CONFLICT (id) DO UPDATE SET resume_token = excluded.resume_token",
            &[last.resume_token.as_str().into()],
        )?;
    }
    Ok(changed)
}

fn names_payment_of(news: &PaymentEvent, order: &Order) -> bool {
    news.payment_intent.strip_prefix("paymentIntents/") == Some(order.payment_intent_id().as_str())
}

/// What an event means to an order. CAPTURED is the echo of the order's own capture; the answer to that counts.
fn meaning(news: PaymentEventType) -> Option<Event> {
    match news {
        PaymentEventType::Authorized => Some(Event::Authorized),
        PaymentEventType::Canceled => Some(Event::Ended),
        PaymentEventType::Failed => Some(Event::Declined),
        PaymentEventType::PaidLate => Some(Event::PaidLate),
        PaymentEventType::Captured | PaymentEventType::Unspecified => None,
    }
}
