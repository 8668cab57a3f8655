//! Access tokens and virtual accounts: each request that is accepted has its twin that is refused.

use crate::world::{CREATE, DELETE, STATUS, World, create_body, delete_body, now, number, query_body};
use axum::http::Method;
use ring::rsa::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

#[tokio::test]
async fn a_token_is_given_for_the_partners_fresh_signature_only() {
    let world = World::start().await;
    let granted = world.ask_token("sekat-test", &now(), world.key()).await;
    assert_eq!((granted.code(), &granted.json["expiresIn"]), ("2007300", &json!("900")));

    let pem = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/keys/bank.key.pem")).unwrap();
    let stranger = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
    let stranger = KeyPair::from_pkcs8(stranger.secret_pkcs8_der()).unwrap();
    let refused = [
        world.ask_token("sekat-test", &now(), &stranger).await,
        world.ask_token("somebody", &now(), world.key()).await,
        world.ask_token("sekat-test", "2020-01-01T00:00:00+07:00", world.key()).await,
    ];
    for reply in refused {
        assert_eq!((reply.status, reply.code()), (401, "4017300"), "{reply:?}");
        assert!(reply.json["accessToken"].is_null());
    }
}

#[tokio::test]
async fn a_spoiled_transaction_is_refused_and_opens_nothing() {
    let world = World::start().await;
    let body = create_body("charge-1");
    let prepare = async || world.prepare(Method::POST, CREATE, &body).await;

    let mut spoiled = Vec::new();
    let mut call = prepare().await;
    call.signed_body = Some(call.body.replace("25000.00", "25000.01"));
    spoiled.push((call, "4012700"));
    let mut call = prepare().await;
    call.secret.push('x');
    spoiled.push((call, "4012700"));
    let mut call = prepare().await;
    call.timestamp = "2020-01-01T00:00:00+07:00".to_owned();
    spoiled.push((call, "4012700"));
    let mut call = prepare().await;
    call.partner_id = "somebody".to_owned();
    spoiled.push((call, "4012700"));
    let mut call = prepare().await;
    call.token = "made-up".to_owned();
    spoiled.push((call, "4012701"));
    let mut call = prepare().await;
    call.external_id = "not-a-number".to_owned();
    spoiled.push((call, "4002701"));
    let mut call = prepare().await;
    call.body = "{}".to_owned();
    spoiled.push((call, "4002702"));
    for (call, code) in spoiled {
        let reply = world.try_call(call).await.unwrap();
        assert_eq!(reply.code(), code, "{reply:?}");
    }
    assert!(world.charge("charge-1").await.is_null());

    let accepted = world.try_call(prepare().await).await.unwrap();
    assert_eq!(accepted.code(), "2002700", "{accepted:?}");
}

#[tokio::test]
async fn a_field_that_breaks_its_rule_is_refused() {
    let world = World::start().await;
    let rows = [
        ("partnerServiceId", json!("   54321")),
        ("customerNo", json!("12x")),
        ("virtualAccountNo", json!("1")),
        ("virtualAccountName", json!("")),
        ("trxId", json!("")),
        ("totalAmount", json!({ "value": "25000", "currency": "IDR" })),
        ("totalAmount", json!({ "value": "25000.00", "currency": "USD" })),
        ("virtualAccountTrxType", json!("O")),
        ("expiredDate", json!("2020-01-01T00:00:00+07:00")),
        ("expiredDate", json!("tomorrow")),
    ];
    for (field, value) in rows {
        let mut body = create_body("charge-1");
        body[field] = value;
        let reply = world.call(Method::POST, CREATE, &body).await;
        assert!(matches!(reply.code(), "4002701" | "4002702"), "{field}: {reply:?}");
    }
    assert_eq!(world.create("charge-1").await.code(), "2002700");
}

#[tokio::test]
async fn an_external_id_holds_once_a_day() {
    let world = World::start().await;
    for (external_id, code) in [("77", "2002600"), ("77", "4092600"), ("78", "2002600")] {
        world.create("charge-1").await;
        let mut call = world.prepare(Method::POST, STATUS, &query_body("charge-1")).await;
        call.external_id = external_id.repeat(5);
        assert_eq!(world.try_call(call).await.unwrap().code(), code);
    }
}

