//! The verbs on a real store: each test has its own, in a directory of its own.

mod flows;
mod ledger;

use std::time::Duration;

use sekat_mesh::context::TraceContext;
use sekat_money::{Currency, Money};
use sekat_store::{Item, Store, StoreConfig, Tx};
use tempfile::TempDir;

use crate::charge::{Answer, Next, WORK_KIND, apply};
use crate::config::DEFAULT_BCA;
use crate::error::Error;
use crate::ingest_notification::{Ingested, Notification};
use crate::intent::{CancelReason, Event, Funds, State};
use crate::intents::{Bank, Found, Intent, Moment, Viewer, VirtualAccount};
use crate::ledger::Account;
use crate::ledger::verify::{Verified, verify};
use crate::{MIGRATIONS, cancel, capture, confirm_intent, create_intent, events, ingest_notification, ledger as book};

/// The time of everything that does not say another.
const NOW: i64 = 1_700_000_000_000;

/// When the payments of the tests lapse.
const EXPIRY: i64 = NOW + 60_000;

const BUYER: &str = "accounts/a";

/// A store and its directory.
struct Shop {
    store: Store,
    dir: TempDir,
}

impl Shop {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open_store(&dir).await;
        Self { store, dir }
    }

    /// Closes the store and opens it again, as a restart does.
    async fn reopened(self) -> Self {
        let Self { store, dir } = self;
        drop(store);
        Self { store: open_store(&dir).await, dir }
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnMut(&mut dyn Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.store.write(None, job).await
    }

    async fn create(&self, id: &str, rupiah: i64) -> Result<Intent, Error> {
        let new = create_intent::NewIntent {
            id: id.to_owned(),
            order: format!("orders/{id}"),
            buyer: BUYER.to_owned(),
            amount: idr(rupiah),
            expire_ms: EXPIRY,
        };
        self.write(move |tx| create_intent::create(tx, &new, DEFAULT_BCA, NOW)).await
    }

    async fn confirm(&self, id: &'static str) -> Result<Intent, Error> {
        self.confirm_as(id, BUYER, NOW).await
    }

    async fn confirm_as(&self, id: &'static str, buyer: &str, now_ms: i64) -> Result<Intent, Error> {
        let viewer = Viewer::Buyer(buyer.to_owned());
        let moment = Moment { now_ms, ..moment() };
        self.write(move |tx| confirm_intent::confirm(tx, id, &viewer, Bank::Bca, DEFAULT_BCA, moment)).await
    }

    async fn capture(&self, id: &'static str) -> Result<Intent, Error> {
        self.write(move |tx| capture::capture(tx, id, moment())).await
    }

    async fn cancel(&self, id: &'static str, reason: CancelReason) -> Result<Found, Error> {
        self.write(move |tx| cancel::cancel(tx, id, reason, moment())).await
    }

    async fn notify(&self, notification: &Notification) -> Result<Ingested, Error> {
        let notification = notification.clone();
        self.write(move |tx| ingest_notification::ingest(tx, &notification, moment())).await
    }

    /// Claims the work item that is due, if there is one.
    async fn claim(&self) -> Option<Item> {
        self.store.work().claim(&[WORK_KIND], 1, Duration::from_secs(60)).await.unwrap().pop()
    }

    /// Applies a provider's answer under a claimed item.
    async fn answer(&self, item: &Item, answer: Answer) -> Result<Next, Error> {
        let (lease, key) = (item.lease, item.key.clone());
        self.write(move |tx| apply(tx, lease, &key, &answer, NOW, moment())).await
    }

    async fn intent(&self, id: &'static str) -> Intent {
        let found = self.store.read(move |tx| crate::intents::find(tx, id)).await.unwrap();
        let Found::Intent(intent) = found else { panic!("there is no {id}") };
        *intent
    }

    /// Where the payment and its money are.
    async fn standing(&self, id: &'static str) -> (State, Funds) {
        let standing = self.intent(id).await.standing;
        (standing.state, standing.funds)
    }

    async fn events(&self) -> Vec<Event> {
        let stored = self.store.read(|tx| events::after(tx, 0, 1_000)).await.unwrap();
        stored.into_iter().map(|stored| stored.event).collect()
    }

    async fn account(&self, id: &'static str) -> Account {
        self.store.read(move |tx| book::read::get_account(tx, id)).await.unwrap()
    }

    /// Posted and pending rupiah of the bank, of order funds, of unapplied funds, each on its normal side.
    async fn balances(&self) -> [[i64; 2]; 3] {
        let bank = self.account("provider-receivable-bca").await;
        let credit = |account: Account| {
            [account.credits_posted - account.debits_posted, account.credits_pending - account.debits_pending]
        };
        let orders = credit(self.account("order-funds").await);
        let unapplied = credit(self.account("unapplied-funds").await);
        let bank = [bank.debits_posted - bank.credits_posted, bank.debits_pending - bank.credits_pending];
        [bank, orders, unapplied].map(|sums| sums.map(|minor| minor / 100))
    }

    async fn verify(&self) -> Result<Verified, Error> {
        self.store.read(verify).await
    }
}

async fn open_store(dir: &TempDir) -> Store {
    Store::open(StoreConfig::new(dir.path(), "payment", "payment-0", MIGRATIONS)).await.unwrap()
}

fn moment() -> Moment {
    Moment { now_ms: NOW, trace: TraceContext { trace_id: [7; 16], span_id: [7; 8], sampled: true } }
}

fn idr(rupiah: i64) -> Money {
    Money::from_units(Currency::Idr, rupiah).unwrap()
}

fn paid(id: &str, charge: &str, rupiah: i64) -> Notification {
    Notification {
        bank: Bank::Bca,
        id: id.to_owned(),
        charge: charge.to_owned(),
        amount: idr(rupiah),
        paid_ms: NOW,
        reference: String::new(),
    }
}

fn open() -> Answer {
    Answer::Open(VirtualAccount { number: "1234500001".to_owned(), expire_ms: EXPIRY })
}
