//! Orders that come to nothing: refused, not paid, cancelled, sold out after all, paid too late.

use std::time::Duration;

use sekat_api_order::v1 as api;
use sekat_api_order::v1::OrderState;
use sekat_testkit::eventually;
use tonic::Code;

use crate::peers::{Fault, Funds};
use crate::world::{STOCK, TEA, TEA_PRICE, World, new_id, reason};

/// Short enough to wait for, long enough to place an order within.
const SHORT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_blocked_buyer_orders_nothing() {
    let world = World::start().await;
    let buyer = world.buyer();
    world.account.block(&buyer.name);
    let order = buyer.order().await;
    assert_eq!((order.state(), order.failure_reason.as_str()), (OrderState::Failed, "ACCOUNT_BLOCKED"));
    assert!(order.payment_intent.is_empty());
    assert_eq!((world.script.calls("CreateReservation"), world.script.calls("CancelPaymentIntent")), (0, 0));
    world.assert_settled(0);
}

#[tokio::test]
async fn an_address_that_is_gone_or_not_the_buyers_is_not_shipped_to() {
    let world = World::start().await;
    let buyer = world.buyer();
    let cart = buyer.cart().await;
    let address = format!("{}/addresses/gone", buyer.name);
    let quote_hash = buyer.quote(&cart.name, &address).await.unwrap().quote_hash;
    let request = api::CreateOrderRequest { cart: cart.name, address, quote_hash, request_id: new_id() };
    let order = buyer.create_order(&request).await.unwrap();
    assert_eq!((order.state(), order.failure_reason.as_str()), (OrderState::Failed, "ADDRESS_NOT_FOUND"));
    let foreign = api::CreateOrderRequest { address: world.buyer().address(), request_id: new_id(), ..request };
    assert_eq!(reason(buyer.create_order(&foreign).await), "NOT_FOUND");
}

#[tokio::test]
async fn an_unpaid_order_expires_and_its_stock_is_back() {
    let world = World::with_order_ttl(SHORT).await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    assert_eq!(world.catalog.free(TEA), STOCK - 2);
    let expired = buyer.until(&order.name, OrderState::Expired).await;
    assert_eq!(expired.failure_reason, "NOT_PAID_IN_TIME");
    assert_eq!((world.catalog.free(TEA), world.payment.funds(&order.payment_intent)), (STOCK, Funds::Over));
    assert_eq!(reason(buyer.cancel(&order.name).await), "ORDER_NOT_CANCELABLE");
    world.assert_settled(0);
}

#[tokio::test]
async fn an_order_whose_time_ends_while_the_service_is_down_expires_when_it_is_back() {
    let mut world = World::with_order_ttl(SHORT).await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    let expire = order.expire_time.unwrap();
    world.crash_order().await;
    eventually("its time is over", async || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() > expire.seconds.unsigned_abs()
    })
    .await;
    world.start_order().await;
    buyer.until(&order.name, OrderState::Expired).await;
    world.assert_settled(0);
}

#[tokio::test]
async fn money_that_comes_just_before_the_end_wins() {
    let world = World::with_order_ttl(SHORT).await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    // The news of the money is held up; the order learns of it when it wants to close the payment.
    world.script.fail("CancelPaymentIntent", Fault::LoseRequest, 4);
    let expiring = buyer.until(&order.name, OrderState::Expiring);
    expiring.await;
    world.payment.pay(&order.payment_intent);
    buyer.until(&order.name, OrderState::Paid).await;
    world.assert_settled(1);
}

#[tokio::test]
async fn a_cancelled_order_lets_go_of_everything() {
    let world = World::start().await;
    let (buyer, other) = (world.buyer(), world.buyer());
    let order = buyer.order().await;
    assert_eq!(reason(other.cancel(&order.name).await), "NOT_FOUND");
    let reply = buyer.cancel(&order.name).await.unwrap();
    assert_eq!(reply.state(), OrderState::Canceling);
    let canceled = buyer.until(&order.name, OrderState::Canceled).await;
    assert_eq!(canceled.failure_reason, "CANCELED_BY_BUYER");
    assert_eq!(buyer.cancel(&order.name).await.unwrap().state(), OrderState::Canceled, "it is cancelled already");
    assert_eq!(world.catalog.free(TEA), STOCK);
    world.assert_settled(0);
}

