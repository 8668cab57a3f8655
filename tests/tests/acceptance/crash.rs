//! `kill -9` of every process of the checkout, at each of its steps. A step is held in flight by stopping its callee,
//! or held between its effect and its reply by stopping its caller, so that each kill hits exactly what it is meant
//! to hit. Afterwards everything resolves by itself: the only one who does anything is an app that repeats its own
//! requests.

use std::collections::BTreeSet;

use acceptance::shop::{Goods, Shop, request};
use acceptance::{Mesh, Options, eventually};
use sekat_api_order::v1::{Order, OrderState};
use sekat_api_payment::v1 as payment;
use sekat_api_payment::v1::ledger_service_client::LedgerServiceClient;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::support::app::App;
use crate::support::evidence;
use crate::support::freeze::Frozen;
use crate::support::stores::{self, Balance};
use crate::support::till::Charge;

/// A call of the checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// May the buyer order, and where to?
    CheckBuyer,
    HoldStock,
    OpenPayment,
    /// Payment asks the connector for a charge.
    AskForCharge,
    /// The connector asks the bank for it.
    CreateCharge,
    /// The bank's notification reaches payment.
    Notify,
    /// Payment has the notification's signature checked.
    VerifyNotification,
    SellStock,
    Capture,
    /// The buyer cancels: order has the payment closed.
    ClosePayment,
    /// Payment has the charge closed.
    CloseCharge,
    /// The cancelled order gives its stock back.
    ReleaseStock,
}

/// All steps: who asks whom.
const STEPS: [(Step, &str, &str); 12] = [
    (Step::CheckBuyer, "order", "account"),
    (Step::HoldStock, "order", "catalog"),
    (Step::OpenPayment, "order", "payment"),
    (Step::AskForCharge, "payment", "psp-connector"),
    (Step::CreateCharge, "psp-connector", "bank"),
    (Step::Notify, "notify-ingress", "payment"),
    (Step::VerifyNotification, "payment", "psp-connector"),
    (Step::SellStock, "order", "catalog"),
    (Step::Capture, "order", "payment"),
    (Step::ClosePayment, "order", "payment"),
    (Step::CloseCharge, "payment", "psp-connector"),
    (Step::ReleaseStock, "order", "catalog"),
];

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The call has left its caller, the callee has not read it.
    InFlight,
    /// The callee has done its work, the caller has not heard of it.
    Done,
}

/// Those that die at every step, whether they have a part in it or not.
const VICTIMS: [&str; 4] = ["order", "payment", "psp-connector", "catalog"];

const STOCK: i64 = 1_000;
const PRICE: i64 = 40_000;
/// What shipping costs unless `SEKAT_SHIPPING_FEE` says otherwise.
const SHIPPING: i64 = 12_000;

#[tokio::test]
async fn whoever_is_killed_at_whatever_step_everything_resolves_by_itself() {
    // The app and the test take turns on one thread.
    LocalSet::new().run_until(kill_everybody_everywhere()).await;
}

