//! Each step of the saga with each outcome: lost requests, lost replies, refusals, crashes before and after the
//! effect. Whatever happens, the order ends paid or with everything released, and nothing happens twice.

use std::time::Duration;

use sekat_api_order::v1::OrderState;
use sekat_mesh::refusal::retry_delay;
use tonic::Code;

use crate::peers::Fault;
use crate::world::{Buyer, World, reason};

/// The calls that place an order, and those that confirm it once the money is there.
const PLACING: [&str; 3] = ["GetAccountStanding", "CreateReservation", "CreatePaymentIntent"];
const CONFIRMING: [&str; 2] = ["CommitReservation", "CapturePaymentIntent"];
/// The calls that let go of an order.
const RELEASING: [&str; 2] = ["CancelPaymentIntent", "ReleaseReservation"];

/// More than the mesh repeats by itself, so that the saga has to.
const OFTEN: usize = 4;

const LOST: [Fault; 2] = [Fault::LoseRequest, Fault::LoseReply];
const HUNG: [Fault; 2] = [Fault::HangBefore, Fault::HangAfter];

#[tokio::test]
async fn an_outcome_that_is_not_known_is_asked_for_again() {
    let world = World::start().await;
    let buyer = world.buyer();
    let mut paid = 0;
    for (step, fault) in pairs(&PLACING, &LOST).chain(pairs(&CONFIRMING, &LOST)) {
        world.script.fail(step, fault, OFTEN);
        let order = buyer.placed(&buyer.ready_to_order().await).await;
        assert_eq!(order.state(), OrderState::PendingPayment, "{step} {fault:?}");
        world.payment.pay(&order.payment_intent);
        buyer.until(&order.name, OrderState::Paid).await;
        paid += 1;
        world.assert_settled(paid);
    }
    for (step, fault) in pairs(&RELEASING, &LOST) {
        world.script.fail(step, fault, OFTEN);
        let order = buyer.order().await;
        buyer.cancel(&order.name).await.unwrap();
        buyer.until(&order.name, OrderState::Canceled).await;
        world.assert_settled(paid);
    }
}

#[tokio::test]
async fn a_refusal_ends_in_everything_released() {
    let world = World::start().await;
    let buyer = world.buyer();
    for (step, reason) in [
        ("GetAccountStanding", "ACCOUNT_BLOCKED"),
        ("CreateReservation", "OUT_OF_STOCK"),
        ("CreatePaymentIntent", "PAYMENT_REFUSED"),
    ] {
        world.script.fail(step, Fault::Refuse("AS_TOLD"), 1);
        let order = buyer.order().await;
        assert_eq!((order.state(), order.failure_reason.as_str()), (OrderState::Failed, reason));
        world.assert_settled(0);
    }
    // The first answer is lost after the effect, the second is a refusal: what was done is undone.
    for step in ["CreateReservation", "CreatePaymentIntent"] {
        world.script.fail(step, Fault::LoseReply, 1);
        world.script.fail(step, Fault::Refuse("AS_TOLD"), 1);
        assert_eq!(buyer.order().await.state(), OrderState::Failed, "{step}");
        world.assert_settled(0);
    }
}

#[tokio::test]
async fn a_refused_sale_or_capture_is_dealt_with() {
    let world = World::start().await;
    let buyer = world.buyer();
    // A sale that is refused means that the hold is gone: another one is taken.
    world.script.fail("CommitReservation", Fault::Refuse("AS_TOLD"), 1);
    let order = buyer.order().await;
    world.catalog.lapse();
    world.payment.pay(&order.payment_intent);
    buyer.until(&order.name, OrderState::Paid).await;
    world.assert_settled(1);

    // Payment may not refuse to capture what it said is there. The buyer is not charged even so.
    world.script.fail("CapturePaymentIntent", Fault::Refuse("AS_TOLD"), 1);
    let order = buyer.order().await;
    world.payment.pay(&order.payment_intent);
    let failed = buyer.until(&order.name, OrderState::Failed).await;
    assert_eq!(failed.failure_reason, "PAYMENT_NOT_CAPTURED");
}

#[tokio::test]
async fn an_answer_that_may_not_be_given_is_asked_for_again() {
    let world = World::start().await;
    let buyer = world.buyer();
    for step in RELEASING {
        world.script.fail(step, Fault::Refuse("NO_SUCH_REASON"), 2);
        let order = buyer.order().await;
        buyer.cancel(&order.name).await.unwrap();
        buyer.until(&order.name, OrderState::Canceled).await;
    }
    world.assert_settled(0);
}

