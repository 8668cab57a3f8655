//! Telling catalog of a new business, until catalog has confirmed it.

use std::time::Duration;

use futures_util::future::join_all;
use sekat_api_catalog::v1::SetMerchantListingStateRequest;
use sekat_api_catalog::v1::listing_gate_service_client::ListingGateServiceClient;
use sekat_mesh::Channel;
use sekat_mesh::context::{self, Context, TraceContext};
use sekat_store::{Item, NewItem, Store, Tx, WorkQueue, now_ms};

use crate::error::Error;
use crate::read_merchant::{self, Owned};

/// The kind of the work items.
const KIND: &str = "announce";
/// Announcements at the same time.
const AT_ONCE: u32 = 8;
/// How long a worker may hold one: several times the deadline of its call.
const LEASE: Duration = Duration::from_secs(30);
/// What catalog gets for one call.
const DEADLINE: Duration = Duration::from_secs(5);
/// The first pause after a failure, doubled with each attempt up to [`MAX_PAUSE_MS`].
const MIN_PAUSE_MS: i64 = 100;
/// The longest pause: catalog is told within this time after it is back.
const MAX_PAUSE_MS: i64 = 10_000;
/// The pause after the store refused to hand out work.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Notes, in the transaction of the registration, that catalog has to be told.
pub(crate) fn enqueue(tx: &mut dyn Tx, merchant: &str, trace: [u8; 25]) -> Result<(), Error> {
    let item = NewItem { kind: KIND, key: merchant, payload: &[], trace: Some(trace), due_ms: now_ms() };
    WorkQueue::enqueue_or_reschedule(tx, item)?;
    Ok(())
}

/// Delivers announcements for as long as the service runs.
pub(crate) async fn work(store: Store, gate: ListingGateServiceClient<Channel>) {
    let mut queue = store.work();
    loop {
        match queue.next(&[KIND], AT_ONCE, LEASE).await {
            Ok(items) => {
                // Within this task, so that nothing holds the store when the service has drained.
                join_all(items.into_iter().map(|item| deliver(store.clone(), gate.clone(), item))).await;
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "announcements wait for the store");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
}

async fn deliver(store: Store, gate: ListingGateServiceClient<Channel>, item: Item) {
    let parent = item.trace.as_ref().and_then(|bytes| TraceContext::from_bytes(bytes));
    let deadline = std::time::Instant::now().checked_add(DEADLINE);
    let told = context::scope(Context::detached(deadline, parent), tell(&store, gate, &item.key)).await;
    let lease = item.lease;
    let noted = match told {
        Ok(()) => store.write::<_, Error>(None, move |tx| Ok(WorkQueue::done(tx, lease).map(drop)?)).await,
        Err(problem) => {
            tracing::warn!(problem, "catalog could not be told of a merchant; trying again");
            let doublings = u32::try_from(item.attempts.clamp(1, 16)).unwrap_or(1).saturating_sub(1);
            let pause = MIN_PAUSE_MS.saturating_mul(1 << doublings).min(MAX_PAUSE_MS);
            let due_ms = now_ms().saturating_add(pause);
            store.write::<_, Error>(None, move |tx| Ok(WorkQueue::retry(tx, lease, due_ms, &problem)?)).await
        }
    };
    if let Err(error) = noted {
        // The lease runs out by itself, and telling twice is harmless.
        tracing::error!(error = &error as &dyn std::error::Error, "an announcement could not be noted");
    }
}

async fn tell(store: &Store, mut gate: ListingGateServiceClient<Channel>, id: &str) -> Result<(), String> {
    let id = id.to_owned();
    let found = store.read(move |tx| read_merchant::by_id(tx, &id)).await.map_err(|error| error.to_string())?;
    let Some(Owned { merchant, .. }) = found else { return Ok(()) };
    // The etag makes a later change of the business a request of its own.
    let request_id = format!("{}-{}", merchant.name.replace('/', "-"), merchant.etag);
    let request = SetMerchantListingStateRequest {
        merchant: merchant.name,
        display_name: merchant.display_name,
        city: merchant.city,
        admitted: true,
        request_id,
    };
    gate.set_merchant_listing_state(request).await.map(drop).map_err(|status| format!("{:?}", status.code()))
}
