//! Keeping a copy of the public feed: every change as it comes, from where the last one left off.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use prost::Message;
use sekat_api_feed::v1::product_feed_service_client::ProductFeedServiceClient;
use sekat_api_feed::v1::{FeedChange, FeedProduct, StreamFeedChangesRequest};
use sekat_mesh::Channel;
use sekat_store::{StoreError, Tx, Value};
use tonic::Streaming;

use crate::error::Error;
use crate::rpc::State;

/// Where a new copy starts: before the first change, which brings every product once.
const BEGINNING: &str = "0";
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
                state.freshness.set(Reach::Open);
                match take_in(&state, stream).await {
                    Ok(()) => pause = MIN_PAUSE,
                    Err(problem) => tracing::warn!(problem, "the product feed broke off; opening it again"),
                }
                state.freshness.set(Reach::LostAt(Instant::now()));
            }
            Err(problem) => tracing::warn!(problem, "the product feed cannot be opened; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(MAX_PAUSE);
    }
}

async fn open(
    state: &State,
    feed: &mut ProductFeedServiceClient<Channel>,
) -> Result<Streaming<FeedChange>, String> {
    let token = state.store.read(|tx| resume_token(tx)).await.map_err(|error| error.to_string())?;
    let request = StreamFeedChangesRequest { resume_token: token };
    feed.stream_feed_changes(request).await.map(tonic::Response::into_inner).map_err(|status| code(&status))
}

/// Takes changes in until the stream ends; its deadline is an end like any other.
async fn take_in(state: &State, mut stream: Streaming<FeedChange>) -> Result<(), String> {
    loop {
        match stream.message().await {
            Ok(Some(change)) => {
                let store = &state.store;
                let written = store.write::<_, Error>(None, move |tx| apply(tx, &change)).await;
                written.map_err(|error| error.to_string())?;
            }
            Ok(None) => return Ok(()),
            Err(status) if status.code() == tonic::Code::DeadlineExceeded => return Ok(()),
            Err(status) => return Err(code(&status)),
        }
    }
}

fn code(status: &tonic::Status) -> String {
    format!("{:?}", status.code())
}

fn resume_token(tx: &mut dyn Tx) -> Result<String, StoreError> {
    let row = tx.optional("SELECT resume_token FROM feed_position WHERE id = 1", &[])?;
    row.map_or_else(|| Ok(BEGINNING.to_owned()), |row| Ok(row.text(0)?.to_owned()))
}

/// One change and the new position, together: applied exactly once.
fn apply(tx: &mut dyn Tx, change: &FeedChange) -> Result<(), Error> {
    match &change.feed_product {
        Some(product) if !change.deleted => keep(tx, product)?,
        _ => {
            tx.exec("DELETE FROM pins WHERE product = $1", &[Value::from(&change.name)])?;
            tx.exec("DELETE FROM feed_products WHERE id = $1", &[Value::from(&change.name)])?;
        }
    }
    tx.exec(
        "INSERT INTO feed_position (id, resume_token) VALUES (1, $1)
         ON CONFLICT (id) DO UPDATE SET resume_token = excluded.resume_token",
        &[Value::from(&change.resume_token)],
    )?;
    Ok(())
}

/// Keeps a product as the feed gave it.
pub(crate) fn keep(tx: &mut dyn Tx, product: &FeedProduct) -> Result<(), Error> {
    tx.exec(
        "INSERT INTO feed_products (id, feed_product) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET feed_product = excluded.feed_product",
        &[Value::from(&product.name), Value::from(product.encode_to_vec())],
    )?;
    Ok(())
}

/// The copy of a product.
pub(crate) fn product(tx: &mut dyn Tx, name: &str) -> Result<Option<FeedProduct>, Error> {
    let row = tx.optional("SELECT feed_product FROM feed_products WHERE id = $1", &[Value::from(name)])?;
    row.map(|row| FeedProduct::decode(row.bytes(0)?).map_err(|_| Error::Damaged("a feed product"))).transpose()
}
