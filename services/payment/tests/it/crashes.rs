//! What a killed process leaves behind, the next one finishes by itself.

use sekat_api_payment::v1::{CancelReason, PaymentEventType, PaymentIntentState as State};

use crate::connector::Fault;
use crate::world::{World, account_number, next};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_while_it_asks_asks_again_and_makes_no_second_charge() {
    let mut world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.connector.fail("CreateCharge", Fault::Hang, 1);
    tokio::select! {
        _ = world.confirm("order-1") => panic!("the bank has not answered"),
        () = world.connector.hangs() => {}
    }
    world.kill().await;
    world.start().await;
    let seen = world.reaches("order-1", State::RequiresAction).await;
    assert_eq!(account_number(&seen).unwrap(), "12345000001");
    assert_eq!(world.connector.charges().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_while_it_closes_a_charge_closes_it_later() {
    let mut world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.confirm("order-1").await.unwrap();
    world.connector.fail("CancelCharge", Fault::Hang, 1);
    tokio::select! {
        _ = world.order.cancel("order-1", CancelReason::Requested) => panic!("the bank has not answered"),
        () = world.connector.hangs() => {}
    }
    world.kill().await;
    world.start().await;
    world.reaches("order-1", State::Canceled).await;
    let mut events = world.order.watch("").await.unwrap();
    assert_eq!(next(&mut events).await.r#type(), PaymentEventType::Canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives() {
    let mut world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.confirm("order-1").await.unwrap();
    world.notify("order-1 n1 25000", "genuine").await.unwrap();
    world.kill().await;
    world.start().await;
    assert_eq!(world.seen("order-1").await.state(), State::RequiresCapture);
    assert!(world.notify("order-1 n1 25000", "genuine").await.unwrap().duplicate);
    world.order.capture("order-1").await.unwrap();
    world.kill().await;
    world.start().await;
    assert_eq!(world.account("order-funds").await, [0, 25_000, 0, 0]);
    let mut events = world.order.watch("").await.unwrap();
    for expected in [PaymentEventType::Authorized, PaymentEventType::Captured] {
        assert_eq!(next(&mut events).await.r#type(), expected);
    }
}
