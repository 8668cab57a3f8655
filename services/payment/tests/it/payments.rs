//! What a payment does while everybody behaves, and when banks, buyers and orders do not.

use std::time::Duration;

use futures_util::future::join_all;
use sekat_api_payment::v1::{CancelReason, PaymentEventType, PaymentIntentState as State};
use tonic::Code;

use crate::connector::{ATTEMPTS, Fault};
use crate::world::{World, account_number, confirmation, fresh, next, opening, refusal, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_from_the_order_to_the_ledger() {
    let world = World::new().await;
    assert_eq!(world.order.open("order-1").await.unwrap().state(), State::RequiresPaymentMethod);
    let mut events = world.order.watch("").await.unwrap();

    let confirmed = world.confirm("order-1").await.unwrap();
    assert_eq!(confirmed.state(), State::RequiresAction);
    assert_eq!(account_number(&confirmed).unwrap(), "12345000001");

    assert!(!world.notify("order-1 n1 25000", "genuine").await.unwrap().duplicate);
    let event = next(&mut events).await;
    assert_eq!((event.r#type(), event.order.as_str()), (PaymentEventType::Authorized, "orders/order-1"));
    assert_eq!(event.traceparent.len(), 55, "the notification's trace, to be linked");
    assert_eq!(world.account("order-funds").await, [0, 0, 0, 25_000]);

    let captured = world.order.capture("order-1").await.unwrap();
    assert_eq!((captured.state(), captured.captured_amount.unwrap().units), (State::Succeeded, 25_000));
    assert_eq!(next(&mut events).await.r#type(), PaymentEventType::Captured);
    assert_eq!(world.account("provider-receivable-bca").await, [25_000, 0, 0, 0]);
    assert_eq!(world.account("order-funds").await, [0, 25_000, 0, 0]);

    let mut resumed = world.order.watch(&event.resume_token).await.unwrap();
    assert_eq!(next(&mut resumed).await.r#type(), PaymentEventType::Captured);
    assert_eq!(refusal(world.order.watch("3").await), (Code::InvalidArgument, "RESUME_TOKEN_UNKNOWN".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_confirmations_at_once_make_one_charge_and_one_answer() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    let request_id = fresh();
    let calls = (0..50).map(|_| {
        let request = world.of("accounts/a", confirmation("order-1", &request_id));
        let mut edge = world.edge.clone();
        async move { edge.confirm_payment_intent(request).await.unwrap().into_inner() }
    });
    let replies = within(join_all(calls)).await;
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    assert_eq!(account_number(&replies[0]).unwrap(), "12345000001");
    // And once more under another id.
    assert_eq!(world.confirm("order-1").await.unwrap(), replies[0]);
    assert_eq!(world.connector.calls("CreateCharge"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_no_error_and_settles_itself() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.connector.fail("CreateCharge", Fault::LoseAnswer, ATTEMPTS);
    world.connector.fail("GetCharge", Fault::Unreachable, 1);
    let confirmed = world.confirm("order-1").await.unwrap();
    assert_eq!((confirmed.state(), confirmed.next_action), (State::Processing, None));
    let seen = world.reaches("order-1", State::RequiresAction).await;
    assert_eq!(account_number(&seen).unwrap(), "12345000001");
    assert_eq!(world.connector.charges().len(), 1);
    assert!(world.connector.calls("GetCharge") > 1, "the bank is asked what became of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_was_not_reached_is_asked_for_the_charge_again() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.connector.fail("CreateCharge", Fault::Unreachable, ATTEMPTS);
    assert_eq!(world.confirm("order-1").await.unwrap().state(), State::Processing);
    world.reaches("order-1", State::RequiresAction).await;
    assert_eq!(world.connector.charges().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fails_the_payment() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    let mut events = world.order.watch("").await.unwrap();
    world.connector.fail("CreateCharge", Fault::Refuse, 1);
    let confirmed = world.confirm("order-1").await.unwrap();
    assert_eq!((confirmed.state(), confirmed.failure_reason.as_str()), (State::Failed, "PROVIDER_REFUSED"));
    assert_eq!(next(&mut events).await.r#type(), PaymentEventType::Failed);
    assert_eq!(refusal(world.confirm("order-1").await), (Code::FailedPrecondition, "PAYMENT_FAILED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_who_hangs_up_loses_nothing() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.connector.fail("CreateCharge", Fault::Hang, 1);
    tokio::select! {
        _ = world.confirm("order-1") => panic!("the bank has not answered"),
        () = world.connector.hangs() => {}
    }
    world.connector.release();
    world.reaches("order-1", State::RequiresAction).await;
    assert_eq!(world.connector.calls("CreateCharge"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_overtakes_the_charges_answer_counts() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.connector.fail("CreateCharge", Fault::Hang, 1);
    let (confirmed, ()) = tokio::join!(world.confirm("order-1"), async {
        world.connector.hangs().await;
        world.notify("order-1 n1 25000", "genuine").await.unwrap();
    });
    assert_eq!(confirmed.unwrap().state(), State::RequiresCapture, "the buyer need not wait for the bank any more");
    world.connector.release();
    world.order.capture("order-1").await.unwrap();
    assert_eq!(world.seen("order-1").await.state(), State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_notification_has_no_effect_and_a_genuine_one_has_one() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.confirm("order-1").await.unwrap();
    let forged = world.notify("order-1 n1 25000", "forged").await;
    assert_eq!(refusal(forged), (Code::Unauthenticated, "NOTIFICATION_FORGED".to_owned()));
    assert_eq!(world.account("order-funds").await, [0; 4]);
    assert_eq!(world.seen("order-1").await.state(), State::RequiresAction);

    // From many deliveries at once one effect, and no refusal.
    let deliveries = within(join_all((0..1_000).map(|_| world.notify("order-1 n1 25000", "genuine")))).await;
    let duplicates: Vec<bool> = deliveries.into_iter().map(|reply| reply.unwrap().duplicate).collect();
    assert_eq!(duplicates.iter().filter(|duplicate| !**duplicate).count(), 1);
    assert_eq!(world.account("order-funds").await, [0, 0, 0, 25_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_up_closes_the_charge_at_the_bank_first() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.confirm("order-1").await.unwrap();
    let ended = world.order.cancel("order-1", CancelReason::Expired).await.unwrap();
    assert_eq!(ended.state(), State::Expired);
    assert_eq!(world.connector.charges(), [sekat_api_connector::v1::ChargeState::Closed]);
    // Money that the bank lets in all the same is late, and the order may still take it.
    world.notify("order-1 n1 25000", "genuine").await.unwrap();
    assert_eq!(world.account("unapplied-funds").await, [0, 25_000, 0, 0]);
    world.order.capture("order-1").await.unwrap();
    assert_eq!(world.account("unapplied-funds").await, [25_000, 25_000, 0, 0]);
    let mut events = world.order.watch("").await.unwrap();
    for expected in [PaymentEventType::Canceled, PaymentEventType::PaidLate, PaymentEventType::Captured] {
        assert_eq!(next(&mut events).await.r#type(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_the_bank_did_not_confirm_is_not_done_yet() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.confirm("order-1").await.unwrap();
    world.connector.fail("GetCharge", Fault::Hang, 1);
    world.connector.fail("CancelCharge", Fault::LoseAnswer, 1);
    let pending = world.order.cancel_within(Duration::from_secs(1), "order-1", CancelReason::Requested).await;
    assert_eq!(refusal(pending), (Code::Unavailable, "PAYMENT_CANCEL_PENDING".to_owned()));
    assert_eq!(world.seen("order-1").await.state(), State::Processing);
    world.connector.release();
    world.reaches("order-1", State::Canceled).await;
    assert_eq!(world.order.cancel("order-1", CancelReason::Requested).await.unwrap().state(), State::Canceled);
    assert_eq!(world.connector.charges(), [sekat_api_connector::v1::ChargeState::Closed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_who_pays_just_before_the_end_has_paid() {
    for (method, fault) in [("GetCharge", Fault::PaidFirst), ("CancelCharge", Fault::PaidFirst)] {
        let world = World::new().await;
        world.order.open("order-1").await.unwrap();
        world.confirm("order-1").await.unwrap();
        world.connector.fail(method, fault, 1);
        let refused = loop {
            let refused = refusal(world.order.cancel("order-1", CancelReason::Expired).await);
            if refused.1 != "PAYMENT_CANCEL_PENDING" {
                break refused;
            }
        };
        assert_eq!(refused, (Code::FailedPrecondition, "PAYMENT_ALREADY_AUTHORIZED".to_owned()), "{method}");
        // The bank's own report comes after what it was asked.
        world.notify("order-1 n1 25000", "genuine").await.unwrap();
        assert_eq!(world.account("order-funds").await, [0, 0, 0, 25_000], "{method}");
        // An order that cannot use the money gives it up in so many words.
        let given_up = world.order.cancel("order-1", CancelReason::OrderFailed).await.unwrap();
        assert_eq!(given_up.state(), State::Canceled, "{method}");
        assert_eq!(world.account("order-funds").await, [0; 4], "{method}");
        assert_eq!(world.account("unapplied-funds").await, [0, 25_000, 0, 0], "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_name_cannot_be_opened_late() {
    let world = World::new().await;
    assert_eq!(world.order.cancel("order-1", CancelReason::OrderFailed).await.unwrap().state(), State::Canceled);
    let late = refusal(world.order.open("order-1").await);
    assert_eq!(late, (Code::FailedPrecondition, "PAYMENT_CANCELED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_means_one_request() {
    let world = World::new().await;
    let (request_id, mut intents) = (fresh(), world.order.intents.clone());
    let request = opening("order-1", &request_id);
    let first = intents.create_payment_intent(request.clone()).await.unwrap().into_inner();
    let again = intents.create_payment_intent(request).await.unwrap().into_inner();
    assert_eq!(first, again);
    let other = intents.create_payment_intent(opening("order-2", &request_id)).await;
    assert_eq!(refusal(other), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
}
