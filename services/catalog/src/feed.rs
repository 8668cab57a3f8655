//! The public feed: what changed, in order, and whoever waits for it.

use sekat_api_catalog::v1::StockStatus;
use sekat_api_feed::v1::{
    BatchGetFeedProductsRequest, BatchGetFeedProductsResponse, FeedChange, FeedProduct, FeedSku,
    ListFeedProductsRequest, ListFeedProductsResponse, StockStatus as FeedStockStatus,
};
use sekat_service::{Page, timestamp};
use sekat_store::{FilterDigest, Tx, Value, now_ms};
use tokio::sync::watch;

use crate::batch::names_of_batch;
use crate::error::Error;
use crate::product::{self, Query, Stored, stock_status};
use crate::rpc::State;

/// Changes that are read at once.
const BATCH: i64 = 100;
/// The token that stands before the first change: a new reader gets every product once.
const BEGINNING: &str = "0";

/// Wakes the streams after a commit.
pub(crate) struct News(watch::Sender<u64>);

impl News {
    pub(crate) fn new() -> Self {
        Self(watch::channel(0).0)
    }

    /// Says that something may have changed. To be called after COMMIT.
    pub(crate) fn announce(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Notes, in the transaction of the change, that a product changed.
pub(crate) fn changed(tx: &mut dyn Tx, product: &str) -> Result<(), Error> {
    tx.exec(
        "INSERT INTO feed_changes (product, seq)
         SELECT $1, COALESCE(MAX(seq), 0) + 1 FROM feed_changes WHERE 1 = 1
         ON CONFLICT (product) DO UPDATE SET seq = excluded.seq",
        &[Value::from(product)],
    )?;
    Ok(())
}

/// Notes that the pieces that can be had of a variant changed, if the feed shows it. A change for each sale would let
/// whoever reads the feed count them.
pub(crate) fn stock_changed(tx: &mut dyn Tx, product: &str, before: i64, after: i64) -> Result<(), Error> {
    if stock_status(before) == stock_status(after) {
        return Ok(());
    }
    tx.exec("UPDATE products SET update_ms = $2 WHERE id = $1", &[Value::from(product), now_ms().into()])?;
    changed(tx, product)
}

/// The products that exist, in the order of the request.
pub(crate) async fn batch_get(
    state: &State,
    request: BatchGetFeedProductsRequest,
) -> Result<BatchGetFeedProductsResponse, Error> {
    let ids = names_of_batch(&request.names)?;
    let operator = state.operator.clone();
    let feed_products = state
        .store
        .read::<_, Error>(move |tx| {
            let mut found = Vec::new();
            for id in &ids {
                found.extend(product::load_offered(tx, id)?.map(|product| for_feed(&product, &operator)));
            }
            Ok(found)
        })
        .await?;
    Ok(BatchGetFeedProductsResponse { feed_products })
}

/// One page of offered products.
pub(crate) async fn list(state: &State, request: ListFeedProductsRequest) -> Result<ListFeedProductsResponse, Error> {
    let filter = FilterDigest::new("ListFeedProducts", &[request.category.as_bytes()]);
    let page = Page::new(state.store.pages(), filter, &request.page_token, request.page_size, (50, 200))?;
    let query = Query { words: Vec::new(), category: request.category };
    let products = product::select(state, query, &page).await?;
    let rows = products.iter().map(|product| (product.id.clone(), for_feed(product, &state.operator)));
    let (feed_products, next_page_token) = page.cut(rows)?;
    Ok(ListFeedProductsResponse { feed_products, next_page_token })
}

/// Where a stream that starts with this token begins: after the change with this number.
pub(crate) async fn position(state: &State, resume_token: &str) -> Result<i64, Error> {
    let newest = "SELECT COALESCE(MAX(seq), 0) FROM feed_changes";
    let newest = state.store.read::<_, Error>(move |tx| Ok(tx.one(newest, &[])?.int(0)?)).await?;
    match resume_token {
        "" => Ok(newest),
        BEGINNING => Ok(0),
        token => {
            // What this store did not sign is another store's, and what it has not reached it has lost: in both cases
            // the reader's copy is of something else.
            let seq = state.store.pages().decode(tokens(), token).ok().and_then(|seq| seq.parse().ok());
            seq.filter(|seq| *seq <= newest).ok_or(Error::UnknownResumeToken)
        }
    }
}

fn tokens() -> FilterDigest {
    FilterDigest::new("StreamFeedChanges", &[])
}

/// The changes after a number, oldest first, and the number of the last of them.
pub(crate) async fn after(state: &State, seq: i64) -> Result<Vec<(i64, FeedChange)>, Error> {
    let (operator, pages) = (state.operator.clone(), state.store.pages().clone());
    state
        .store
        .read::<_, Error>(move |tx| {
            let rows = tx.rows(
                "SELECT seq, product FROM feed_changes WHERE seq > $1 ORDER BY seq LIMIT $2",
                &[seq.into(), BATCH.into()],
            )?;
            let mut changes = Vec::new();
            for row in &rows {
                let (seq, id) = (row.int(0)?, row.text(1)?);
                let feed_product = product::load_offered(tx, id)?.map(|product| for_feed(&product, &operator));
                let change = FeedChange {
                    resume_token: pages.encode(tokens(), &seq.to_string())?,
                    name: format!("products/{id}"),
                    deleted: feed_product.is_none(),
                    feed_product,
                };
                changes.push((seq, change));
            }
            Ok(changes)
        })
        .await
}

fn for_feed(product: &Stored, operator: &str) -> FeedProduct {
    let skus = product.skus.iter().map(|sku| FeedSku {
        name: product.sku_name(sku),
        label: sku.label(),
        unit: sku.unit.clone(),
        price: Some(sku.price.into()),
        stock_status: bucket(stock_status(sku.available())).into(),
    });
    FeedProduct {
        name: product.name(),
        title: product.title.clone(),
        category: product.category.clone(),
        image_uri: product.image_uri.clone(),
        seller_display_name: product.seller_display_name.clone(),
        operator_display_name: operator.to_owned(),
        skus: skus.collect(),
        update_time: Some(timestamp(product.update_ms)),
    }
}

const fn bucket(status: StockStatus) -> FeedStockStatus {
    match status {
        StockStatus::Unspecified => FeedStockStatus::Unspecified,
        StockStatus::InStock => FeedStockStatus::InStock,
        StockStatus::Low => FeedStockStatus::Low,
        StockStatus::Out => FeedStockStatus::Out,
    }
}
