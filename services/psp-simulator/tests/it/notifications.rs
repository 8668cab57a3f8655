//! Notifications: signed, repeated until confirmed, and faulty on request.

use crate::world::{World, number};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

async fn pay(world: &World, trx_id: &str) -> Value {
    let reply = world.pay(json!({ "virtualAccountNo": number(trx_id) })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json
}

#[tokio::test]
async fn a_payment_is_notified_once_with_the_banks_signature() {
    let world = World::start().await;
    world.create("charge-1").await;
    let paid = pay(&world, "charge-1").await;
    world.until("charge-1", |charge| charge["notified"] == true).await;
    let [notification] = &world.partner.notifications()[..] else { panic!("not exactly one") };
    assert!(notification.is_genuine);
    let body: Value = serde_json::from_slice(&notification.body).unwrap();
    assert_eq!(body["trxId"], "charge-1");
    assert_eq!(body["virtualAccountNo"], number("charge-1"));
    assert_eq!(body["paymentRequestId"], paid["paymentRequestId"]);
    assert_eq!(body["paidAmount"], json!({ "value": "25000.00", "currency": "IDR" }));
}

#[tokio::test]
async fn a_notification_is_repeated_until_it_is_confirmed() {
    let world = World::start().await;
    world.partner.answer([StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_REQUEST]);
    world.create("charge-1").await;
    pay(&world, "charge-1").await;
    let charge = world.until("charge-1", |charge| charge["notified"] == true).await;
    assert_eq!(charge["notificationAttempts"], 3);
    let notifications = world.partner.notifications();
    let answers: Vec<u16> = notifications.iter().map(|notification| notification.answered).collect();
    assert_eq!(answers, [503, 400, 200]);
    assert!(notifications.windows(2).all(|pair| pair[0].body == pair[1].body));
}

#[tokio::test]
async fn attempts_end_and_a_restart_begins_them_again() {
    let mut world = World::start_with(|config| config.notify_attempts = 1).await;
    world.partner.answer([StatusCode::SERVICE_UNAVAILABLE]);
    world.create("charge-1").await;
    pay(&world, "charge-1").await;
    world.until("charge-1", |charge| charge["notificationAttempts"] == 1).await;
    world.restart().await;
    world.until("charge-1", |charge| charge["notified"] == true).await;
    assert_eq!(world.partner.notifications().len(), 2);
    world.restart().await;
    assert_eq!(world.charge("charge-1").await["notified"], true);
    assert_eq!(world.partner.notifications().len(), 2);
}

#[tokio::test]
async fn a_wrong_signature_is_followed_by_a_right_one() {
    let world = World::start().await;
    world.arm(json!({ "fault": "wrong-signature", "times": 2 })).await;
    world.create("charge-1").await;
    pay(&world, "charge-1").await;
    world.until("charge-1", |charge| charge["notified"] == true).await;
    let genuine: Vec<bool> = world.partner.notifications().iter().map(|seen| seen.is_genuine).collect();
    assert_eq!(genuine, [false, false, true]);
}

#[tokio::test]
async fn duplicates_are_identical() {
    let world = World::start().await;
    world.arm(json!({ "fault": "duplicate", "times": 50 })).await;
    world.create("charge-1").await;
    pay(&world, "charge-1").await;
    world.until("charge-1", |charge| charge["notificationsAccepted"] == 50).await;
    let notifications = world.partner.notifications();
    assert_eq!(notifications.len(), 50);
    assert!(notifications.iter().all(|seen| seen.is_genuine && seen.body == notifications[0].body));
}

#[tokio::test]
async fn late_money_is_notified_when_released() {
    let world = World::start().await;
    world.arm(json!({ "fault": "late", "times": 1 })).await;
    world.create("charge-1").await;
    assert_eq!(pay(&world, "charge-1").await["notification"], "held");
    assert_eq!(world.charge("charge-1").await["notificationAttempts"], 0);
    let released = world.control(Method::POST, "/simulator/release", None).await;
    assert_eq!(released.json, json!({ "released": 1 }));
    world.until("charge-1", |charge| charge["notified"] == true).await;
    assert_eq!(world.partner.notifications().len(), 1);
    assert_eq!(world.control(Method::POST, "/simulator/release", None).await.json, json!({ "released": 0 }));
}
