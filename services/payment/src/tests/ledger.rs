//! The ledger's tables: they do what the rules say, keep it over restarts, and can be added up again.

use sekat_store::Value;

use super::*;
use crate::ledger::model::{ACCOUNTS, Model, Random, random_operation, sums};
use crate::ledger::{AccountKind, Refusal, Transfer};

#[tokio::test]
async fn a_million_operations_and_ten_restarts_agree_with_the_model() {
    const RESTARTS: u64 = 10;
    const TRANSACTIONS: u64 = 25;
    const OPERATIONS: u64 = 4_000;
    /// No divisor of the others: transactions and restarts fall into the middle of a world.
    const WORLD: u64 = 48;
    let mut shop = Shop::open().await;
    shop.write(|tx| add_dollar_accounts(tx)).await.unwrap();
    let (mut model, mut random, mut booked) = (Model::default(), Random::new(0), 0);
    for restart in 0..RESTARTS {
        for transaction in 0..TRANSACTIONS {
            let first = (restart * TRANSACTIONS + transaction) * OPERATIONS;
            let (mut operations, mut expected) = (Vec::new(), Vec::new());
            for operation in first..first + OPERATIONS {
                if operation % WORLD == 0 {
                    model = model.carried_forward();
                }
                let prefix = format!("w{}", operation / WORLD);
                let transfer = random_operation(&mut random, &prefix, &model.transfers);
                expected.push(model.book(&transfer));
                operations.push(transfer);
            }
            booked += expected.iter().filter(|outcome| **outcome == Ok(true)).count();
            let outcomes = shop.write(move |tx| book_all(tx, &operations)).await.unwrap();
            assert!(outcomes == expected, "restart {restart}, transaction {transaction}");
        }
        shop = shop.reopened().await;
        let verified = shop.verify().await.unwrap();
        assert_eq!(usize::try_from(verified.transfers).unwrap(), booked);
        for (id, ..) in ACCOUNTS {
            assert_eq!(sums(&shop.account(id).await), model.sums(id), "restart {restart}, {id}");
        }
    }
    assert!(booked > 100_000, "{booked} booked");
}

/// The accounts of the model that the chart does not have.
fn add_dollar_accounts(tx: &mut dyn Tx) -> Result<(), Error> {
    for (id, kind, currency) in ACCOUNTS {
        tx.exec(
            "INSERT INTO ledger_accounts VALUES ($1, $2, $3, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
            &[id.into(), kind.word().into(), currency.code().into()],
        )?;
    }
    Ok(())
}