#[tokio::test]
async fn a_checkout_is_cancelled_while_it_hangs() {
    let world = World::start().await;
    let buyer = world.buyer();
    for (step, fault) in [
        ("GetAccountStanding", Fault::HangBefore),
        ("CreateReservation", Fault::HangAfter),
        ("CreatePaymentIntent", Fault::HangBefore),
        ("CreatePaymentIntent", Fault::HangAfter),
    ] {
        world.script.fail(step, fault, 1);
        buyer.order_unattended().await;
        world.script.hangs().await;
        let order = &buyer.list_orders(1, "").await.unwrap().orders[0];
        assert_eq!(order.state(), OrderState::CheckingOut, "{step}");
        buyer.cancel(&order.name).await.unwrap();
        buyer.until(&order.name, OrderState::Canceled).await;
        world.assert_settled(0);
    }
}

#[tokio::test]
async fn a_paid_order_cannot_be_cancelled() {
    let world = World::start().await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    world.payment.pay(&order.payment_intent);
    buyer.until(&order.name, OrderState::Paid).await;
    let refused = buyer.cancel(&order.name).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason::<()>(Err(refused)), "ORDER_NOT_CANCELABLE");
}

#[tokio::test]
async fn cancelling_comes_too_late_when_the_money_is_there() {
    let world = World::start().await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    world.script.fail("CancelPaymentIntent", Fault::LoseRequest, 4);
    buyer.cancel(&order.name).await.unwrap();
    world.payment.pay(&order.payment_intent);
    buyer.until(&order.name, OrderState::Paid).await;
    world.assert_settled(1);
}

#[tokio::test]
async fn a_declined_payment_ends_the_order() {
    let world = World::start().await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    world.payment.decline(&order.payment_intent);
    let failed = buyer.until(&order.name, OrderState::Failed).await;
    assert_eq!(failed.failure_reason, "PAYMENT_FAILED");
    world.assert_settled(0);
}

#[tokio::test]
async fn a_hold_that_lapsed_is_taken_again_or_the_money_goes_back() {
    let world = World::start().await;
    let buyer = world.buyer();
    let (lucky, unlucky) = (buyer.order().await, buyer.order().await);
    world.catalog.lapse();
    world.payment.pay(&lucky.payment_intent);
    buyer.until(&lucky.name, OrderState::Paid).await;

    world.catalog.offer(TEA, TEA_PRICE, "daun", 1);
    world.payment.pay(&unlucky.payment_intent);
    let failed = buyer.until(&unlucky.name, OrderState::Failed).await;
    assert_eq!(failed.failure_reason, "OUT_OF_STOCK_AFTER_PAYMENT");
    assert_eq!(world.payment.funds(&unlucky.payment_intent), Funds::GivenUp);
    world.assert_settled(1);
}

#[tokio::test]
async fn late_money_reopens_an_order_while_there_is_stock() {
    let world = World::with_order_ttl(SHORT).await;
    let buyer = world.buyer();
    let (first, second) = (buyer.order().await, buyer.order().await);
    buyer.until(&first.name, OrderState::Expired).await;
    buyer.until(&second.name, OrderState::Expired).await;
    world.payment.pay(&first.payment_intent);
    let paid = buyer.until(&first.name, OrderState::Paid).await;
    assert!(paid.failure_reason.is_empty());
    assert_eq!(world.catalog.free(TEA), STOCK - 2);

    world.catalog.offer(TEA, TEA_PRICE, "daun", 1);
    world.payment.pay(&second.payment_intent);
    let unapplied =
        |order: &api::Order| order.state() == OrderState::Expired && order.failure_reason == "LATE_PAYMENT_UNAPPLIED";
    buyer.until_order(&second.name, "it stays expired, and says why", unapplied).await;
    assert_eq!(world.payment.funds(&second.payment_intent), Funds::Late);
    world.assert_settled(1);
}

#[tokio::test]
async fn late_money_for_a_cancelled_order_stays_in_sight() {
    let world = World::start().await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    buyer.cancel(&order.name).await.unwrap();
    buyer.until(&order.name, OrderState::Canceled).await;
    world.payment.pay(&order.payment_intent);
    let unapplied = |order: &api::Order| order.failure_reason == "LATE_PAYMENT_UNAPPLIED";
    let order = buyer.until_order(&order.name, "it says so", unapplied).await;
    assert_eq!(order.state(), OrderState::Canceled);
    world.assert_settled(0);
}
