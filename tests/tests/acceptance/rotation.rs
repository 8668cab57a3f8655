//! All authorities and all identities are replaced while people browse and buy: no call fails, and what the old
//! authorities signed is refused afterwards.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use acceptance::shop::{Buyer, Goods, Person, SessionScope, Shop};
use acceptance::wire::{Identity, Outcome, call, handshake, tls};
use acceptance::{Mesh, Options, eventually};
use bytes::Bytes;
use futures_util::future::{join, join_all};
use rustix::process::Signal;
use sekat_api_order::v1::order_service_client::OrderServiceClient;
use sekat_api_order::v1::{OrderEvent, OrderState, WatchOrderRequest};
use tonic::{Code, Status, Streaming};

/// Who buys at the same time.
const BUYERS: usize = 3;
/// Longer than a roll takes.
const WATCH_LIMIT: Duration = Duration::from_secs(120);
/// What `ops` may read, with an empty message.
const TRANSFERS: &str = "/sekat.payment.v1.LedgerService/ListLedgerTransfers";
/// Who shows an old identity, and where it was let in.
const OLD_AT: [(&str, &str); 5] = [
    ("ops", "payment"),
    ("commerce-edge", "order"),
    ("order", "account"),
    ("showcase", "catalog-feed"),
    ("showcase-edge", "showcase"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_everything_rolls_and_old_identities_are_refused_afterwards() {
    let mesh = Mesh::start(Options::empty());
    let shop = Shop::open(&mesh, &[Goods { code: "KOPI", rupiah: 25_000, stock: 1_000_000 }]).await;
    let buyers = join_all((0..BUYERS).map(|_| Buyer::sign_up(&mesh))).await;
    let old: Vec<_> = OLD_AT.map(|(workload, at)| (workload, at, Identity::read(&mesh.identity(workload)))).into();
    for (_, at, identity) in &old {
        handshake(&mesh.running().mesh[*at], tls(Some(identity))).await.expect("an identity holds before the roll");
    }
    let kept_open = mesh.channel_as(Some(&old[0].2), "payment");
    assert_answered(&call(&kept_open, TRANSFERS, None, Bytes::new()).await);

    let watched = buyers[0].order(&buyers[0].cart(&[(&shop.skus[0], 1)]).await.unwrap().name).await.unwrap();
    let mut watching = watch(&mesh, &buyers[0], &watched.name).await;

    let load = Load::default();
    let rolling = async {
        load.at_least(10).await;
        mesh.signal_up(Signal::HUP);
        eventually("all authorities are rolled", async || mesh.up_said().contains("rolled:").then_some(())).await;
        let so_far = load.done.load(Ordering::Relaxed);
        load.at_least(so_far + 10).await;
        load.over.store(true, Ordering::Relaxed);
        so_far
    };
    let buying = buyers.iter().map(|buyer| load.buy_until_over(&mesh, buyer, &shop));
    let everything = join(join_all(buying), join(load.browse_until_over(&mesh), rolling));
    let (_, (browsed, bought)) = everything.await;
    let failures = load.failures();
    assert!(failures.is_empty(), "{} calls failed:\n{}", failures.len(), failures.join("\n"));
    assert!(bought > 10 && browsed > 10, "{bought} purchases and {browsed} visits during the roll");

    // A stream that was opened before the roll still brings news.
    let number = buyers[0].virtual_account(&watched.payment_intent).await.expect("a virtual account");
    mesh.bank().pay(&number).await;
    let mut states = Vec::new();
    while let Some(event) = watching.message().await.expect("the stream does not break") {
        states.extend(event.order.map(|order| order.state()));
    }
    assert_eq!(states.last(), Some(&OrderState::Paid), "{states:?}");

    for (workload, at, identity) in &old {
        let address = &mesh.running().mesh[*at];
        eventually(&format!("the old {workload} is refused at {at}"), async || {
            handshake(address, tls(Some(identity))).await.err()
        })
        .await;
        let renewed = Identity::read(&mesh.identity(workload));
        handshake(address, tls(Some(&renewed))).await.expect("the new identity holds");
    }
    // A connection that is open since before is no way around it.
    let outcome = call(&kept_open, TRANSFERS, None, Bytes::new()).await;
    let refused = matches!(outcome, Outcome::Cut(_)) || outcome.is(Code::Unauthenticated, "PEER_NOT_TRUSTED");
    assert!(refused, "the old connection is refused: {outcome:?}");
    // Whoever starts now finds its way too.
    mesh.restart_process("payment").await;
    buyers[0].buy(&mesh, &[(&shop.skus[0], 1)]).await.expect("a purchase after all of it");
}

/// What goes on meanwhile.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    /// Purchases from cart to PAID.
    done: AtomicUsize,
    failures: std::sync::Mutex<Vec<String>>,
}

impl Load {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || !self.failures().is_empty()
    }

    fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    fn fail(&self, what: &str, how: &impl std::fmt::Debug) {
        self.failures.lock().unwrap().push(format!("{what}: {how:?}"));
    }

    async fn at_least(&self, purchases: usize) {
        eventually(&format!("{purchases} purchases"), async || {
            (self.done.load(Ordering::Relaxed) >= purchases || self.is_over()).then_some(())
        })
        .await;
    }

    async fn buy_until_over(&self, mesh: &Mesh, buyer: &Buyer, shop: &Shop) {
        while !self.is_over() {
            match buy(mesh, buyer, shop).await {
                Ok(()) => self.done.fetch_add(1, Ordering::Relaxed),
                Err(status) => return self.fail("a purchase", &status),
            };
        }
    }

    /// Looks at showcases and products, signs up, and reads the ledger, over channels that stay open.
    async fn browse_until_over(&self, mesh: &Mesh) -> usize {
        let (showcase, commerce) = (mesh.public("showcase-edge"), mesh.public("commerce-edge"));
        let mut visits = 0;
        while !self.is_over() {
            for (channel, path) in [
                (&showcase, "/sekat.showcase.v1.ShowcaseService/ListShowcases"),
                (&commerce, "/sekat.catalog.v1.ProductService/ListProducts"),
            ] {
                let outcome = call(channel, path, None, Bytes::new()).await;
                if outcome.code() != Some(Code::Ok) {
                    self.fail(path, &outcome);
                }
            }
            Person::sign_up_over(commerce.clone(), SessionScope::Buyer).await;
            visits += 1;
        }
        visits
    }
}

/// One purchase in which every single call has to succeed.
async fn buy(mesh: &Mesh, buyer: &Buyer, shop: &Shop) -> Result<(), Status> {
    let cart = buyer.cart(&[(&shop.skus[0], 1)]).await?;
    let placed = buyer.order(&cart.name).await?;
    let number = buyer.virtual_account(&placed.payment_intent).await?;
    mesh.bank().pay(&number).await;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    loop {
        looks.tick().await;
        match buyer.look_at(&placed.name).await?.state() {
            OrderState::Paid => return Ok(()),
            OrderState::PendingPayment | OrderState::Confirming => {}
            other => return Err(Status::aborted(format!("{} is {other:?}", placed.name))),
        }
    }
}

/// Watches an order over a channel of its own, for as long as a person would.
async fn watch(mesh: &Mesh, buyer: &Buyer, order: &str) -> Streaming<OrderEvent> {
    let mut asking = buyer.request(WatchOrderRequest { name: order.to_owned() });
    asking.set_timeout(WATCH_LIMIT);
    let mut orders = OrderServiceClient::new(mesh.public("commerce-edge"));
    orders.watch_order(asking).await.expect("an order can be watched").into_inner()
}

fn assert_answered(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Answered { .. }), "{outcome:?}");
}
