//! Carts: two devices merge, limits hold, and a cart is its buyer's only.

use sekat_api_order::v1 as api;
use tonic::Code;

use crate::world::{SALT, STOCK, TEA, World, new_id, reason, rupiah};

fn mask(path: &str) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: vec![path.to_owned()] })
}

fn update(line: &api::CartLine, quantity: i32, etag: &str) -> api::UpdateCartLineRequest {
    let (name, etag, update_mask) = (line.name.clone(), etag.to_owned(), mask("quantity"));
    api::UpdateCartLineRequest { name, quantity, etag, update_mask, request_id: new_id() }
}

#[tokio::test]
async fn changes_of_two_devices_merge_without_a_lost_line() {
    let world = World::start().await;
    let buyer = world.buyer();
    let cart = buyer.create_cart("", &new_id()).await.unwrap();
    let device = |sku: &'static str| {
        let (buyer, cart) = (buyer.clone(), cart.name.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                buyer.add(&cart, sku, 1).await.unwrap();
                buyer.add(&cart, TEA, 1).await.unwrap();
            }
        })
    };
    let (phone, tablet) = (device(SALT), device("products/rice/skus/5kg"));
    phone.await.unwrap();
    tablet.await.unwrap();
    let merged = buyer.get_cart(&cart.name).await.unwrap();
    let mut lines: Vec<_> = merged.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    lines.sort_unstable();
    assert_eq!(lines, [("products/rice/skus/5kg", 10), (SALT, 10), (TEA, 20)]);
    let available: Vec<_> = merged.lines.iter().filter(|line| line.available).collect();
    assert_eq!(available.len(), 2, "nobody offers rice");
    assert_eq!(merged.total, rupiah(10 * 4_000 + 20 * 25_000));
}

#[tokio::test]
async fn a_quantity_is_set_for_the_lines_that_were_seen() {
    let world = World::start().await;
    let buyer = world.buyer();
    let cart = buyer.cart().await;
    let stale = cart.etag.clone();
    let cart = buyer.update(update(&cart.lines[0], 5, &cart.etag)).await.unwrap();
    assert_eq!((cart.lines[0].quantity, cart.etag == stale), (5, false));

    let refused = buyer.update(update(&cart.lines[0], 6, &stale)).await.unwrap_err();
    assert_eq!((refused.code(), reason::<()>(Err(refused)).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(buyer.update(update(&cart.lines[0], 6, "")).await.unwrap().lines[0].quantity, 6);
    let wrong_mask = api::UpdateCartLineRequest { update_mask: mask("sku"), ..update(&cart.lines[0], 6, "") };
    assert_eq!(reason(buyer.update(wrong_mask).await), "INVALID_ARGUMENT");

    let emptied = buyer.remove(&cart.lines[0].name).await.unwrap();
    assert!(emptied.lines.is_empty());
    assert_eq!(buyer.remove(&cart.lines[0].name).await.unwrap(), emptied, "it was gone already");
    assert_eq!(reason(buyer.update(update(&cart.lines[0], 1, "")).await), "NOT_FOUND");
    assert_eq!(reason(buyer.quote(&cart.name, &buyer.address()).await), "CART_EMPTY");
}

#[tokio::test]
async fn a_cart_has_limits() {
    let world = World::start().await;
    let buyer = world.buyer();
    let cart = buyer.cart().await;
    assert_eq!(reason(buyer.add(&cart.name, TEA, 98).await), "LINE_FULL");
    assert_eq!(buyer.add(&cart.name, TEA, 97).await.unwrap().lines[0].quantity, 99);
    for number in 1..50 {
        buyer.add(&cart.name, &format!("products/p/skus/{number}"), 1).await.unwrap();
    }
    assert_eq!(reason(buyer.add(&cart.name, SALT, 1).await), "CART_FULL");
    for quantity in [0, -1, 100, i32::MAX] {
        assert_eq!(reason(buyer.add(&cart.name, TEA, quantity).await), "INVALID_ARGUMENT");
    }
    for sku in ["", "tea", "products/tea", "products/te a/skus/x"] {
        assert_eq!(reason(buyer.add(&cart.name, sku, 1).await), "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn another_buyers_cart_does_not_exist() {
    let world = World::start().await;
    let (owner, other) = (world.buyer(), world.buyer());
    let cart = owner.cart().await;
    let line = &cart.lines[0];
    for outcome in [
        reason(other.get_cart(&cart.name).await),
        reason(other.add(&cart.name, TEA, 1).await),
        reason(other.update(update(line, 1, "")).await),
        reason(other.remove(&line.name).await),
        reason(other.quote(&cart.name, &other.address()).await),
        reason(owner.quote(&cart.name, &other.address()).await),
        reason(owner.get_cart("carts/none").await),
    ] {
        assert_eq!(outcome, "NOT_FOUND");
    }
    assert_eq!(owner.get_cart(&cart.name).await.unwrap(), cart);
    assert_eq!(world.catalog.free(TEA), STOCK, "a cart holds nothing");
}
