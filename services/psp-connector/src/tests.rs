//! The connector against a bank: real HTTPS sockets, the bank's own program code, its faults.

mod mesh;
mod world;

use std::time::{Duration, Instant};

use sekat_api_connector::v1 as api;
use serde_json::json;
use time::OffsetDateTime;

use crate::error::Error;
use crate::{cancel_charge, create_charge, get_charge, verify_notification};
use world::{World, create_request, expiry, rupiah};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// What a caller may do about an error.
fn reason(error: Error) -> String {
    sekat_mesh::refusal::reason(&error.into()).unwrap()
}

async fn create(world: &World, id: &str) -> Result<api::Charge, String> {
    create_charge::ask(&world.connector, &create_request(id), soon()).await.map_err(reason)
}

async fn get(world: &World, id: &str) -> Result<api::Charge, String> {
    let request =
        api::GetChargeRequest { name: format!("charges/{id}"), bank: api::Bank::Bca.into(), ..Default::default() };
    get_charge::ask(&world.connector, &request, soon()).await.map_err(reason)
}

async fn cancel(world: &World, id: &str) -> Result<api::Charge, String> {
    let request =
        api::CancelChargeRequest { name: format!("charges/{id}"), bank: api::Bank::Bca.into(), ..Default::default() };
    cancel_charge::ask(&world.connector, &request, soon()).await.map_err(reason)
}

fn refused<T>(outcome: Result<T, String>) -> String {
    outcome.err().unwrap()
}

#[tokio::test]
async fn a_charge_is_created_found_and_closed() {
    let world = World::start().await;
    assert_eq!(refused(get(&world, "pi-0001").await), "CHARGE_NOT_FOUND");
    assert_eq!(refused(cancel(&world, "pi-0001").await), "CHARGE_NOT_FOUND");
    let created = create(&world, "pi-0001").await.unwrap();
    assert_eq!(created.name, "charges/pi-0001");
    assert_eq!(created.state(), api::ChargeState::Open);
    assert_eq!(created.amount, Some(rupiah(25_000)));
    assert_eq!(created.expire_time, Some(expiry()));
    assert!(created.account_number.starts_with("12345") && created.account_number.len() == 23);
    assert_eq!(get(&world, "pi-0001").await.unwrap(), created);

    let closed = cancel(&world, "pi-0001").await.unwrap();
    assert_eq!(closed.state(), api::ChargeState::Closed);
    assert_eq!(cancel(&world, "pi-0001").await.unwrap(), closed);
    assert_eq!(get(&world, "pi-0001").await.unwrap(), closed);
}

#[tokio::test]
async fn the_same_charge_is_asked_for_once_and_other_terms_are_refused() {
    let world = World::start().await;
    let created = create(&world, "pi-0001").await.unwrap();
    assert_eq!(create(&world, "pi-0001").await.unwrap(), created);
    let dearer = api::CreateChargeRequest { amount: Some(rupiah(26_000)), ..create_request("pi-0001") };
    let outcome = create_charge::ask(&world.connector, &dearer, soon()).await.map_err(reason);
    assert_eq!(refused(outcome), "CHARGE_TERMS_DIFFER");
    assert_eq!(world.charges().await.len(), 1);
}

