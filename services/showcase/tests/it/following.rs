//! The copy of the feed: fresh while commerce is there, drawn as stale while it is not, and right again afterwards.

use sekat_api_showcase::v1::{Pin, StockStatus};
use sekat_testkit::refused;
use tonic::Code;

use crate::{CREATOR, Commerce, Stage, start_catalog};

fn price(pin: &Pin) -> i64 {
    pin.price.as_ref().unwrap().units
}

#[tokio::test]
async fn what_changes_in_commerce_changes_on_the_page() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let page = stage.open_page(CREATOR, "Pilihan Sari").await.unwrap().name;
    let (stays, goes) = (commerce.offer("Kemeja", &["A", "B"]).await, commerce.offer("Sarung", &["C"]).await);
    for (index, sku) in [&stays.skus[0], &goes.skus[0], &stays.skus[1]].into_iter().enumerate() {
        stage.pin(CREATOR, &page, &sku.sku, &format!("pin-{index}")).await.unwrap();
    }
    stage.until("it is fresh", &page, |page| page.pins.iter().all(|pin| !pin.stale)).await;

    commerce.reprice(&stays, 30_000).await;
    stage.until("the price is new", &page, |page| price(&page.pins[0]) == 30_000).await;
    commerce.withdraw(&goes).await;
    let drawn = stage.until("the product is gone", &page, |page| page.pins.len() == 2).await;
    assert_eq!(drawn.pins.iter().map(|pin| pin.rank).collect::<Vec<_>>(), [1, 2]);
    assert!(drawn.pins.iter().all(|pin| pin.product == stays.product && !pin.stale));
    let again = stage.pin(CREATOR, &page, &goes.skus[0].sku, "pin-again").await;
    refused(again, Code::NotFound, "NOT_FOUND");

    // A variant that is no longer offered cannot be had.
    let one = sekat_api_catalog::v1::Listing { skus: vec![stays.skus[0].clone()], ..stays.clone() };
    commerce.reprice(&one, 30_000).await;
    stage.until("B is gone", &page, |page| page.pins[1].stock_status() == StockStatus::Out).await;
}

#[tokio::test]
async fn without_commerce_pages_are_drawn_as_stale_and_recover() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let page = stage.open_page(CREATOR, "Pilihan Sari").await.unwrap().name;
    let (stays, goes) = (commerce.offer("Kemeja", &["A"]).await, commerce.offer("Sarung", &["C"]).await);
    let pin = stage.pin(CREATOR, &page, &stays.skus[0].sku, "stays").await.unwrap();
    stage.pin(CREATOR, &page, &goes.skus[0].sku, "goes").await.unwrap();
    stage.until("it is fresh", &page, |page| page.pins.iter().all(|pin| !pin.stale)).await;

    commerce.catalog.stop().await;
    let stale = stage.until("it is stale", &page, |page| page.pins.iter().all(|pin| pin.stale)).await;
    assert_eq!(stale.pins[0], Pin { stale: true, ..pin.clone() }, "all else is as it was");
    let unknown = stage.pin(CREATOR, &page, "products/none/skus/A", "unknown").await;
    refused(unknown, Code::Unavailable, "FEED_UNREACHABLE");
    let repeated = stage.pin(CREATOR, &page, &stays.skus[0].sku, "stays").await.unwrap();
    assert_eq!(repeated.name, pin.name, "a repetition needs no commerce");
    // A showcase that starts without commerce has its copy, and does not claim to be fresh.
    let stage = stage.restarted().await;
    assert!(stage.page(&page).await.unwrap().pins.iter().all(|pin| pin.stale));

    let catalog = start_catalog(&stage.world).await;
    stage.until("it is fresh again", &page, |page| page.pins.iter().all(|pin| !pin.stale)).await;
    let commerce = Commerce { catalog, ..commerce };
    commerce.reprice(&stays, 40_000).await;
    commerce.withdraw(&goes).await;
    let drawn = stage.until("the changes are there", &page, |page| page.pins.len() == 1).await;
    assert_eq!(price(&drawn.pins[0]), 40_000);
}

#[tokio::test]
async fn a_catalog_that_lost_its_store_is_followed_from_its_beginning() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let page = stage.open_page(CREATOR, "Pilihan Sari").await.unwrap().name;
    for code in ["A", "B", "C"] {
        let listing = commerce.offer("Kemeja", &[code]).await;
        stage.pin(CREATOR, &page, &listing.skus[0].sku, code).await.unwrap();
    }
    stage.until("it is fresh", &page, |page| page.pins.iter().all(|pin| !pin.stale)).await;
    // The copy has seen three changes; the new catalog makes one.
    let seen = commerce.offer("Sarung", &["D"]).await;
    stage.pin(CREATOR, &page, &seen.skus[0].sku, "D").await.unwrap();
    commerce.reprice(&seen, 99_000).await;
    stage.until("all changes are there", &page, |page| page.pins.iter().any(|pin| price(pin) == 99_000)).await;

    commerce.catalog.stop().await;
    std::fs::remove_dir_all(stage.world.path("data/catalog")).unwrap();
    let commerce = Commerce::open(&stage.world).await;
    let new = commerce.offer("Kain", &["A"]).await;
    stage.until("what was is gone", &page, |page| page.pins.is_empty()).await;
    stage.pin(CREATOR, &page, &new.skus[0].sku, "new").await.unwrap();
    commerce.reprice(&new, 50_000).await;
    let drawn = stage.until("the new feed is followed", &page, |page| price(&page.pins[0]) == 50_000).await;
    assert_eq!((drawn.pins.len(), drawn.pins[0].rank), (1, 1));
    let order = vec![drawn.pins[0].name.clone()];
    let request = sekat_api_showcase::v1::ReorderPinsRequest { parent: page, pins: order, request_id: "o".to_owned() };
    stage.pins().reorder_pins(stage.by(CREATOR, request)).await.expect("all that is drawn is all there is to order");
}