async fn kill_everybody_everywhere() {
    let mut mesh = Mesh::start(Options::empty());
    let shop = Shop::open(&mesh, &[Goods { code: "KOPI", rupiah: PRICE, stock: STOCK }]).await;
    let app = App::sign_up(&mesh).await.past_the_edge(&mesh).await;
    let checkout = Checkout { mesh: &mesh, app, sku: &shop.skus[0] };

    let (mut paid, mut canceled) = (Vec::new(), Vec::new());
    for (step, caller, callee) in STEPS {
        for (moment, victim) in deaths(step, caller, callee) {
            eprintln!("{step:?} {moment:?}: kill -9 {victim}");
            let ended = checkout.run((step, caller), moment, victim).await;
            let (held, pending) = (stores::stock(&mesh).1, pending(&mesh));
            assert_eq!((held, pending), (0, 0), "{step:?} {moment:?} {victim}: stock and money that are still held");
            if ended.state() == OrderState::Paid { paid.push(ended) } else { canceled.push(ended) }
        }
    }
    assert!(paid.len() > 3 * VICTIMS.len() && canceled.len() > 2 * VICTIMS.len());

    checkout.has_one_order_a_cart(&paid, &canceled).await;
    checkout.has_one_charge_an_order(&paid, &canceled).await;
    let sold = i64::try_from(paid.len()).unwrap();
    assert_eq!(stores::stock(&mesh), (STOCK - sold, 0), "what is paid is sold, and nothing is held");
    let taken = sold * (PRICE + SHIPPING);
    ops_sees(&mesh, taken).await;

    assert!(mesh.stop().await.success());
    let account = |id: &str| stores::balanced_ledger(&mesh).remove(id).unwrap();
    let sen = taken * 100;
    assert_eq!(account("provider-receivable-bca"), Balance { debits_posted: sen, ..Balance::default() });
    assert_eq!(account("order-funds"), Balance { credits_posted: sen, ..Balance::default() });
    assert_eq!(account("unapplied-funds"), Balance::default());
    let left: Vec<String> = ["order", "payment"]
        .into_iter()
        .flat_map(|service| stores::column(&mesh, service, "SELECT kind || ' ' || last_error FROM work_items", ()))
        .collect();
    assert!(left.is_empty(), "nothing is left to do: {left:?}");
    evidence::every_access_is_recorded(&mesh);
}

/// Who dies when at a step: at each of them the four, and those who have a part in it at both moments.
fn deaths(step: Step, caller: &'static str, callee: &'static str) -> Vec<(Moment, &'static str)> {
    let others = [caller, callee].into_iter().filter(|name| !VICTIMS.contains(name));
    let mut deaths: Vec<_> = VICTIMS.into_iter().chain(others).map(|victim| (Moment::InFlight, victim)).collect();
    // These two only read.
    if !matches!(step, Step::CheckBuyer | Step::VerifyNotification) {
        deaths.extend([caller, callee].map(|victim| (Moment::Done, victim)));
    }
    deaths
}

/// Money that is set aside and neither taken nor given up.
fn pending(mesh: &Mesh) -> i64 {
    stores::value(mesh, "payment", "SELECT SUM(credits_pending) FROM ledger_accounts", ())
}

/// `ops` reads the same balances over the mesh.
async fn ops_sees(mesh: &Mesh, rupiah: i64) {
    let mut ledger = LedgerServiceClient::new(mesh.trusting_channel_as("ops", "payment").await);
    for (account, debits, credits) in
        [("provider-receivable-bca", rupiah, 0), ("order-funds", 0, rupiah), ("unapplied-funds", 0, 0)]
    {
        let asking = payment::GetLedgerAccountRequest { name: format!("ledgerAccounts/{account}") };
        let found = ledger.get_ledger_account(request(None, asking)).await.unwrap().into_inner();
        let units = |money: Option<sekat_api_google::r#type::Money>| money.unwrap().units;
        let posted = (units(found.debits_posted), units(found.credits_posted));
        assert_eq!(posted, (debits, credits), "{account}");
        assert_eq!((units(found.debits_pending), units(found.credits_pending)), (0, 0), "{account}");
    }
}

/// How an order is brought to each step.
struct Checkout<'a> {
    mesh: &'a Mesh,
    app: App,
    sku: &'a str,
}

/// A call that waits at its stopped callee.
struct Held {
    callee: Frozen,
    /// The app, which goes on behind all this and sees the order end.
    app: JoinHandle<Order>,
}

