//! Reading orders: one's own, in pages, and as they change.

use std::collections::BTreeSet;

use sekat_api_order::v1::OrderState;

use crate::world::{World, reason};

#[tokio::test]
async fn another_buyers_order_does_not_exist() {
    let world = World::start().await;
    let (buyer, other) = (world.buyer(), world.buyer());
    let order = buyer.order().await;
    assert_eq!(buyer.get_order(&order.name).await.unwrap(), order);
    for outcome in [
        reason(other.get_order(&order.name).await),
        reason(other.watch(&order.name).await.map(drop)),
        reason(other.list_orders_of(&buyer.name, 0, "").await),
        reason(buyer.get_order("orders/none").await),
    ] {
        assert_eq!(outcome, "NOT_FOUND");
    }
    assert!(other.list_orders(0, "").await.unwrap().orders.is_empty());
    assert_eq!(reason(buyer.get_order("order").await), "INVALID_ARGUMENT");
}

#[tokio::test]
async fn pages_hold_each_order_once_newest_first() {
    let world = World::start().await;
    let buyer = world.buyer();
    let mut names = Vec::new();
    for _ in 0..7 {
        names.push(buyer.order().await.name);
    }
    names.reverse();
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let page = buyer.list_orders(3, &token).await.unwrap();
        found.extend(page.orders.into_iter().map(|order| order.name));
        // What is ordered meanwhile comes before what was seen, and moves nothing.
        buyer.order().await;
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    assert_eq!(found, names);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 7);

    for wrong in ["x", &token[1..], &format!("{token}A")] {
        assert_eq!(reason(buyer.list_orders(3, wrong).await), "INVALID_ARGUMENT");
    }
    assert_eq!(reason(world.buyer().list_orders(3, &token).await), "INVALID_ARGUMENT", "it is another's token");
    assert_eq!(reason(buyer.list_orders(-1, "").await), "INVALID_ARGUMENT");
    assert_eq!(buyer.list_orders(1_000, "").await.unwrap().orders.len(), 10);
}

#[tokio::test]
async fn a_watch_shows_the_order_then_each_change_and_ends_with_it() {
    let world = World::start().await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    let mut events = buyer.watch(&order.name).await.unwrap();
    let first = events.message().await.unwrap().unwrap().order.unwrap();
    assert_eq!(first, order);
    world.payment.pay(&order.payment_intent);
    let mut states = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        states.push(event.order.unwrap().state());
    }
    assert_eq!(states.last(), Some(&OrderState::Paid));
    assert!(states.iter().all(|state| matches!(state, OrderState::Confirming | OrderState::Paid)), "{states:?}");

    let mut events = buyer.watch(&order.name).await.unwrap();
    assert_eq!(events.message().await.unwrap().unwrap().order.unwrap().state(), OrderState::Paid);
    assert!(events.message().await.unwrap().is_none(), "nothing can change any more");
}
