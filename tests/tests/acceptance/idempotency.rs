//! A request that is repeated, however often and however parallel, has one effect; so has a bank's notification, and
//! an order of a cart.

mod notifications;
mod writes;

use std::collections::BTreeSet;

use acceptance::shop::{Goods, PASSWORD, SessionScope, Shop, request};
use acceptance::wire::Outcome;
use acceptance::{Mesh, Options, eventually, wire};
use bytes::Bytes;
use futures_util::future::join_all;
use sekat_api_account::v1 as account;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;
use sekat_api_order::v1::OrderState;
use sekat_policy::{Api, MethodKind};
use tonic::Code;

use crate::support::app::App;
use crate::support::stores;
use writes::{Write, writes};

/// Calls of one request at the same time.
const PARALLEL: usize = 100;

/// The contracts that edges serve.
static APIS: [&Api; 6] = [
    &sekat_api_account::API,
    &sekat_api_catalog::API,
    &sekat_api_merchant::API,
    &sekat_api_order::API,
    &sekat_api_payment::API,
    &sekat_api_showcase::API,
];

/// Nobody here is a flood.
fn unhurried() -> Options {
    Options::empty()
        .set("SEKAT_RATE_PER_SECOND", "100000")
        .set("SEKAT_ANONYMOUS_PER_SECOND", "100000")
        .set("SEKAT_SIGN_IN_PER_SECOND", "100000")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_write_of_an_end_user_has_one_effect_for_a_request_id() {
    let mesh = Mesh::start(unhurried());
    let writes = writes(&mesh).await;
    let tried: BTreeSet<&str> = writes.iter().map(|write| write.path).collect();
    let all: BTreeSet<&str> = APIS
        .iter()
        .flat_map(|api| api.methods)
        .filter(|method| method.kind == MethodKind::Write && !method.scopes.is_empty())
        .map(|method| method.path)
        .collect();
    assert_eq!(tried, all, "each write that an end user can call is tried here");

    for write in &writes {
        let path = write.path;
        let before = effect(&mesh, write);
        let replies = join_all((0..PARALLEL).map(|_| decided(write, write.token.as_deref(), &write.body))).await;
        let replies: Vec<Bytes> = replies.into_iter().map(|outcome| reply(path, outcome)).collect();
        assert_eq!(effect(&mesh, write) - before, 1, "{path}: {PARALLEL} calls have one effect");
        let first = (write.reply.part)(&replies[0]);
        assert!(replies.iter().all(|reply| (write.reply.part)(reply) == first), "{path}: replies are equal");

        for other in &write.others {
            let refused = decided(write, write.token.as_deref(), other).await;
            assert!(refused.is(Code::AlreadyExists, "REQUEST_ID_REUSED"), "{path}: another body is {refused:?}");
        }
        if let Some(stranger) = &write.stranger {
            // The very same bytes from somebody else: refused, or an effect of their own, but never this reply.
            if let Outcome::Answered { code: Code::Ok, messages, .. } =
                decided(write, Some(stranger), &write.body).await
            {
                assert_ne!(messages, replies[..1], "{path}: somebody else gets the stored reply");
            }
        }
        let again = reply(path, decided(write, write.token.as_deref(), &write.body).await);
        assert_eq!((write.reply.part)(&again), first, "{path}: the reply is still the same");
    }
}

/// The reply of a call that succeeded.
fn reply(path: &str, outcome: Outcome) -> Bytes {
    match outcome {
        Outcome::Answered { code: Code::Ok, mut messages, .. } if messages.len() == 1 => messages.remove(0),
        other => panic!("{path}: {other:?}"),
    }
}

fn effect(mesh: &Mesh, write: &Write) -> i64 {
    let (service, sql) = write.effect;
    stores::value(mesh, service, sql, ())
}

/// The outcome once it is one: who is told to come back later comes back, with the same request.
async fn decided(write: &Write, token: Option<&str>, body: &Bytes) -> Outcome {
    eventually(&format!("{} is decided", write.path), async || {
        let outcome = wire::call(&write.edge, write.path, token, body.clone()).await;
        let later = [Code::ResourceExhausted, Code::Unavailable, Code::Aborted];
        (!outcome.code().is_some_and(|code| later.contains(&code))).then_some(outcome)
    })
    .await
}

/// Who has no session yet is known by e-mail address and password, and a request id alone opens nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_learn_nothing_by_signing_up_or_in_under_anothers_request_id() {
    let mesh = Mesh::start(unhurried());
    let commerce = mesh.public("commerce-edge");
    let mut accounts = AccountServiceClient::new(commerce.clone());
    let signing_up = |email: &str, password: &str| account::CreateAccountRequest {
        account: Some(account::Account {
            display_name: "Melati Kusuma".to_owned(),
            email: email.to_owned(),
            phone: "+6281200000001".to_owned(),
            ..Default::default()
        }),
        password: password.to_owned(),
        request_id: "sign-up".to_owned(),
    };
    let own = accounts.create_account(request(None, signing_up("melati@uji.example", PASSWORD))).await.unwrap();
    for (email, password, reason) in [
        ("melati@uji.example", "another-password", "EMAIL_TAKEN"),
        ("mawar@uji.example", PASSWORD, "REQUEST_ID_REUSED"),
        ("mawar@uji.example", "another-password", "REQUEST_ID_REUSED"),
    ] {
        let refused = accounts.create_account(request(None, signing_up(email, password))).await.unwrap_err();
        assert!(wire::outcome(&refused).is(Code::AlreadyExists, reason), "{email} {refused:?}");
    }

    let other = account::CreateAccountRequest {
        request_id: "other".to_owned(),
        ..signing_up("mawar@uji.example", "another-password")
    };
    accounts.create_account(request(None, other)).await.unwrap();
    let mut sessions = SessionServiceClient::new(commerce);
    let signing_in = |email: &str, password: &str| account::CreateSessionRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        scope: SessionScope::Buyer.into(),
        request_id: "sign-in".to_owned(),
    };
    let first = sessions.create_session(request(None, signing_in("melati@uji.example", PASSWORD))).await.unwrap();
    let wrong = sessions.create_session(request(None, signing_in("melati@uji.example", "another-password"))).await;
    assert_eq!(wrong.unwrap_err().code(), Code::Unauthenticated);
    let second = sessions.create_session(request(None, signing_in("mawar@uji.example", "another-password"))).await;
    let (first, second) = (first.into_inner(), second.unwrap().into_inner());
    assert_eq!(first.account, own.into_inner().name);
    assert_ne!((first.account, first.name), (second.account, second.name));
}

