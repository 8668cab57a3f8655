//! The feed: all that the showcase domain ever sees, in order, resumable, and without a count.

use sekat_api_catalog::v1::Listing;
use sekat_api_feed::API;
use sekat_api_feed::v1::product_feed_service_client::ProductFeedServiceClient;
use sekat_api_feed::v1::{
    BatchGetFeedProductsRequest, FeedChange, ListFeedProductsRequest, StockStatus, StreamFeedChangesRequest,
};
use sekat_mesh::Channel;
use sekat_testkit::{Caller, PATIENCE, refused, tampered};
use tonic::{Code, Status, Streaming};

use crate::{SARI, Shop, request_id, rupiah, shirt};

fn feed(caller: &Caller) -> ProductFeedServiceClient<Channel> {
    ProductFeedServiceClient::new(caller.channel(&API))
}

async fn changes(caller: &Caller, resume_token: &str) -> Result<Streaming<FeedChange>, Status> {
    let request = StreamFeedChangesRequest { resume_token: resume_token.to_owned() };
    Ok(feed(caller).stream_feed_changes(request).await?.into_inner())
}

async fn next(changes: &mut Streaming<FeedChange>) -> FeedChange {
    tokio::time::timeout(PATIENCE, changes.message()).await.expect("a change comes").unwrap().unwrap()
}

impl Shop {
    async fn reprice(&self, listing: &Listing, units: i64) {
        let mut skus = self.listing(SARI, &listing.name).await.unwrap().skus;
        skus.iter_mut().for_each(|sku| sku.price = Some(rupiah(units)));
        let listing = Listing { name: listing.name.clone(), skus, ..Listing::default() };
        self.change(SARI, listing, "skus", "").await.unwrap();
    }
}

fn price(change: &FeedChange) -> i64 {
    change.feed_product.as_ref().unwrap().skus[0].price.as_ref().unwrap().units
}

#[tokio::test]
async fn a_reader_resumes_where_it_was_and_gets_the_latest_of_each() {
    let shop = Shop::open().await;
    let showcase = shop.world.caller("showcase").await;
    let mut made = Vec::new();
    for code in ["A", "B", "C"] {
        made.push(shop.offer(SARI, shirt(&[code], 50)).await.unwrap());
    }
    let mut from_the_start = changes(&showcase, "0").await.unwrap();
    let mut token = String::new();
    for listing in &made {
        let change = next(&mut from_the_start).await;
        assert_eq!((&change.name, change.deleted), (&listing.product, false));
        token = change.resume_token;
        assert!(token.len() <= 64, "the contract's limit");
    }
    shop.reprice(&made[1], 200_000).await;
    let live = next(&mut from_the_start).await;
    assert_eq!((live.name.as_str(), price(&live)), (made[1].product.as_str(), 200_000));
    drop(from_the_start);

    // While nobody reads: a change, a later one of the same, a withdrawal, and a restart.
    shop.reprice(&made[0], 300_000).await;
    shop.withdraw(SARI, &made[2].name, "", request_id()).await.unwrap();
    shop.reprice(&made[0], 400_000).await;
    let shop = shop.restarted().await;
    let mut resumed = changes(&showcase, &token).await.unwrap();
    let (first, second, third) = (next(&mut resumed).await, next(&mut resumed).await, next(&mut resumed).await);
    assert_eq!((first.name.as_str(), price(&first)), (made[1].product.as_str(), 200_000));
    assert_eq!((second.name.as_str(), second.deleted, second.feed_product), (made[2].product.as_str(), true, None));
    assert_eq!((third.name.as_str(), price(&third)), (made[0].product.as_str(), 400_000));

    // From now on: nothing of what was.
    let mut news = changes(&showcase, "").await.unwrap();
    shop.reprice(&made[1], 500_000).await;
    assert_eq!(price(&next(&mut news).await), 500_000);
    assert_eq!(price(&next(&mut resumed).await), 500_000);

    for token in ["x", "-1", "3", &tampered(&token)] {
        refused(changes(&showcase, token).await.map(drop), Code::InvalidArgument, "RESUME_TOKEN_UNKNOWN");
    }
}

