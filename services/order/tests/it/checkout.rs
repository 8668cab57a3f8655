//! From a cart to a paid order, and all that may come between: stale quotes, double clicks, crossed news.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use sekat_api_order::v1 as api;
use sekat_api_order::v1::OrderState;
use sekat_testkit::eventually;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::peers::{Funds, NOTIFICATION_TRACE_ID};
use crate::world::{Buyer, SALT, SHIPPING, STOCK, TEA, TEA_PRICE, World, new_id, reason, rupiah};

#[tokio::test]
async fn an_order_is_placed_paid_and_confirmed() {
    let world = World::start().await;
    let buyer = world.buyer();
    let handoff = world.handoff(Duration::ZERO, Duration::from_secs(600));
    let cart = buyer.create_cart(&handoff, &new_id()).await.unwrap();
    buyer.add(&cart.name, SALT, 1).await.unwrap();
    let quote = buyer.quote(&cart.name, &buyer.address()).await.unwrap();
    let request = api::CreateOrderRequest {
        cart: cart.name.clone(),
        address: buyer.address(),
        quote_hash: quote.quote_hash,
        request_id: new_id(),
    };
    let order = buyer.create_order(&request).await.unwrap();
    assert_eq!(order.state(), OrderState::PendingPayment);
    assert_eq!(order.total, rupiah(2 * TEA_PRICE + 4_000 + 2 * SHIPPING));
    assert_eq!(order.total, quote.total);
    assert_eq!((order.buyer.as_str(), order.showcase.as_str()), (buyer.name.as_str(), "showcases/teras"));
    assert_eq!(order.ship_to.as_ref().unwrap().receiver_name, "Sari");
    assert_eq!(order.lines.len(), 2);
    assert!(!order.operator_display_name.is_empty() && !order.payment_intent.is_empty());
    assert_eq!((world.catalog.free(TEA), world.payment.funds(&order.payment_intent)), (STOCK - 2, Funds::Open));

    world.payment.pay(&order.payment_intent);
    let paid = buyer.until(&order.name, OrderState::Paid).await;
    assert!(paid.paid_time.is_some() && paid.failure_reason.is_empty() && paid.etag != order.etag);
    assert_eq!(buyer.create_order(&request).await.unwrap(), paid, "the same request, the same order");
    assert_eq!(buyer.get_cart(&cart.name).await.unwrap().order, order.name);
    world.assert_settled(1);
}

#[tokio::test]
async fn the_whole_checkout_is_one_trace_to_which_the_notification_is_linked() {
    let world = World::start().await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    world.payment.pay(&order.payment_intent);
    buyer.until(&order.name, OrderState::Paid).await;

    let is = |span: &Span, method: &str| span.name.ends_with(method);
    let mut spans = Vec::new();
    eventually("the last span is written", async || {
        spans = world.spans();
        spans.iter().any(|span| is(span, "/CapturePaymentIntent"))
    })
    .await;
    let root = spans.iter().find(|span| is(span, "OrderService/CreateOrder")).unwrap().clone();
    spans.retain(|span| span.trace_id == root.trace_id && span.parent_span_id == root.span_id);
    for (step, links) in [
        ("/QuotePrices", 0),
        ("/GetAccountStanding", 0),
        ("/CreateReservation", 0),
        ("/CreatePaymentIntent", 0),
        ("/CommitReservation", 1),
        ("/CapturePaymentIntent", 0),
    ] {
        let found: Vec<_> = spans.iter().filter(|span| is(span, step)).collect();
        assert_eq!(found.len(), 1, "{step}");
        assert_eq!(found[0].links.len(), links, "{step}");
        for link in &found[0].links {
            assert_eq!(link.trace_id, NOTIFICATION_TRACE_ID);
        }
    }
    assert_eq!(spans.len(), 6, "a step is one span and no more");
    let text = format!("{:?}", world.spans());
    for classified in [&buyer.name, &order.name, &order.payment_intent, "Sari", "62000"] {
        assert!(!text.contains(classified), "{classified} is in a span");
    }
}

#[tokio::test]
async fn a_stale_quote_brings_the_new_one() {
    let world = World::start().await;
    let buyer = world.buyer();
    let mut request = buyer.ready_to_order().await;
    world.catalog.offer(TEA, 30_000, "daun", STOCK);
    let refused = buyer.create_order(&request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["total"].as_str()), ("QUOTE_STALE", "IDR 72000"));
    assert!(!refused.message().contains(&buyer.name));

    // The app shows the new price, and the buyer agrees; a refusal has used nothing up.
    request.quote_hash = info.metadata["quote_hash"].clone();
    let order = buyer.create_order(&request).await.unwrap();
    assert_eq!(order.total, rupiah(72_000));

    // A change of the cart makes a quote stale as well.
    let mut request = buyer.ready_to_order().await;
    buyer.add(&request.cart, SALT, 1).await.unwrap();
    assert_eq!(reason(buyer.create_order(&request).await), "QUOTE_STALE");
    // And a quote is for one address.
    request.quote_hash = buyer.quote(&request.cart, &buyer.address()).await.unwrap().quote_hash;
    request.address = format!("{}/addresses/kantor", buyer.name);
    assert_eq!(reason(buyer.create_order(&request).await), "QUOTE_STALE");
}