/// A double click many times over, and the bank's notification in its midst.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_orders_of_one_cart_with_its_payment_in_between_are_one_order() {
    const CLICKS: usize = 25;
    let mesh = Mesh::start(unhurried());
    let shop = Shop::open(&mesh, &[Goods { code: "TEH", rupiah: 30_000, stock: 100 }]).await;
    let app = App::sign_up(&mesh).await;
    let (cart, quote_hash) = app.fill_cart(&shop.skus[0]).await;

    let click = async || app.click(&cart, &quote_hash).await;
    let mut clicks = join_all((0..CLICKS).map(|_| click())).await;
    let won = clicks.iter().flatten().next().expect("one click orders").clone();
    assert_eq!(won.state(), OrderState::PendingPayment);
    // The other half of the clicks, while the buyer pays and the bank notifies.
    let (more, paid) = futures_util::join!(join_all((0..CLICKS).map(|_| click())), app.pay(&won));
    clicks.extend(more);

    let (orders, refusals): (Vec<_>, Vec<_>) = clicks.into_iter().partition(Result::is_ok);
    assert_eq!(orders.len(), 1, "one click orders");
    for refusal in refusals.into_iter().filter_map(Result::err) {
        assert!(wire::outcome(&refusal).is(Code::FailedPrecondition, "CART_ORDERED"), "{refusal:?}");
    }
    assert_eq!(paid.name, won.name);
    assert_eq!(app.all_orders().await.len(), 1);
    let charges = app.till.charges().await;
    assert_eq!(charges.iter().map(|charge| charge.status.as_str()).collect::<Vec<_>>(), ["PAID"]);
    assert_eq!(stores::stock(&mesh), (99, 0));
}