#[tokio::test]
async fn a_crash_at_any_step_of_placing_loses_and_doubles_nothing() {
    let mut world = World::start().await;
    let buyer = world.buyer();
    for (number, (step, fault)) in pairs(&PLACING, &HUNG).enumerate() {
        world.script.fail(step, fault, 1);
        let request = buyer.order_unattended().await;
        world.script.hangs().await;
        world.restart_order().await;
        let order = buyer.placed(&request).await;
        assert_eq!(order.state(), OrderState::PendingPayment, "{step} {fault:?}");
        world.payment.pay(&order.payment_intent);
        buyer.until(&order.name, OrderState::Paid).await;
        world.assert_settled(number + 1);
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_confirming_loses_and_doubles_nothing() {
    let mut world = World::start().await;
    let buyer = world.buyer();
    for (number, (step, fault)) in pairs(&CONFIRMING, &HUNG).enumerate() {
        let order = buyer.order().await;
        world.script.fail(step, fault, 1);
        world.payment.pay(&order.payment_intent);
        world.script.hangs().await;
        world.restart_order().await;
        buyer.until(&order.name, OrderState::Paid).await;
        world.assert_settled(number + 1);
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_letting_go_leaves_nothing_behind() {
    let mut world = World::start().await;
    let buyer = world.buyer();
    for (step, fault) in pairs(&RELEASING, &HUNG) {
        let order = buyer.order().await;
        world.script.fail(step, fault, 1);
        buyer.cancel(&order.name).await.unwrap();
        world.script.hangs().await;
        world.restart_order().await;
        buyer.until(&order.name, OrderState::Canceled).await;
        world.assert_settled(0);
    }
}

#[tokio::test]
async fn money_that_comes_while_the_service_is_down_is_seen_when_it_is_back() {
    let mut world = World::start().await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    world.crash_order().await;
    world.payment.pay(&order.payment_intent);
    world.start_order().await;
    buyer.until(&order.name, OrderState::Paid).await;
    world.assert_settled(1);
}

#[tokio::test]
async fn a_stream_of_news_that_breaks_is_opened_again() {
    let world = World::start().await;
    let buyer = world.buyer();
    let order = buyer.order().await;
    world.script.fail("WatchPaymentEvents", Fault::LoseRequest, OFTEN);
    world.payment.break_streams();
    world.payment.pay(&order.payment_intent);
    buyer.until(&order.name, OrderState::Paid).await;
}

#[tokio::test]
async fn a_call_whose_time_ends_first_learns_that_its_order_is_under_way() {
    let world = World::start().await;
    let buyer = world.buyer();
    let request = buyer.ready_to_order().await;
    world.script.fail("CreateReservation", Fault::HangBefore, 1);
    let refused = buyer.create_order_within(&request, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(retry_delay(&refused).is_some());
    assert_eq!(reason::<()>(Err(refused)), "ORDER_UNDER_WAY");
    assert_eq!(buyer.placed(&request).await.state(), OrderState::PendingPayment);
    assert_eq!(buyer.list_orders(0, "").await.unwrap().orders.len(), 1);
}

#[tokio::test]
async fn a_checkout_that_never_gets_through_ends_with_its_time() {
    let world = World::with_order_ttl(Duration::from_secs(2)).await;
    let buyer = world.buyer();
    for step in PLACING {
        world.script.fail(step, Fault::LoseReply, usize::from(u16::MAX));
        let order = patient(&buyer).await;
        assert_eq!(
            (order.state(), order.failure_reason.as_str()),
            (OrderState::Failed, "CHECKOUT_TIMED_OUT"),
            "{step}"
        );
        world.script.heal();
        world.assert_settled(0);
    }
}

async fn patient(buyer: &Buyer) -> sekat_api_order::v1::Order {
    buyer.placed(&buyer.ready_to_order().await).await
}

fn pairs<'a>(steps: &'a [&'static str], faults: &'a [Fault]) -> impl Iterator<Item = (&'static str, Fault)> + use<'a> {
    steps.iter().flat_map(move |step| faults.iter().map(move |fault| (*step, *fault)))
}