fn book_all(tx: &mut dyn Tx, transfers: &[Transfer]) -> Result<Vec<Result<bool, Refusal>>, Error> {
    transfers
        .iter()
        .map(|transfer| match book::sql::book(tx, transfer, NOW) {
            Ok(is_new) => Ok(Ok(is_new)),
            Err(Error::Ledger(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error),
        })
        .collect()
}

#[tokio::test]
async fn the_chart_is_in_the_store() {
    let shop = Shop::open().await;
    for (id, kind) in [
        (crate::booking::receivable(Bank::Bca), AccountKind::ProviderReceivable),
        (crate::booking::ORDER_FUNDS, AccountKind::OrderFunds),
        (crate::booking::UNAPPLIED_FUNDS, AccountKind::UnappliedFunds),
    ] {
        assert!(shop.account(id).await == Account::empty(id.to_owned(), kind, Currency::Idr), "{id}");
    }
    assert!(matches!(shop.store.read(|tx| book::read::get_account(tx, "nowhere")).await, Err(Error::AccountNotFound)));
}

#[tokio::test]
async fn what_was_booked_cannot_be_changed_or_removed() {
    let shop = Shop::open().await;
    shop.create("order-1", 25_000).await.unwrap();
    shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap();
    for statement in [
        "UPDATE ledger_transfers SET amount_minor = 1",
        "DELETE FROM ledger_transfers",
        "INSERT OR REPLACE INTO ledger_transfers SELECT * FROM ledger_transfers",
        "UPDATE ledger_accounts SET currency = 'USD'",
        "DELETE FROM ledger_accounts",
        "UPDATE payment_events SET type = 'CAPTURED'",
        "DELETE FROM payment_events",
        "UPDATE notifications SET amount_minor = 1",
        "DELETE FROM notifications",
    ] {
        let refused = shop.write(move |tx| Ok(tx.exec(statement, &[])?)).await;
        assert!(refused.is_err(), "{statement}");
    }
    assert_eq!(shop.verify().await.unwrap().transfers, 1);
}

#[tokio::test]
async fn adding_up_finds_each_planted_fault() {
    const HOLD: &str = "
        INSERT INTO ledger_transfers (id, action, pending, debit, credit, currency, amount_minor, payment_intent, create_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 'order-1', 0)";
    let faults: [(&str, &'static str, Vec<Value>); 6] = [
        ("not the sum", "UPDATE ledger_accounts SET debits_posted = debits_posted + 100 WHERE kind = 'provider_receivable'", vec![]),
        ("not the sum", "UPDATE ledger_accounts SET credits_pending = 0 WHERE kind = 'order_funds'", vec![]),
        (
            "not the sum",
            HOLD,
            vec!["x".into(), "DIRECT".into(), Value::Null, "order-funds".into(), "unapplied-funds".into(), "IDR".into(), 100.into()],
        ),
        (
            "which does not take it",
            HOLD,
            vec!["x".into(), "DIRECT".into(), Value::Null, "order-funds".into(), "unapplied-funds".into(), "USD".into(), 100.into()],
        ),
        // Nothing moves, and the sums stay as they are; only the settlement is not the pending transfer's.
        (
            "does not fit",
            "INSERT INTO ledger_transfers (id, action, pending, debit, credit, currency, amount_minor, payment_intent, create_ms)
             VALUES ('a', 'PENDING', NULL, 'provider-receivable-bca', 'order-funds', 'IDR', 100, 'order-1', 0),
                    ('b', 'VOID', 'a', 'provider-receivable-bca', 'order-funds', 'IDR', 100, 'order-2', 0)",
            vec![],
        ),
        ("overdrawn", "overdraw", vec![]),
    ];
    for (expected, statement, params) in faults {
        let shop = Shop::open().await;
        shop.create("order-1", 25_000).await.unwrap();
        shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap();
        shop.verify().await.unwrap();
        shop.write(move |tx| {
            if statement == "overdraw" {
                return overdraw(tx);
            }
            tx.exec(statement, &params)?;
            Ok(())
        })
        .await
        .unwrap();
        let found = shop.verify().await.unwrap_err().to_string();
        assert!(found.contains(expected), "{statement}: {found}");
    }
}

/// Pays out of order funds what was never posted to them, with sums that agree.
fn overdraw(tx: &mut dyn Tx) -> Result<(), Error> {
    for statement in [
        "INSERT INTO ledger_transfers (id, action, pending, debit, credit, currency, amount_minor, payment_intent, create_ms)
         VALUES ('x', 'DIRECT', NULL, 'order-funds', 'unapplied-funds', 'IDR', 100, '', 0)",
        "UPDATE ledger_accounts SET debits_posted = debits_posted + 100 WHERE id = 'order-funds'",
        "UPDATE ledger_accounts SET credits_posted = credits_posted + 100 WHERE id = 'unapplied-funds'",
    ] {
        tx.exec(statement, &[])?;
    }
    Ok(())
}

#[tokio::test]
async fn transfers_are_listed_in_the_order_of_booking_page_by_page() {
    let shop = Shop::open().await;
    for id in ["order-1", "order-2"] {
        shop.create(id, 25_000).await.unwrap();
        shop.notify(&paid(id, id, 25_000)).await.unwrap();
    }
    shop.capture("order-1").await.unwrap();
    let ids = async |payment: &'static str, after, limit| {
        let page = shop.store.read(move |tx| book::read::list(tx, payment, after, limit)).await.unwrap();
        page.into_iter().map(|entry| (entry.seq, entry.transfer.id)).collect::<Vec<_>>()
    };
    let entry = |seq, id: &str| (seq, id.to_owned());
    assert_eq!(ids("", 0, 2).await, [entry(1, "order-1-hold"), entry(2, "order-2-hold")]);
    assert_eq!(ids("", 2, 2).await, [entry(3, "order-1-post")]);
    assert_eq!(ids("order-1", 0, 50).await, [entry(1, "order-1-hold"), entry(3, "order-1-post")]);
    assert_eq!(ids("order-9", 0, 50).await, []);
}

#[tokio::test]
async fn a_work_item_stands_behind_every_payment_that_waits() {
    let shop = Shop::open().await;
    shop.create("order-1", 25_000).await.unwrap();
    assert!(shop.claim().await.is_none(), "nothing is asked before the buyer chose");
    shop.confirm("order-1").await.unwrap();
    let shop = shop.reopened().await;
    let item = shop.claim().await.unwrap();
    assert_eq!((item.key.as_str(), item.attempts), ("order-1", 1));
    // The process is killed while it asks; the next one asks again at once, and knows that it may have been asked.
    let shop = shop.reopened().await;
    let item = shop.claim().await.unwrap();
    assert_eq!(item.attempts, 2);
    shop.answer(&item, open()).await.unwrap();
    assert!(shop.store.work().next_due(&[WORK_KIND]).await.unwrap().is_none());
}
