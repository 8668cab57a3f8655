//! Ten thousand people want a hundred pieces: a hundred get one, and what is not paid is for sale again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use acceptance::shop::{Goods, Shop};
use acceptance::{Mesh, Options, eventually, wire};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use sekat_api_order::v1::{Order, OrderState};
use tonic::Code;

use crate::support::app::App;
use crate::support::evidence;
use crate::support::stores;
use crate::support::till::Charge;

/// Checkouts.
const CHECKOUTS: usize = 10_000;
/// Pieces that there are.
const UNITS: usize = 100;
/// People; each of them checks out many times, because signing up costs a password hash.
const BUYERS: usize = 50;
/// Checkouts under way at a time: twice what order admits, so that everybody is turned away now and then and comes
/// back.
const AT_ONCE: usize = 128;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_checkouts_of_a_hundred_pieces_sell_a_hundred() {
    let mut mesh = Mesh::start(
        Options::empty().set("SEKAT_RATE_PER_SECOND", "1000000").set("SEKAT_SIGN_IN_PER_SECOND", "1000000"),
    );
    let stock = i64::try_from(UNITS).unwrap();
    let shop = Shop::open(&mesh, &[Goods { code: "BATIK", rupiah: 150_000, stock }]).await;
    let sku = shop.skus[0].as_str();
    let apps = buyers(&mesh).await;

    // Everybody has a priced cart before anybody orders: all of them think that there is enough.
    let begun = Instant::now();
    let carts: Vec<(&App, String, String)> = stream::iter((0..CHECKOUTS).map(|index| &apps[index % BUYERS]))
        .map(|app| async move {
            let (cart, quote_hash) = app.fill_cart(sku).await;
            (app, cart, quote_hash)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    eprintln!("{CHECKOUTS} carts after {:?}", begun.elapsed());
    let got_one: Vec<bool> = stream::iter(&carts)
        .map(|(app, cart, quote_hash)| check_out(app, cart, quote_hash))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    eprintln!("{CHECKOUTS} checkouts after {:?}", begun.elapsed());

    assert_eq!((got_one.len(), got_one.iter().filter(|got| **got).count()), (CHECKOUTS, UNITS));
    assert_eq!(stores::stock(&mesh), (stock, stock), "all of it is held, and no piece more");
    let held = "SELECT COUNT(*) FROM reservations WHERE state = 1";
    assert_eq!(stores::value::<i64>(&mesh, "catalog", held, ()), stock);

    // The buyers see the same.
    let mut seen: BTreeMap<OrderState, usize> = BTreeMap::new();
    for order in join_all(apps.iter().map(App::all_orders)).await.into_iter().flatten() {
        if order.state() == OrderState::Failed {
            assert_eq!(order.failure_reason, "OUT_OF_STOCK");
        }
        *seen.entry(order.state()).or_default() += 1;
    }
    assert_eq!(seen.remove(&OrderState::PendingPayment), Some(UNITS));
    assert!(seen.keys().all(|state| *state == OrderState::Failed), "{seen:?}");

    assert!(mesh.stop().await.success());
    // Most calls were refused at first; what was admitted beside them was answered.
    let broken = evidence::broken_calls(&mesh);
    assert!(broken.is_empty(), "{broken:?}");
    let accesses = evidence::counters_records_and_spans_agree(&mesh);
    eprintln!("{accesses} accesses, each with its record, its span and its count");
}

/// Whether an order of this cart holds a piece; without one it is out of stock, and nothing else.
async fn check_out(app: &App, cart: &str, quote_hash: &str) -> bool {
    match app.click(cart, quote_hash).await {
        Ok(order) if order.state() == OrderState::PendingPayment => true,
        Ok(order) => {
            assert_eq!((order.state(), order.failure_reason.as_str()), (OrderState::Failed, "OUT_OF_STOCK"));
            false
        }
        Err(status) => {
            assert!(wire::outcome(&status).is(Code::FailedPrecondition, "OUT_OF_STOCK"), "{status:?}");
            false
        }
    }
}

async fn buyers(mesh: &Mesh) -> Vec<App> {
    stream::iter(0..BUYERS).map(|_| App::sign_up(mesh)).buffer_unordered(4).collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_paid_in_time_is_for_sale_again() {
    const TTL_SECONDS: u64 = 5;
    /// Ten times what the contract of the shop says: stock is back within 5 seconds.
    const BACK_WITHIN: Duration = Duration::from_secs(10 * 5);
    let mesh = Mesh::start(Options::empty().set("SEKAT_ORDER_TTL", &format!("{TTL_SECONDS}s")));
    let shop = Shop::open(&mesh, &[Goods { code: "BATIK", rupiah: 150_000, stock: 20 }]).await;
    let app = App::sign_up(&mesh).await;
    let placed: Vec<Order> =
        join_all((0..20).map(|_| app.order(&shop.skus[0]))).await.into_iter().map(|it| it.1).collect();
    assert_eq!(stores::stock(&mesh), (20, 20));
    let refused = app.buyer.cart(&[(&shop.skus[0], 1)]).await.unwrap();
    assert_eq!(app.buyer.quote(&refused.name).await.unwrap_err().code(), Code::FailedPrecondition, "it is sold out");

    // Some pay, some got as far as the bank, some did nothing.
    let (paying, others) = placed.split_at(5);
    let paid = join_all(paying.iter().map(|order| app.pay(order))).await;
    assert!(paid.iter().all(|order| order.state() == OrderState::Paid));
    join_all(others[..5].iter().map(|order| app.virtual_account(&order.payment_intent))).await;

    let latest = others.iter().filter_map(|order| order.expire_time).map(|time| time.seconds).max().unwrap();
    eventually("what was not paid is for sale again", async || (stores::stock(&mesh) == (15, 0)).then_some(())).await;
    let back = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(latest.unsigned_abs())).unwrap();
    eprintln!("stock was back {back:?} after the last order's time was over");
    assert!(back <= BACK_WITHIN, "{back:?}");
    for order in others {
        app.buyer.wait_for(&order.name, OrderState::Expired).await;
    }
    let open = |charge: &&Charge| charge.status == "UNPAID";
    let charges = app.till.charges().await;
    assert_eq!((charges.len(), charges.iter().filter(open).count()), (10, 0), "the bank takes no money for the others");
    app.order(&shop.skus[0]).await;
}
