//! Keeping a copy of the public feed: every change as it comes, from where the last one left off.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use prost::Message;
use sekat_api_feed::v1::product_feed_service_client::ProductFeedServiceClient;
use sekat_api_feed::v1::{FeedChange, FeedProduct, StreamFeedChangesRequest};
use sekat_mesh::Channel;
use sekat_mesh::refusal::reason;
use sekat_store::{StoreError, Tx, Value};
use tonic::{Code, Status, Streaming};

use crate::error::Error;
use crate::rpc::State;

/// Where a new copy starts: before the first change, which brings every product once.
const BEGINNING: &str = "0";
/// Changes that one transaction takes in: a new copy brings them by the thousand.
const BATCH: usize = 64;
/// A page is stale when the feed was out of reach for longer than this.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// The first pause before the stream is opened again after a failure, doubled up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a recovery is noticed within this time.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Whether the copy can be trusted to be recent.
#[derive(Default)]
pub(crate) struct Freshness(Mutex<Reach>);

#[derive(Clone, Copy, Default)]
enum Reach {
    /// Never in this process's life.
    #[default]
    Never,
    /// A stream is open.
    Open,
    /// None is open, since then.
    LostAt(Instant),
}

impl Freshness {
    /// Whether the feed has been out of reach for too long.
    pub(crate) fn is_stale(&self) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Reach::Never => true,
            Reach::Open => false,
            Reach::LostAt(since) => since.elapsed() > STALE_AFTER,
        }
    }

    fn set(&self, reach: Reach) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was lost stays lost since then.
        if !matches!((&*now, &reach), (Reach::LostAt(_) | Reach::Never, Reach::LostAt(_))) {
            *now = reach;
        }
    }
}

/// Follows the feed for as long as the service runs.
pub(crate) async fn follow(state: Arc<State>, mut feed: ProductFeedServiceClient<Channel>) {
    let mut pause = MIN_PAUSE;
    loop {
        match open(&state, &mut feed).await {
            Ok(stream) => {
                let opened = Instant::now();
                state.freshness.set(Reach::Open);
                if let Err(problem) = take_in(&state, stream).await {
                    tracing::warn!(problem, "the product feed broke off; opening it again");
                }
                state.freshness.set(Reach::LostAt(Instant::now()));
                // One that breaks off at once is no recovery.
                if opened.elapsed() > MAX_PAUSE {
                    pause = MIN_PAUSE;
                }
            }
            Err(problem) => tracing::warn!(problem, "the product feed cannot be opened; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(MAX_PAUSE);
    }
}

async fn open(state: &State, feed: &mut ProductFeedServiceClient<Channel>) -> Result<Streaming<FeedChange>, String> {
    let token = state.store.read(|tx| resume_token(tx)).await.map_err(|error| error.to_string())?;
    let request = StreamFeedChangesRequest { resume_token: token };
    let status = match feed.stream_feed_changes(request).await {
        Ok(stream) => return Ok(stream.into_inner()),
        Err(status) => status,
    };
    if reason(&status).as_deref() == Some("RESUME_TOKEN_UNKNOWN") {
        state.store.write(None, forget).await.map_err(|error: StoreError| error.to_string())?;
    }
    Err(code(&status))
}

/// Begins anew: catalog does not know where this copy stands, so that its content means nothing.
fn forget(tx: &mut dyn Tx) -> Result<(), StoreError> {
    tx.exec("DELETE FROM feed_position", &[])?;
    tx.exec("DELETE FROM feed_products", &[])?;
    Ok(())
}

/// Takes changes in until the stream ends; its deadline is an end like any other.
async fn take_in(state: &State, stream: Streaming<FeedChange>) -> Result<(), String> {
    let mut batches = stream.ready_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        let (mut changes, mut end) = (Vec::with_capacity(batch.len()), None);
        for change in batch {
            match change {
                Ok(change) => changes.push(change),
                Err(status) => end = Some(status),
            }
        }
        let apply_all = move |tx: &mut dyn Tx| changes.iter().try_for_each(|change| apply(tx, change));
        state.store.write(None, apply_all).await.map_err(|error: Error| error.to_string())?;
        match end {
            Some(status) if status.code() == Code::DeadlineExceeded => return Ok(()),
            Some(status) => return Err(code(&status)),
            None => {}
        }
    }
    Ok(())
}

fn code(status: &Status) -> String {
    format!("{:?}", status.code())
}

fn resume_token(tx: &mut dyn Tx) -> Result<String, StoreError> {
    let row = tx.optional("SELECT resume_token FROM feed_position WHERE id = 1", &[])?;
    row.map_or_else(|| Ok(BEGINNING.to_owned()), |row| Ok(row.text(0)?.to_owned()))
}

/// One change and the new position, together: applied exactly once.
fn apply(tx: &mut dyn Tx, change: &FeedChange) -> Result<(), Error> {
    match &change.feed_product {
        Some(product) if !change.deleted => upsert(tx, &product.name, product.encode_to_vec().into())?,
        _ => {
            tx.exec("DELETE FROM pins WHERE product = $1", &[Value::from(&change.name)])?;
            upsert(tx, &change.name, Value::Null)?;
        }
    }
    tx.exec(
        "INSERT INTO feed_position (id, resume_token) VALUES (1, $1)
         ON CONFLICT (id) DO UPDATE SET resume_token = excluded.resume_token",
        &[Value::from(&change.resume_token)],
    )?;
    Ok(())
}

fn upsert(tx: &mut dyn Tx, name: &str, feed_product: Value) -> Result<(), Error> {
    tx.exec(
        "INSERT INTO feed_products (id, feed_product) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET feed_product = excluded.feed_product",
        &[Value::from(name), feed_product],
    )?;
    Ok(())
}

/// Keeps a product that was fetched, unless the stream has brought word of it since: that is newer.
pub(crate) fn keep_if_unknown(tx: &mut dyn Tx, product: &FeedProduct) -> Result<(), Error> {
    tx.exec(
        "INSERT INTO feed_products (id, feed_product) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
        &[Value::from(&product.name), Value::from(product.encode_to_vec())],
    )?;
    Ok(())
}

/// The copy of a product.
///
/// # Errors
/// [`Error::UnknownProduct`] if the stream has brought no word of it, [`Error::NotFound`] if it is no longer offered.
pub(crate) fn product(tx: &mut dyn Tx, name: &str) -> Result<FeedProduct, Error> {
    let row = tx.optional("SELECT feed_product FROM feed_products WHERE id = $1", &[Value::from(name)])?;
    decode(row.ok_or(Error::UnknownProduct)?.opt_bytes(0)?.ok_or(Error::NotFound("product"))?)
}

/// A product as it is stored.
pub(crate) fn decode(stored: &[u8]) -> Result<FeedProduct, Error> {
    FeedProduct::decode(stored).map_err(|_| Error::Damaged("a feed product"))
}