#[tokio::test]
async fn one_trx_id_opens_one_account() {
    let world = World::start().await;
    let first = world.create("charge-1").await;
    let repeated = world.create("charge-1").await;
    assert_eq!(first.json, repeated.json);
    assert_eq!(first.json["virtualAccountData"]["virtualAccountNo"], number("charge-1"));

    let mut other = create_body("charge-1");
    other["totalAmount"]["value"] = json!("26000.00");
    assert_eq!(world.call(Method::POST, CREATE, &other).await.code(), "4092701");
    let mut other = create_body("charge-1");
    other["trxId"] = json!("charge-2");
    assert_eq!(world.call(Method::POST, CREATE, &other).await.code(), "4092701");
    let charges = world.control(Method::GET, "/simulator/charges", None).await.json;
    assert_eq!(charges.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_status_tells_how_a_charge_stands() {
    let world = World::start().await;
    let latest = async |trx_id: &str| {
        let reply = world.call(Method::POST, STATUS, &query_body(trx_id)).await;
        (reply.code().to_owned(), reply.json["additionalInfo"]["latestTransactionStatus"].clone())
    };
    assert_eq!(latest("charge-1").await.0, "4042612");
    world.create("charge-1").await;
    assert_eq!(latest("charge-1").await, ("2002600".to_owned(), json!("03")));
    assert_eq!(world.pay(json!({ "virtualAccountNo": number("charge-1") })).await.status, 200);
    assert_eq!(latest("charge-1").await.1, json!("00"));
    assert_eq!(world.call(Method::DELETE, DELETE, &delete_body("charge-1")).await.code(), "4043114");

    world.create("charge-2").await;
    assert_eq!(world.call(Method::DELETE, DELETE, &delete_body("charge-2")).await.code(), "2003100");
    assert_eq!(world.call(Method::DELETE, DELETE, &delete_body("charge-2")).await.code(), "2003100");
    assert_eq!(latest("charge-2").await.1, json!("05"));
    let paid = world.pay(json!({ "virtualAccountNo": number("charge-2") })).await;
    assert_eq!((paid.status, &paid.json["error"]), (409, &json!("cancelled")));
}

#[tokio::test]
async fn a_bill_is_paid_once_and_exactly() {
    let world = World::start().await;
    world.create("charge-1").await;
    let number = number("charge-1");
    let unpadded = number.trim().to_owned();
    let rows = [
        (json!({ "virtualAccountNo": "999" }), 404, json!("unknown")),
        (json!({ "virtualAccountNo": number, "amount": "24999.00" }), 409, json!("wrong-amount")),
        (json!({ "virtualAccountNo": number, "amount": "25000.01" }), 409, json!("wrong-amount")),
        (json!({ "virtualAccountNo": number, "amount": "25000" }), 400, json!("bad-amount")),
        (json!({ "virtualAccountNo": unpadded, "amount": "25000.00" }), 200, json!(null)),
        (json!({ "virtualAccountNo": number }), 409, json!("paid")),
    ];
    for (body, status, error) in rows {
        let reply = world.pay(body.clone()).await;
        assert_eq!((reply.status, &reply.json["error"]), (status, &error), "{body}");
    }
}

#[tokio::test]
async fn a_lost_reply_has_done_its_work_and_a_refusal_has_not() {
    let world = World::start().await;
    world.arm(json!({ "fault": "lost-reply", "times": 1, "service": "create-va" })).await;
    let call = world.prepare(Method::POST, CREATE, &create_body("charge-1")).await;
    assert!(world.try_call(call).await.is_err());
    assert_eq!(world.charge("charge-1").await["status"], "UNPAID");
    assert_eq!(world.create("charge-1").await.code(), "2002700");

    world.arm(json!({ "fault": "refuse", "times": 1 })).await;
    assert_eq!(world.create("charge-2").await.code(), "4032715");
    assert!(world.charge("charge-2").await.is_null());
    assert_eq!(world.create("charge-2").await.code(), "2002700");
}

#[tokio::test]
async fn a_slow_reply_is_a_reply() {
    let world = World::start().await;
    world.arm(json!({ "fault": "slow", "times": 1, "delayMs": 200 })).await;
    let start = tokio::time::Instant::now();
    assert_eq!(world.create("charge-1").await.code(), "2002700");
    assert!(start.elapsed().as_millis() >= 200);
}

#[tokio::test]
async fn charges_survive_a_kill_and_tokens_do_not() {
    let mut world = World::start().await;
    world.create("charge-1").await;
    world.create("charge-2").await;
    world.call(Method::DELETE, DELETE, &delete_body("charge-2")).await;
    let call = world.prepare(Method::POST, STATUS, &query_body("charge-1")).await;
    world.restart().await;
    assert_eq!(world.try_call(call).await.unwrap().code(), "4012601");
    assert_eq!(world.charge("charge-1").await["status"], "UNPAID");
    assert_eq!(world.charge("charge-2").await["status"], "CANCELLED");
    assert_eq!(world.create("charge-1").await.code(), "2002700");
    assert_eq!(world.pay(json!({ "virtualAccountNo": number("charge-1") })).await.status, 200);
}

#[tokio::test]
async fn the_bank_refuses_to_start_on_what_would_not_work() {
    let world = World::start().await;
    let spoil = |change: &dyn Fn(&mut sekat_psp_simulator::Config)| {
        let mut config = world.config().clone();
        config.journal.set_extension("other");
        change(&mut config);
        sekat_psp_simulator::start(config)
    };
    let open_control = spoil(&|config| config.control_listen = "0.0.0.0:0".parse().unwrap()).await;
    assert!(open_control.unwrap_err().to_string().contains("loopback"));
    let no_key = spoil(&|config| config.private_key = config.tls_cert.clone()).await;
    assert!(no_key.unwrap_err().to_string().contains("unusable key"));
    let no_file = spoil(&|config| config.client_secret_file = "/nowhere".into()).await;
    assert!(no_file.unwrap_err().to_string().contains("/nowhere"));
    let taken = spoil(&|config| config.listen = world.bank().bank_addr()).await;
    assert!(taken.unwrap_err().to_string().contains("port"));
    let shared = spoil(&|config| config.journal = world.config().journal.clone()).await;
    assert!(shared.unwrap_err().to_string().contains("journal"));
}