#[tokio::test]
async fn a_known_number_finds_the_charge_and_anothers_does_not() {
    let world = World::start().await;
    let one = create(&world, "pi-0001").await.unwrap();
    let two = create(&world, "pi-0002").await.unwrap();
    assert_ne!(one.account_number, two.account_number);
    let by_number = async |number: &str| {
        let request = api::GetChargeRequest {
            name: "charges/pi-0001".to_owned(),
            bank: api::Bank::Bca.into(),
            account_number: number.to_owned(),
        };
        get_charge::ask(&world.connector, &request, soon()).await.map_err(reason)
    };
    assert_eq!(by_number(&one.account_number).await.unwrap(), one);
    assert_eq!(refused(by_number(&two.account_number).await), "CHARGE_NOT_FOUND");
    for number in ["99999000000000000000001", "12345", "12345x", "   12345000000000000000001"] {
        assert_eq!(refused(by_number(number).await), "INVALID_ARGUMENT", "{number}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_an_unknown_outcome_that_a_query_resolves() {
    let world = World::start().await;
    world.arm(json!({ "fault": "lost-reply", "times": 1, "service": "create-va" })).await;
    assert_eq!(refused(create(&world, "pi-0001").await), "PROVIDER_OUTCOME_UNKNOWN");
    let found = get(&world, "pi-0001").await.unwrap();
    assert_eq!(found.state(), api::ChargeState::Open);
    assert_eq!(create(&world, "pi-0001").await.unwrap(), found);

    world.arm(json!({ "fault": "lost-reply", "times": 1, "service": "delete-va" })).await;
    assert_eq!(refused(cancel(&world, "pi-0001").await), "PROVIDER_OUTCOME_UNKNOWN");
    assert_eq!(get(&world, "pi-0001").await.unwrap().state(), api::ChargeState::Closed);
    assert_eq!(world.charges().await.len(), 1);
}

#[tokio::test]
async fn a_refusal_is_proven_and_leaves_nothing() {
    let world = World::start().await;
    world.arm(json!({ "fault": "refuse", "times": 1 })).await;
    assert_eq!(refused(create(&world, "pi-0001").await), "PROVIDER_REFUSED");
    assert_eq!(refused(get(&world, "pi-0001").await), "CHARGE_NOT_FOUND");
    let past = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let expired = api::CreateChargeRequest { expire_time: Some(past), ..create_request("pi-0001") };
    let outcome = create_charge::ask(&world.connector, &expired, soon()).await.map_err(reason);
    assert_eq!(refused(outcome), "PROVIDER_REFUSED");
    assert!(world.charges().await.is_empty());
}

#[tokio::test]
async fn a_slow_bank_is_an_unknown_outcome_at_the_deadline() {
    let world = World::start().await;
    create(&world, "pi-0001").await.unwrap();
    world.arm(json!({ "fault": "slow", "times": 1, "delayMs": 30_000 })).await;
    let deadline = Instant::now() + Duration::from_secs(1);
    let outcome = create_charge::ask(&world.connector, &create_request("pi-0002"), deadline).await.map_err(reason);
    assert_eq!(refused(outcome), "PROVIDER_OUTCOME_UNKNOWN");
    assert!(Instant::now() < deadline, "the answer came too late to be of use");
    assert_eq!(get(&world, "pi-0002").await.unwrap().state(), api::ChargeState::Open);
}

#[tokio::test]
async fn a_bank_that_is_away_was_asked_nothing_and_is_found_again() {
    let mut world = World::start().await;
    let created = create(&world, "pi-0001").await.unwrap();
    world.stop_bank().await;
    assert_eq!(refused(create(&world, "pi-0002").await), "PROVIDER_UNREACHABLE");
    // The new bank knows no token of the old one; the connector gets another by itself.
    world.start_bank().await;
    assert_eq!(get(&world, "pi-0001").await.unwrap(), created);
    assert_eq!(world.tokens_issued().await, 1);
}

#[tokio::test]
async fn parallel_calls_share_one_token() {
    let world = World::start().await;
    let ids: Vec<String> = (0..20).map(|number| format!("pi-{number:04}")).collect();
    let calls = ids.iter().map(|id| create(&world, id));
    for charge in futures_util::future::join_all(calls).await {
        charge.unwrap();
    }
    assert_eq!(world.tokens_issued().await, 1);
}

#[tokio::test]
async fn no_call_fails_because_a_token_ends() {
    let world = World::start_with(|config| config.token_seconds = 1).await;
    create(&world, "pi-0001").await.unwrap();
    let issued = world.tokens_issued().await;
    let patience = Instant::now() + Duration::from_secs(30);
    while world.tokens_issued().await == issued {
        assert!(Instant::now() < patience, "the token was never renewed");
        get(&world, "pi-0001").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn another_host_or_another_ca_gets_no_request() {
    let world = World::start().await;
    for connector in [world.connector_of_another_host(), world.connector_of_another_ca()] {
        let outcome = create_charge::ask(&connector, &create_request("pi-0001"), soon()).await.map_err(reason);
        assert_eq!(refused(outcome), "PROVIDER_UNREACHABLE");
    }
    assert_eq!(world.tokens_issued().await, 0);
    create(&world, "pi-0001").await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_are_no_refusal_of_the_charge() {
    let world = World::start().await;
    let stranger = world.connector_with(|config| config.client_id = "somebody".to_owned());
    let outcome = create_charge::ask(&stranger, &create_request("pi-0001"), soon()).await.map_err(reason);
    assert_eq!(refused(outcome), "PROVIDER_NOT_ACCEPTING");
    let guesser =
        world.connector_with(|config| config.client_secret_file = world.file("another secret, as long as it"));
    let outcome = create_charge::ask(&guesser, &create_request("pi-0001"), soon()).await.map_err(reason);
    assert_eq!(refused(outcome), "PROVIDER_NOT_ACCEPTING");
    assert!(world.charges().await.is_empty());
}

#[tokio::test]
async fn a_request_that_breaks_a_rule_never_reaches_the_bank() {
    let world = World::start().await;
    let good = || create_request("pi-0001");
    let dollars = sekat_api_google::r#type::Money { currency_code: "USD".to_owned(), units: 5, nanos: 0 };
    let sen = sekat_api_google::r#type::Money { nanos: 10_000_000, ..rupiah(25_000) };
    let rows = [
        api::CreateChargeRequest { charge_id: "PI/1".to_owned(), ..good() },
        api::CreateChargeRequest { bank: 0, ..good() },
        api::CreateChargeRequest { bank: 7, ..good() },
        api::CreateChargeRequest { amount: None, ..good() },
        api::CreateChargeRequest { amount: Some(rupiah(0)), ..good() },
        api::CreateChargeRequest { amount: Some(rupiah(-1)), ..good() },
        api::CreateChargeRequest { amount: Some(dollars), ..good() },
        api::CreateChargeRequest { amount: Some(sen), ..good() },
        api::CreateChargeRequest { expire_time: None, ..good() },
    ];
    for request in rows {
        let outcome = create_charge::ask(&world.connector, &request, soon()).await.map_err(reason);
        assert_eq!(refused(outcome), "INVALID_ARGUMENT");
    }
    assert_eq!(world.tokens_issued().await, 0);
    create(&world, "pi-0001").await.unwrap();
}

#[tokio::test]
async fn a_payment_is_seen_by_query_and_by_notification_alike() {
    let world = World::start().await;
    let created = create(&world, "pi-0001").await.unwrap();
    world.pay(&created.account_number).await;
    let paid = get(&world, "pi-0001").await.unwrap();
    assert_eq!(paid.state(), api::ChargeState::Paid);
    assert_eq!(refused(cancel(&world, "pi-0001").await), "CHARGE_PAID");

    let notification = &world.notifications(1).await[0];
    let verified = verify_notification::judge(&world.connector, notification, OffsetDateTime::now_utc()).unwrap();
    assert_eq!(verified.charge, paid.name);
    assert_eq!(verified.paid_amount, Some(rupiah(25_000)));
    assert_eq!(verified.provider_reference, paid.provider_reference);
    assert_eq!(verified.notification_id, paid.provider_reference);
    assert_eq!(verified.paid_time, paid.paid_time);
}

#[tokio::test]
async fn duplicates_report_one_payment() {
    let world = World::start().await;
    let created = create(&world, "pi-0001").await.unwrap();
    world.arm(json!({ "fault": "duplicate", "times": 10 })).await;
    world.pay(&created.account_number).await;
    let now = OffsetDateTime::now_utc();
    let verified: Vec<api::VerifiedNotification> = world
        .notifications(10)
        .await
        .iter()
        .map(|notification| verify_notification::judge(&world.connector, notification, now).unwrap())
        .collect();
    assert!(verified.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_notification_is_refused_unless_every_part_of_it_is_right() {
    let world = World::start().await;
    world.arm(json!({ "fault": "wrong-signature", "times": 1 })).await;
    let created = create(&world, "pi-0001").await.unwrap();
    world.pay(&created.account_number).await;
    let notifications = world.notifications(2).await;
    let now = OffsetDateTime::now_utc();
    let judge = |notification: &api::VerifyNotificationRequest, now| {
        verify_notification::judge(&world.connector, notification, now).map(|_| ()).map_err(reason)
    };
    assert_eq!(judge(&notifications[0], now), Err("NOTIFICATION_NOT_GENUINE".to_owned()));
    let good = &notifications[1];
    assert_eq!(judge(good, now), Ok(()));

    let spoiled = |spoil: &dyn Fn(&mut api::VerifyNotificationRequest)| {
        let mut notification = good.clone();
        spoil(&mut notification);
        judge(&notification, now)
    };
    let set = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), value.to_owned());
        move |notification: &mut api::VerifyNotificationRequest| {
            notification.headers.retain(|header| header.name != name);
            notification.headers.push(api::NotificationHeader { name: name.clone(), value: value.clone() });
        }
    };
    let not_genuine = Err("NOTIFICATION_NOT_GENUINE".to_owned());
    let body = String::from_utf8(good.body.clone()).unwrap();
    assert_eq!(spoiled(&|spoiled| spoiled.body = body.replace("25000.00", "35000.00").into()), not_genuine);
    assert_eq!(spoiled(&|spoiled| spoiled.body.clear()), not_genuine);
    assert_eq!(spoiled(&|spoiled| spoiled.path = "/elsewhere".to_owned()), not_genuine);
    assert_eq!(spoiled(&|spoiled| spoiled.http_method = "PUT".to_owned()), not_genuine);
    assert_eq!(spoiled(&|spoiled| spoiled.headers.clear()), not_genuine);
    assert_eq!(spoiled(&set("x-signature", "")), not_genuine);
    assert_eq!(spoiled(&set("x-timestamp", "2025-01-01T00:00:00+07:00")), not_genuine);
    assert_eq!(spoiled(&|spoiled| spoiled.headers.extend(good.headers.clone())), not_genuine);
    assert_eq!(spoiled(&|spoiled| spoiled.channel = "bni".to_owned()), Err("INVALID_ARGUMENT".to_owned()));
    // White space between tokens is not signed.
    assert_eq!(spoiled(&|spoiled| spoiled.body.push(b'\n')), Ok(()));

    let too_old = Err("NOTIFICATION_TOO_OLD".to_owned());
    assert_eq!(judge(good, now + time::Duration::minutes(4)), Ok(()));
    assert_eq!(judge(good, now + time::Duration::minutes(6)), too_old);
    assert_eq!(judge(good, now - time::Duration::minutes(6)), too_old);
}

#[tokio::test]
async fn nothing_secret_is_printed_and_unusable_files_are_named() {
    let world = World::start().await;
    let secret = std::fs::read_to_string(world.config().client_secret_file.clone()).unwrap();
    for printed in [format!("{:?}", world.connector), format!("{:?}", world.config())] {
        assert!(!printed.contains(secret.trim()) && !printed.contains("PRIVATE KEY"), "{printed}");
    }
    let failure = |change: &dyn Fn(&mut crate::Config)| {
        let mut config = world.config();
        change(&mut config);
        let error = crate::bank::Bank::new(&config).err().unwrap();
        format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
    };
    assert!(failure(&|config| config.private_key = "/nowhere".into()).contains("/nowhere"));
    assert!(failure(&|config| config.ca = config.private_key.clone()).contains("CA"));
    assert!(failure(&|config| config.client_secret_file = world.file("short")).contains("secret"));
    let text = failure(&|config| config.bank_public_key = config.private_key.clone());
    assert!(text.contains("PUBLIC KEY") && !text.contains("BEGIN"), "{text}");
}
