//! Stock levels and prices as they are now.

use sekat_api_catalog::API;
use sekat_api_catalog::v1::pricing_service_client::PricingServiceClient;
use sekat_api_catalog::v1::{Listing, QuoteLine, QuotePricesRequest, QuotePricesResponse};
use sekat_testkit::{Caller, refused};
use tonic::{Code, Status};

use crate::{SARI, Shop, rupiah, shirt};

async fn quote(caller: &Caller, lines: &[(&str, i32)]) -> Result<QuotePricesResponse, Status> {
    let lines = lines.iter().map(|(sku, quantity)| QuoteLine { sku: (*sku).to_owned(), quantity: *quantity });
    let request = QuotePricesRequest { lines: lines.collect() };
    Ok(PricingServiceClient::new(caller.channel(&API)).quote_prices(request).await?.into_inner())
}

#[tokio::test]
async fn a_stale_etag_loses_no_sale() {
    let shop = Shop::open().await;
    let read = shop.offer(SARI, shirt(&["A"], 10)).await.unwrap();
    let sku = read.skus[0].sku.as_str();
    shop.hold("sold", &[(sku, 3)], 3_600).await.unwrap();
    shop.commit("sold").await.unwrap();
    // The seller writes back what they read before the sale.
    let written = Listing { name: read.name.clone(), skus: read.skus.clone(), ..Listing::default() };
    refused(shop.change(SARI, written, "skus", &read.etag).await, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(shop.listing(SARI, &read.name).await.unwrap().skus[0].on_hand, 7);

    let level = shop.set_stock(SARI, sku, 8, "").await.unwrap();
    refused(shop.set_stock(SARI, sku, 9, "1").await, Code::Aborted, "ETAG_MISMATCH");
    shop.set_stock(SARI, sku, 9, &level.etag).await.unwrap();
    refused(shop.set_stock(SARI, sku, -1, "").await, Code::InvalidArgument, "INVALID_ARGUMENT");
    refused(shop.set_stock(SARI, &format!("{sku}x"), 1, "").await, Code::NotFound, "NOT_FOUND");
}

#[tokio::test]
async fn a_quote_is_exact_and_marks_what_cannot_be_had() {
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["A", "B"], 5)).await.unwrap();
    let (a, b) = (made.skus[0].sku.as_str(), made.skus[1].sku.as_str());
    let quoted = quote(&shop.order, &[(a, 2), (b, 6)]).await.unwrap();
    assert_eq!(quoted.total, Some(rupiah(250_000)));
    let [first, second] = quoted.lines.as_slice() else { panic!() };
    assert!(first.available && first.line_total == Some(rupiah(250_000)));
    assert_eq!((first.title.as_str(), first.merchant.as_str()), ("Kemeja batik (A, Merah)", SARI));
    assert!(!first.seller_display_name.is_empty() && !first.operator_display_name.is_empty());
    assert!(!second.available && second.unit_price.is_none() && second.line_total.is_none());

    // Two lines of one sku are counted together, as they would be held.
    let together = quote(&shop.order, &[(a, 3), (a, 3)]).await.unwrap();
    assert!(together.lines.iter().all(|line| !line.available));
    assert_eq!(together.total, Some(rupiah(0)));
    assert!(quote(&shop.order, &[(a, 2), (a, 3)]).await.unwrap().lines.iter().all(|line| line.available));

    shop.admit(SARI, "Batik Sari", false).await.unwrap();
    assert!(!quote(&shop.order, &[(a, 1)]).await.unwrap().lines[0].available);
    refused(quote(&shop.order, &[]).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    refused(quote(&shop.order, &[(a, 1_000)]).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    refused(quote(&shop.edge, &[(a, 1)]).await, Code::PermissionDenied, "POLICY_DENIED");
}