#[tokio::test]
async fn sales_show_as_buckets_and_never_as_counts() {
    let shop = Shop::open().await;
    let showcase = shop.world.caller("showcase").await;
    let made = shop.offer(SARI, shirt(&["A"], 12)).await.unwrap();
    let sku = made.skus[0].sku.as_str();
    let mut news = changes(&showcase, "").await.unwrap();
    let status = |change: &FeedChange| change.feed_product.as_ref().unwrap().skus[0].stock_status();

    // 12, 11, then 10: one change. 10 to 1: none. The last one: one. Its sale: none. Given back: one.
    for (id, quantity) in [("one-", 1), ("two-", 1), ("three", 5), ("four", 4), ("five", 1)] {
        shop.hold(id, &[(sku, quantity)], 3_600).await.unwrap();
    }
    shop.commit("five").await.unwrap();
    shop.release("four").await.unwrap();
    shop.reprice(&made, 200_000).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(_, units)| *units != 200_000) {
        let change = next(&mut news).await;
        seen.push((status(&change), price(&change)));
    }
    // A reader that is slower than the sales gets the latest of several changes.
    assert!(seen.len() <= 4 && seen.iter().all(|(status, _)| *status != StockStatus::InStock), "{seen:?}");
    assert_eq!(seen.last(), Some(&(StockStatus::Low, 200_000)));

    // Nor does the time of change tell of a sale.
    let get = async || {
        let request = BatchGetFeedProductsRequest { names: vec![made.product.clone()] };
        feed(&showcase).batch_get_feed_products(request).await.unwrap().into_inner().feed_products
    };
    let before = get().await;
    shop.commit("one-").await.unwrap();
    shop.commit("two-").await.unwrap();
    assert_eq!(get().await, before);
}

#[tokio::test]
async fn reads_leave_out_what_is_not_offered() {
    let shop = Shop::open().await;
    let showcase = shop.world.caller("showcase").await;
    let (a, b) = (shop.offer(SARI, shirt(&["A"], 1)).await.unwrap(), shop.offer(SARI, shirt(&["B"], 1)).await.unwrap());
    shop.withdraw(SARI, &b.name, "", request_id()).await.unwrap();
    let batch =
        BatchGetFeedProductsRequest { names: vec![b.product.clone(), a.product.clone(), "products/none".to_owned()] };
    let found = feed(&showcase).batch_get_feed_products(batch).await.unwrap().into_inner().feed_products;
    assert_eq!(found.iter().map(|product| product.name.as_str()).collect::<Vec<_>>(), [a.product.as_str()]);
    assert_eq!(found[0].seller_display_name, "Batik Sari");
    let all = feed(&showcase).list_feed_products(ListFeedProductsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.feed_products, found);
    let empty = BatchGetFeedProductsRequest { names: Vec::new() };
    refused(feed(&showcase).batch_get_feed_products(empty).await, Code::InvalidArgument, "INVALID_ARGUMENT");

    let mut news = changes(&showcase, "").await.unwrap();
    shop.admit(SARI, "Batik Sari", false).await.unwrap();
    let hidden = next(&mut news).await;
    assert_eq!((hidden.name.as_str(), hidden.deleted), (a.product.as_str(), true));
}

#[tokio::test]
async fn the_showcase_reaches_the_feed_and_nothing_else_and_nobody_else_the_feed() {
    let shop = Shop::open().await;
    let showcase = shop.world.caller("showcase").await;
    feed(&showcase).list_feed_products(ListFeedProductsRequest::default()).await.unwrap();
    for caller in [&shop.edge, &shop.order] {
        let denied = feed(caller).list_feed_products(ListFeedProductsRequest::default()).await;
        refused(denied, Code::PermissionDenied, "POLICY_DENIED");
    }
    let channel = showcase.channel(&sekat_api_catalog::API);
    let mut products = sekat_api_catalog::v1::product_service_client::ProductServiceClient::new(channel);
    let request = sekat_api_catalog::v1::ListProductsRequest::default();
    let at_tls = products.list_products(request).await.unwrap_err();
    assert_eq!(at_tls.code(), Code::Unavailable, "{at_tls:?}");
}