#[tokio::test]
async fn what_is_sold_out_is_not_ordered() {
    let world = World::start().await;
    let buyer = world.buyer();
    let request = buyer.ready_to_order().await;
    world.catalog.offer(TEA, TEA_PRICE, "daun", 1);
    assert_eq!(reason(buyer.create_order(&request).await), "OUT_OF_STOCK");
    assert_eq!(reason(buyer.quote(&request.cart, &request.address).await), "OUT_OF_STOCK");
    world.catalog.offer(TEA, TEA_PRICE, "daun", 2);
    assert_eq!(buyer.create_order(&request).await.unwrap().state(), OrderState::PendingPayment);
}

/// Sends many creations at once; returns the orders and the reasons of the refusals.
async fn rush(buyer: &Buyer, requests: Vec<api::CreateOrderRequest>) -> (Vec<String>, Vec<String>) {
    let sent: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let buyer = buyer.clone();
            tokio::spawn(async move { buyer.create_order(&request).await })
        })
        .collect();
    let (mut orders, mut refusals) = (Vec::new(), Vec::new());
    for reply in sent {
        match reply.await.unwrap() {
            Ok(order) => orders.push(order.name),
            refused => refusals.push(reason(refused)),
        }
    }
    orders.sort_unstable();
    orders.dedup();
    (orders, refusals)
}

#[tokio::test]
async fn fifty_orders_of_one_cart_make_one_order() {
    let world = World::start().await;
    let buyer = world.buyer();
    let request = buyer.ready_to_order().await;
    // The last two bags: whoever comes later finds none.
    world.catalog.offer(TEA, TEA_PRICE, "daun", 2);
    let requests = (0..50).map(|_| api::CreateOrderRequest { request_id: new_id(), ..request.clone() }).collect();
    let (orders, refusals) = rush(&buyer, requests).await;
    assert_eq!((orders.len(), refusals.len()), (1, 49));
    assert!(refusals.iter().all(|reason| reason == "CART_ORDERED"), "{refusals:?}");
    assert_eq!(world.script.calls("CreateReservation"), 1);
    assert_eq!(world.script.calls("CreatePaymentIntent"), 1);
    assert_eq!(reason(buyer.add(&request.cart, TEA, 1).await), "CART_ORDERED");
    assert_eq!(reason(buyer.quote(&request.cart, &request.address).await), "CART_ORDERED");
}

#[tokio::test]
async fn fifty_times_the_same_request_with_the_money_in_between_is_one_order() {
    let world = World::start().await;
    let buyer = world.buyer();
    let request = buyer.ready_to_order().await;
    world.catalog.offer(TEA, TEA_PRICE, "daun", 2);
    let paying = async {
        eventually("the payment is open", async || world.payment.stand() == [Funds::Open]).await;
        let payment = buyer.placed(&request).await.payment_intent;
        world.payment.pay(&payment);
        world.payment.repeat_news();
    };
    let ((orders, refusals), ()) = tokio::join!(rush(&buyer, vec![request.clone(); 50]), paying);
    assert_eq!((orders.len(), refusals), (1, vec![]));
    buyer.until(&orders[0], OrderState::Paid).await;
    world.assert_settled(1);
    let other_body = api::CreateOrderRequest { quote_hash: "another".to_owned(), ..request };
    assert_eq!(reason(buyer.create_order(&other_body).await), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn another_buyer_gets_nothing_for_the_same_request_id() {
    let world = World::start().await;
    let (buyer, other) = (world.buyer(), world.buyer());
    let request = buyer.ready_to_order().await;
    buyer.create_order(&request).await.unwrap();
    assert_eq!(reason(other.create_order(&request).await), "NOT_FOUND");
    let own = api::CreateOrderRequest { address: other.address(), ..request };
    assert_eq!(reason(other.create_order(&own).await), "NOT_FOUND");
}

#[tokio::test]
async fn repeated_news_are_harmless_and_what_was_taken_in_is_not_asked_for_again() {
    let mut world = World::start().await;
    let buyer = world.buyer();
    let (first, second) = (buyer.order().await, buyer.order().await);
    world.payment.pay(&first.payment_intent);
    buyer.until(&first.name, OrderState::Paid).await;
    world.payment.repeat_news();
    world.restart_order().await;
    world.payment.repeat_news();
    world.payment.pay(&second.payment_intent);
    buyer.until(&second.name, OrderState::Paid).await;
    assert!(world.payment.resumed_after() >= 1, "the news that paid the first order was remembered");
    assert_eq!((world.script.calls("CommitReservation"), world.script.calls("CapturePaymentIntent")), (2, 2));
    world.assert_settled(2);
}
