//! A bank that says everything a thousand times, wrongly signed, too late or not at all.

use acceptance::shop::{Goods, Shop};
use acceptance::{Mesh, eventually};
use futures_util::future::join_all;
use http::StatusCode;
use sekat_api_order::v1::{Order, OrderState};
use time::OffsetDateTime;

use super::unhurried;
use crate::support::app::App;
use crate::support::snap::Notifier;
use crate::support::stores::{self, Balance, balanced_ledger};

/// Deliveries of one notification.
const COPIES: u32 = 1_000;
const PRICE: i64 = 40_000;
/// With shipping.
const TOTAL: i64 = PRICE + 12_000;

async fn shop(mesh: &Mesh, stock: i64) -> (App, String) {
    let shop = Shop::open(mesh, &[Goods { code: "KOPI", rupiah: PRICE, stock }]).await;
    (App::sign_up(mesh).await, shop.skus[0].clone())
}

/// Transfers in the ledger.
fn transfers(mesh: &Mesh) -> i64 {
    stores::value(mesh, "payment", "SELECT COUNT(*) FROM ledger_transfers", ())
}

/// What is in an account, in rupiah: received less given, or the other way round.
fn unapplied(mesh: &Mesh) -> i64 {
    let Balance { debits_posted, credits_posted, .. } = balanced_ledger(mesh)["unapplied-funds"];
    (credits_posted - debits_posted) / 100
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_notifications_of_one_payment_have_one_effect() {
    let mesh = Mesh::start(unhurried());
    let (app, sku) = shop(&mesh, 10).await;
    let (_, placed) = app.order(&sku).await;
    let number = app.virtual_account(&placed.payment_intent).await;
    mesh.bank().arm("duplicate", COPIES).await;
    app.till.pay(&number).await;
    let paid = app.buyer.wait_for(&placed.name, OrderState::Paid).await;
    let charge = eventually("the bank has all its notifications confirmed", async || {
        let charges = app.till.charges_of(&paid.payment_intent).await;
        charges.into_iter().find(|charge| charge.notifications_accepted == COPIES)
    })
    .await;
    // One hold and one capture, once.
    assert_eq!(transfers(&mesh), 2);
    assert_eq!(stores::stock(&mesh), (9, 0));

    // The bank's own words once more, each copy the same to the byte, and some days in between: by another bank.
    let bank = Notifier::of_bank(&mesh);
    let again = bank.payment(&charge.trx_id, TOTAL, charge.payment_request_id.as_deref().unwrap());
    let answers = join_all((0..100).map(|_| bank.send(&again))).await;
    assert!(answers.iter().all(|status| *status == StatusCode::OK), "{answers:?}");
    assert_eq!(transfers(&mesh), 2);
    assert_eq!(unapplied(&mesh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_that_is_not_the_banks_or_not_fresh_has_no_effect() {
    let mesh = Mesh::start(unhurried());
    let (app, sku) = shop(&mesh, 10).await;
    let (_, placed) = app.order(&sku).await;
    let number = app.virtual_account(&placed.payment_intent).await;
    let charge = placed.payment_intent.strip_prefix("paymentIntents/").unwrap();
    let bank = Notifier::of_bank(&mesh);

    let good = bank.payment(charge, TOTAL, "pay-1");
    let forged = bank.payment(charge, TOTAL, "pay-2").signature;
    let dear = bank.payment(charge, TOTAL + 1, "pay-1").body;
    let hour = time::Duration::HOUR;
    let bad = [
        ("another notification's signature", good.clone().signed_with(&forged)),
        ("no signature", good.clone().signed_with("")),
        ("another body", good.clone().saying(dear)),
        ("another time", good.clone().at(OffsetDateTime::now_utc() + time::Duration::MINUTE)),
        ("an hour old", bank.resigned(&good, OffsetDateTime::now_utc() - hour)),
        ("an hour ahead", bank.resigned(&good, OffsetDateTime::now_utc() + hour)),
    ];
    for (what, notification) in bad {
        assert_eq!(bank.send(&notification).await, StatusCode::UNAUTHORIZED, "{what}");
    }
    assert_eq!(transfers(&mesh), 0);
    assert_eq!(app.buyer.look_at(&placed.name).await.unwrap().state(), OrderState::PendingPayment);

    // The bank itself garbles five signatures; the sixth is right.
    mesh.bank().arm("wrong-signature", 5).await;
    app.till.pay(&number).await;
    app.buyer.wait_for(&placed.name, OrderState::Paid).await;
    let charges = eventually("the bank is done", async || {
        Some(app.till.charges_of(&placed.payment_intent).await).filter(|charges| charges[0].notified)
    })
    .await;
    assert_eq!((charges[0].notification_attempts, charges[0].notifications_accepted), (6, 1));
    assert_eq!(transfers(&mesh), 2);
}

/// The bank does what it is asked, eight times over, and nobody hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_whose_creation_is_never_confirmed_is_found_by_asking_and_made_once() {
    const LOST: u32 = 8;
    let mesh = Mesh::start(unhurried());
    let (app, sku) = shop(&mesh, 10).await;
    let (_, placed) = app.order(&sku).await;
    mesh.bank().arm("lost-reply", LOST).await;
    // No call of the buyer's fails meanwhile, and each is answered within its time.
    let number = eventually("the virtual account", async || {
        app.try_virtual_account(&placed.payment_intent).await.expect("no error reaches the buyer")
    })
    .await;
    app.till.pay(&number).await;
    app.buyer.wait_for(&placed.name, OrderState::Paid).await;
    let charges = app.till.charges().await;
    assert_eq!(charges.iter().map(|charge| charge.status.as_str()).collect::<Vec<_>>(), ["PAID"]);
    assert_eq!(transfers(&mesh), 2);
    assert_eq!(stores::stock(&mesh), (9, 0));
}

/// Money for an order that has expired: it is reopened if there is stock, and else the money stays in sight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_comes_too_late_reopens_the_order_or_is_booked_as_unapplied() {
    let mesh = Mesh::start(unhurried().set("SEKAT_ORDER_TTL", "3s"));
    let (app, sku) = shop(&mesh, 1).await;
    let bank = Notifier::of_bank(&mesh);
    let expired = async |confirm: bool| -> Order {
        let (_, placed) = app.order(&sku).await;
        if confirm {
            app.virtual_account(&placed.payment_intent).await;
        }
        let expired = app.buyer.wait_for(&placed.name, OrderState::Expired).await;
        assert_eq!(expired.failure_reason, "NOT_PAID_IN_TIME");
        assert_eq!(stores::stock(&mesh).1, 0, "its stock is free again");
        expired
    };
    let pay_late = async |order: &Order, id: &str| {
        let charge = order.payment_intent.strip_prefix("paymentIntents/").unwrap();
        let late = bank.payment(charge, TOTAL, id);
        assert_eq!(bank.send(&late).await, StatusCode::OK);
        assert_eq!(bank.send(&late).await, StatusCode::OK, "and once more");
    };

    // Nobody else wanted it: the late buyer gets it.
    let (first, second) = (expired(true).await, expired(false).await);
    pay_late(&first, "late-1").await;
    app.buyer.wait_for(&first.name, OrderState::Paid).await;
    assert_eq!(stores::stock(&mesh), (0, 0));
    assert_eq!(unapplied(&mesh), 0);

    // It is sold: the money stays where everybody sees it.
    pay_late(&second, "late-2").await;
    let given_up = eventually("the money is booked as unapplied", async || {
        let now = app.buyer.look_at(&second.name).await.unwrap();
        (now.failure_reason == "LATE_PAYMENT_UNAPPLIED" && now.state() == OrderState::Expired).then_some(now)
    })
    .await;
    assert_eq!(given_up.name, second.name);
    assert_eq!(unapplied(&mesh), TOTAL);
    assert_eq!(stores::stock(&mesh), (0, 0));
}