impl Checkout<'_> {
    /// Brings a new order to the step, kills the victim, and sees the order end.
    async fn run(&self, (step, caller): (Step, &str), moment: Moment, victim: &str) -> Order {
        let (app, old) = match moment {
            Moment::InFlight => {
                let Held { callee, app } = self.hold(step).await;
                callee.is_called_by(self.mesh, caller).await;
                (app, self.mesh.kill9(victim))
            }
            // Payment asks how the charge stands before it has it closed: what is held here is the bank's answer.
            Moment::Done if step == Step::CloseCharge => {
                self.app.till.answer_slowly("delete-va").await;
                let app = self.cancel_charged().await;
                self.has_its_effect(step).await;
                (app, self.mesh.kill9(victim))
            }
            Moment::Done => {
                let Held { callee, app } = self.hold(step).await;
                callee.is_called_by(self.mesh, caller).await;
                let _caller = self.stop(caller).await;
                drop(callee);
                self.has_its_effect(step).await;
                (app, self.mesh.kill9(victim))
            }
        };
        // Whoever was stopped goes on, and from here on nobody helps.
        let ended = app.await.expect("the app gets through");
        self.mesh.restarted(victim, old).await;
        if ended.state() == OrderState::Paid {
            eventually("the bank has its notification confirmed", async || {
                let charges = self.app.till.charges_of(&ended.payment_intent).await;
                charges.iter().all(|charge| charge.notified).then_some(())
            })
            .await;
        }
        ended
    }

    async fn hold(&self, step: Step) -> Held {
        match step {
            Step::CheckBuyer | Step::HoldStock | Step::OpenPayment => self.hold_placing(step).await,
            Step::AskForCharge | Step::CreateCharge => self.hold_charging(step).await,
            Step::Notify | Step::VerifyNotification | Step::SellStock | Step::Capture => self.hold_paying(step).await,
            Step::ClosePayment | Step::CloseCharge | Step::ReleaseStock => self.hold_canceling(step).await,
        }
    }

    /// The steps of CreateOrder. The first of them is the way in: the order waits while account is stopped.
    async fn hold_placing(&self, step: Step) -> Held {
        let (cart, quote_hash) = self.app.fill_cart(self.sku).await;
        let account = self.stop("account").await;
        let (app, ordered) = (self.app.clone(), cart.clone());
        let app = spawn_local(async move {
            let placed = app.place(&ordered, &quote_hash).await;
            app.pay(&placed).await
        });
        self.order_is(&cart, "check-buyer").await;
        let (callee, state) = match step {
            Step::HoldStock => ("catalog", "hold-stock"),
            Step::OpenPayment => ("payment", "open-payment"),
            _ => return Held { callee: account, app },
        };
        let callee = self.stop(callee).await;
        drop(account);
        self.order_is(&cart, state).await;
        Held { callee, app }
    }

    /// The steps of ConfirmPaymentIntent.
    async fn hold_charging(&self, step: Step) -> Held {
        let (_, placed) = self.app.order(self.sku).await;
        let callee = self.stop(if step == Step::AskForCharge { "psp-connector" } else { "bank" }).await;
        let app = self.app.clone();
        Held { callee, app: spawn_local(async move { app.pay(&placed).await }) }
    }

    /// The steps after the buyer's transfer.
    async fn hold_paying(&self, step: Step) -> Held {
        let (cart, placed) = self.app.order(self.sku).await;
        let number = self.app.virtual_account(&placed.payment_intent).await;
        let callee = match step {
            Step::Notify => "payment",
            Step::VerifyNotification => "psp-connector",
            _ => "catalog",
        };
        let callee = self.stop(callee).await;
        self.app.till.pay(&number).await;
        let buyer = self.app.buyer.clone();
        let app = spawn_local(async move { buyer.wait_for(&placed.name, OrderState::Paid).await });
        if matches!(step, Step::SellStock | Step::Capture) {
            self.order_is(&cart, "sell-stock").await;
        }
        if step != Step::Capture {
            return Held { callee, app };
        }
        let payment = self.stop("payment").await;
        drop(callee);
        self.order_is(&cart, "capture").await;
        Held { callee: payment, app }
    }

    /// The steps of a cancellation.
    async fn hold_canceling(&self, step: Step) -> Held {
        let (cart, placed) = self.app.order(self.sku).await;
        self.app.virtual_account(&placed.payment_intent).await;
        let callee = match step {
            Step::ClosePayment => "payment",
            Step::CloseCharge => "psp-connector",
            _ => "catalog",
        };
        let callee = self.stop(callee).await;
        let app = self.app.clone();
        let app = spawn_local(async move { app.cancel(&placed.name).await });
        if step == Step::ReleaseStock {
            self.order_is(&cart, "cancel-stock").await;
        }
        Held { callee, app }
    }

    /// Has an order cancelled that the bank has a charge for.
    async fn cancel_charged(&self) -> JoinHandle<Order> {
        let (_, placed) = self.app.order(self.sku).await;
        self.app.virtual_account(&placed.payment_intent).await;
        let app = self.app.clone();
        spawn_local(async move { app.cancel(&placed.name).await })
    }

    async fn stop(&self, process: &str) -> Frozen {
        Frozen::stop(self.mesh, process).await
    }

    /// Waits until the order of a cart has written that it takes a step.
    async fn order_is(&self, cart: &str, state: &str) {
        let cart = cart.strip_prefix("carts/").unwrap();
        let find = "SELECT state FROM orders WHERE cart = ?1";
        eventually(&format!("the order is in {state}"), async || {
            (stores::column::<String>(self.mesh, "order", find, [cart]) == [state]).then_some(())
        })
        .await;
    }

    /// Waits until the callee of a step has done its work.
    async fn has_its_effect(&self, step: Step) {
        eventually(&format!("{step:?} has its effect"), async || self.is_done(step).await.then_some(())).await;
    }

    /// Whether the callee of a step has done its work. No other order is on its way.
    async fn is_done(&self, step: Step) -> bool {
        let newest = "SELECT id || ' ' || state FROM payment_intents ORDER BY create_ms DESC LIMIT 1";
        let newest = stores::value::<String>(self.mesh, "payment", newest, ());
        let (intent, state) = newest.split_once(' ').unwrap();
        let charge = async || {
            let charges: Vec<Charge> = self.app.till.charges_of(&format!("paymentIntents/{intent}")).await;
            charges.first().map(|charge| charge.status.clone()).unwrap_or_default()
        };
        match step {
            Step::CheckBuyer | Step::VerifyNotification => unreachable!("they change nothing"),
            Step::HoldStock => stores::stock(self.mesh).1 == 1,
            Step::SellStock | Step::ReleaseStock => stores::stock(self.mesh).1 == 0,
            Step::OpenPayment => state == "REQUIRES_PAYMENT_METHOD",
            Step::AskForCharge | Step::CreateCharge => charge().await == "UNPAID",
            // Order goes on at once.
            Step::Notify => matches!(state, "REQUIRES_CAPTURE" | "SUCCEEDED"),
            Step::Capture => state == "SUCCEEDED",
            Step::ClosePayment => state == "CANCELED",
            Step::CloseCharge => charge().await == "CANCELLED",
        }
    }

    /// Each cart has become exactly one order.
    async fn has_one_order_a_cart(&self, paid: &[Order], canceled: &[Order]) {
        let all: Vec<String> = self.app.all_orders().await.into_iter().map(|order| order.name).collect();
        let expected: BTreeSet<&String> = paid.iter().chain(canceled).map(|order| &order.name).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>(), expected);
        assert_eq!(all.len(), expected.len());
    }

    /// The bank has one paid charge for each paid order, at most one closed one for each other, and no more.
    async fn has_one_charge_an_order(&self, paid: &[Order], canceled: &[Order]) {
        let charges = self.app.till.charges().await;
        let of = |order: &Order| -> Vec<&str> {
            let is_of = |charge: &&Charge| order.payment_intent.ends_with(&format!("/{}", charge.trx_id));
            charges.iter().filter(is_of).map(|charge| charge.status.as_str()).collect()
        };
        for order in paid {
            assert_eq!(of(order), ["PAID"], "{}", order.name);
        }
        for order in canceled {
            assert_eq!(of(order), ["CANCELLED"], "{}", order.name);
        }
        assert_eq!(charges.len(), paid.len() + canceled.len());
        let numbers: BTreeSet<&str> = charges.iter().map(|charge| charge.virtual_account_no.as_str()).collect();
        assert_eq!(numbers.len(), charges.len(), "each charge has a number of its own");
    }
}
