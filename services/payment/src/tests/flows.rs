//! Payments from end to end: what buyers, orders, the bank and crashes do to them, and where the money is then.

use super::*;
use crate::intent::Refusal;

/// A confirmed payment whose charge is open.
async fn charged(id: &'static str) -> Shop {
    let shop = Shop::open().await;
    shop.create(id, 25_000).await.unwrap();
    shop.confirm(id).await.unwrap();
    let item = shop.claim().await.unwrap();
    assert_eq!(shop.answer(&item, open()).await.unwrap(), Next::Settled);
    assert_eq!(shop.standing(id).await, (State::RequiresAction, Funds::None));
    shop
}

#[tokio::test]
async fn a_payment_is_confirmed_paid_and_captured() {
    let shop = charged("order-1").await;
    assert_eq!(shop.intent("order-1").await.account.unwrap().number, "1234500001");
    assert_eq!(shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap(), Ingested::Booked);
    assert_eq!(shop.standing("order-1").await, (State::RequiresCapture, Funds::Held));
    assert_eq!(shop.balances().await, [[0, 25_000], [0, 25_000], [0, 0]]);
    shop.capture("order-1").await.unwrap();
    shop.capture("order-1").await.unwrap();
    assert_eq!(shop.standing("order-1").await, (State::Succeeded, Funds::Captured));
    assert_eq!(shop.balances().await, [[25_000, 0], [25_000, 0], [0, 0]]);
    assert_eq!(shop.events().await, [Event::Authorized, Event::Captured]);
    assert_eq!(shop.verify().await.unwrap().transfers, 2);
}

#[tokio::test]
async fn the_same_notification_a_thousand_times_at_once_has_one_effect() {
    let shop = charged("order-1").await;
    let notification = paid("n1", "order-1", 25_000);
    let deliveries = (0..1_000).map(|_| shop.notify(&notification));
    let outcomes = futures_util::future::join_all(deliveries).await;
    let booked = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Ingested::Booked))).count();
    let repeated = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Ingested::Duplicate))).count();
    assert_eq!((booked, repeated), (1, 999));
    assert_eq!(shop.verify().await.unwrap().transfers, 1);
    assert_eq!(shop.events().await, [Event::Authorized]);
}

/// What can reach a confirmed payment of which the bank has the money.
#[derive(Clone, Copy, Debug, PartialEq)]
enum News {
    /// The reply to CreateCharge.
    Opened,
    /// The answer to GetCharge.
    FoundPaid,
    /// The first delivery of the notification, and its repetition.
    Delivered,
    DeliveredAgain,
}

#[tokio::test]
async fn in_whatever_order_the_news_arrives_the_end_is_the_same() {
    use News::{Delivered, DeliveredAgain, FoundPaid, Opened};
    let mut orders = Vec::new();
    permute(&mut [Opened, FoundPaid, Delivered, DeliveredAgain], 0, &mut orders);
    assert_eq!(orders.len(), 24);
    for order in orders {
        let shop = Shop::open().await;
        shop.create("order-1", 25_000).await.unwrap();
        shop.confirm("order-1").await.unwrap();
        // Answers reach a payment under its work item; once that is settled there is nobody to bring another.
        let mut item = shop.claim().await;
        for news in &order {
            match (news, &item) {
                (Delivered | DeliveredAgain, _) => {
                    shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap();
                }
                (Opened | FoundPaid, Some(held)) => {
                    let answer = if *news == Opened { open() } else { Answer::Paid };
                    assert_eq!(shop.answer(held, answer).await.unwrap(), Next::Settled, "{order:?}");
                    item = None;
                }
                (Opened | FoundPaid, None) => {}
            }
        }
        assert_eq!(shop.standing("order-1").await, (State::RequiresCapture, Funds::Held), "{order:?}");
        assert_eq!(shop.balances().await, [[0, 25_000], [0, 25_000], [0, 0]], "{order:?}");
        assert_eq!(shop.events().await, [Event::Authorized], "{order:?}");
        assert_eq!(shop.intent("order-1").await.notification.as_deref(), Some("n1"), "{order:?}");
        assert!(shop.store.work().next_due(&[WORK_KIND]).await.unwrap().is_none(), "{order:?}");
    }
}

fn permute(items: &mut [News; 4], from: usize, into: &mut Vec<[News; 4]>) {
    if from == items.len() {
        into.push(*items);
        return;
    }
    for other in from..items.len() {
        items.swap(from, other);
        permute(items, from + 1, into);
        items.swap(from, other);
    }
}

#[tokio::test]
async fn money_that_a_payment_does_not_want_is_unapplied_and_not_lost() {
    let shop = charged("order-1").await;
    shop.notify(&paid("n1", "order-1", 24_000)).await.unwrap();
    assert_eq!(shop.standing("order-1").await, (State::RequiresAction, Funds::None), "the amount is not the bill's");
    shop.notify(&paid("n2", "order-1", 25_000)).await.unwrap();
    shop.notify(&paid("n3", "order-1", 25_000)).await.unwrap();
    assert_eq!(shop.standing("order-1").await, (State::RequiresCapture, Funds::Held), "paid once, and once more");
    shop.notify(&paid("n4", "nobody", 10_000)).await.unwrap();
    assert_eq!(shop.balances().await, [[59_000, 25_000], [0, 25_000], [59_000, 0]]);
    assert_eq!(shop.events().await, [Event::Authorized]);
    shop.verify().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_name_can_never_be_opened() {
    let shop = Shop::open().await;
    for _ in 0..2 {
        let found = shop.cancel("order-1", CancelReason::OrderFailed).await.unwrap();
        assert!(matches!(cancel::outcome(found), Ok(cancel::Canceled::Name(_))));
    }
    assert!(matches!(shop.create("order-1", 25_000).await, Err(Error::Refused(Refusal::Canceled))));
    shop.create("order-2", 25_000).await.unwrap();
    shop.cancel("order-2", CancelReason::Requested).await.unwrap();
    assert!(matches!(shop.create("order-2", 25_000).await, Err(Error::Refused(Refusal::Canceled))));
    assert!(matches!(shop.confirm("order-2").await, Err(Error::Refused(Refusal::Canceled))));
    assert_eq!(shop.events().await, [Event::Canceled], "a name that was never opened is no news");
}

#[tokio::test]
async fn others_do_not_even_learn_that_a_payment_exists() {
    let shop = Shop::open().await;
    shop.create("order-1", 25_000).await.unwrap();
    shop.cancel("order-2", CancelReason::Requested).await.unwrap();
    assert!(shop.confirm_as("order-1", BUYER, NOW).await.is_ok());
    let other = shop.confirm_as("order-1", "accounts/b", NOW).await.unwrap_err();
    let buried = shop.confirm_as("order-2", BUYER, NOW).await.unwrap_err();
    let unknown = shop.confirm_as("order-3", BUYER, NOW).await.unwrap_err();
    assert!([&other, &buried, &unknown].iter().all(|error| matches!(error, Error::NotFound)));
}

#[tokio::test]
async fn after_its_time_a_payment_cannot_be_confirmed_but_one_that_was_can_be_paid() {
    let shop = Shop::open().await;
    shop.create("order-1", 25_000).await.unwrap();
    assert!(matches!(shop.confirm_as("order-1", BUYER, EXPIRY).await, Err(Error::Refused(Refusal::Lapsed))));
    assert!(shop.confirm_as("order-1", BUYER, EXPIRY - 1).await.is_ok());
    assert!(shop.confirm_as("order-1", BUYER, EXPIRY).await.is_ok(), "a repetition");
    shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap();
    assert_eq!(shop.standing("order-1").await, (State::RequiresCapture, Funds::Held));
}

#[tokio::test]
async fn an_open_charge_is_closed_before_the_payment_counts_as_given_up() {
    let shop = charged("order-1").await;
    let found = shop.cancel("order-1", CancelReason::Expired).await.unwrap();
    assert!(matches!(cancel::outcome(found), Err(Error::CancelPending)));
    assert!(shop.events().await.is_empty());
    let item = shop.claim().await.unwrap();
    assert!(matches!(shop.answer(&item, open()).await.unwrap(), Next::Ask(crate::charge::Known::Open)));
    assert_eq!(shop.answer(&item, Answer::Closed).await.unwrap(), Next::Settled);
    assert_eq!(shop.standing("order-1").await, (State::Expired, Funds::None));
    let found = shop.cancel("order-1", CancelReason::Expired).await.unwrap();
    assert!(matches!(cancel::outcome(found), Ok(cancel::Canceled::Intent(_))));
    assert_eq!(shop.events().await, [Event::Canceled]);
}

#[tokio::test]
async fn money_that_comes_while_the_charge_is_being_closed_wins() {
    for found_by_asking in [false, true] {
        let shop = charged("order-1").await;
        shop.cancel("order-1", CancelReason::Expired).await.unwrap();
        let item = shop.claim().await.unwrap();
        if found_by_asking {
            assert_eq!(shop.answer(&item, Answer::Paid).await.unwrap(), Next::Settled);
        } else {
            shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap();
            // The bank refused to close it, and the worker learns why from the payment.
            assert_eq!(shop.answer(&item, Answer::Uncertain("CHARGE_PAID".into())).await.unwrap(), Next::Settled);
        }
        let refused = shop.cancel("order-1", CancelReason::Expired).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::AlreadyAuthorized))));
        let found = Found::Intent(Box::new(shop.intent("order-1").await));
        assert!(matches!(cancel::outcome(found), Err(Error::Refused(Refusal::AlreadyAuthorized))));
        shop.capture("order-1").await.unwrap();
        assert_eq!(shop.balances().await, [[25_000, 0], [25_000, 0], [0, 0]]);
        assert_eq!(shop.events().await, [Event::Authorized, Event::Captured]);
    }
}

#[tokio::test]
async fn late_money_is_unapplied_until_a_reopened_order_takes_it() {
    let shop = charged("order-1").await;
    shop.cancel("order-1", CancelReason::Expired).await.unwrap();
    let item = shop.claim().await.unwrap();
    shop.answer(&item, Answer::Closed).await.unwrap();
    assert!(matches!(shop.capture("order-1").await, Err(Error::Refused(Refusal::Lapsed))));
    shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap();
    assert_eq!(shop.standing("order-1").await, (State::Expired, Funds::Late));
    assert_eq!(shop.balances().await, [[25_000, 0], [0, 0], [25_000, 0]]);
    shop.capture("order-1").await.unwrap();
    assert_eq!(shop.standing("order-1").await, (State::Succeeded, Funds::Captured));
    assert_eq!(shop.balances().await, [[25_000, 0], [25_000, 0], [0, 0]]);
    assert_eq!(shop.events().await, [Event::Canceled, Event::PaidLate, Event::Captured]);
    shop.verify().await.unwrap();
}

#[tokio::test]
async fn money_that_an_order_gives_up_is_unapplied_and_cannot_be_taken_again() {
    let shop = charged("order-1").await;
    shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap();
    shop.cancel("order-1", CancelReason::OrderFailed).await.unwrap();
    assert_eq!(shop.standing("order-1").await, (State::Canceled, Funds::GivenUp));
    assert_eq!(shop.balances().await, [[25_000, 0], [0, 0], [25_000, 0]]);
    assert!(matches!(shop.capture("order-1").await, Err(Error::Refused(Refusal::Canceled))));
    assert_eq!(shop.events().await, [Event::Authorized, Event::Canceled]);
    assert_eq!(shop.verify().await.unwrap().transfers, 3);
}

#[tokio::test]
async fn a_refusal_ends_a_payment_and_says_why() {
    let shop = Shop::open().await;
    shop.create("order-1", 25_000).await.unwrap();
    shop.confirm("order-1").await.unwrap();
    let item = shop.claim().await.unwrap();
    assert_eq!(shop.answer(&item, Answer::Refused("PROVIDER_REFUSED".into())).await.unwrap(), Next::Settled);
    let intent = shop.intent("order-1").await;
    assert_eq!((intent.standing.state, intent.failure_reason.as_deref()), (State::Failed, Some("PROVIDER_REFUSED")));
    assert_eq!(shop.events().await, [Event::Failed]);
}

#[tokio::test]
async fn without_an_answer_a_payment_goes_on_waiting() {
    let shop = Shop::open().await;
    shop.create("order-1", 25_000).await.unwrap();
    shop.confirm("order-1").await.unwrap();
    for attempt in 1..=3 {
        let item = shop.claim().await.unwrap();
        assert_eq!(item.attempts, attempt);
        assert_eq!(shop.answer(&item, Answer::Uncertain("TIMEOUT".into())).await.unwrap(), Next::Later);
        assert_eq!(shop.standing("order-1").await, (State::Processing, Funds::None));
    }
    let item = shop.claim().await.unwrap();
    assert_eq!(shop.answer(&item, Answer::Absent).await.unwrap(), Next::Ask(crate::charge::Known::Absent));
    assert_eq!(shop.answer(&item, open()).await.unwrap(), Next::Settled);
    assert_eq!(shop.standing("order-1").await, (State::RequiresAction, Funds::None));
    assert!(matches!(shop.answer(&item, Answer::Closed).await, Err(Error::Store(sekat_store::StoreError::LeaseLost))));
}

#[tokio::test]
async fn events_keep_their_order_and_their_trace() {
    let shop = charged("order-1").await;
    shop.notify(&paid("n1", "order-1", 25_000)).await.unwrap();
    shop.capture("order-1").await.unwrap();
    let shop = shop.reopened().await;
    let stored = shop.store.read(|tx| events::after(tx, 1, 10)).await.unwrap();
    assert_eq!(stored.iter().map(|event| event.seq).collect::<Vec<_>>(), [2]);
    let wire = crate::wire::event(&stored[0]);
    assert_eq!((wire.resume_token.as_str(), wire.order.as_str()), ("2", "orders/order-1"));
    assert_eq!(wire.traceparent, moment().trace.to_traceparent());
    assert_eq!(shop.store.read(events::head).await.unwrap(), 2);
}

/// Many payments at once, each command at random, now and then a restart: the ledger always adds up, and what is in
/// its accounts is what the payments say.
#[tokio::test]
async fn random_traffic_leaves_payments_and_ledger_in_agreement() {
    const IDS: [&str; 6] = ["order-0", "order-1", "order-2", "order-3", "order-4", "order-5"];
    let mut random = crate::ledger::model::Random::new(7);
    for round in 0..8 {
        let mut shop = Shop::open().await;
        let mut received = 0;
        for step in 0..120 {
            let id = random.pick(&IDS);
            match random.below(12) {
                0 | 1 => drop(shop.create(id, 25_000).await),
                2 | 3 => drop(shop.confirm(id).await),
                4 => drop(shop.capture(id).await),
                5 => {
                    let reason = [CancelReason::Requested, CancelReason::Expired, CancelReason::OrderFailed];
                    drop(shop.cancel(id, random.pick(&reason)).await);
                }
                6 | 7 => {
                    let notification =
                        paid(&format!("n{}", random.below(40)), id, random.pick(&[25_000, 25_000, 24_000]));
                    if shop.notify(&notification).await.unwrap() == Ingested::Booked {
                        received += notification.amount.minor() / 100;
                    }
                }
                8..11 => {
                    if let Some(item) = shop.claim().await {
                        let answers = [
                            open(),
                            Answer::Closed,
                            Answer::Absent,
                            Answer::Refused("R".into()),
                            Answer::Uncertain("U".into()),
                        ];
                        let answer = answers[random.below(answers.len())].clone();
                        if matches!(shop.answer(&item, answer).await.unwrap(), Next::Ask(_)) {
                            // As a worker that is killed between two questions.
                            shop = shop.reopened().await;
                        }
                    }
                }
                _ => shop = shop.reopened().await,
            }
            shop.verify().await.unwrap();
            let [bank, orders, unapplied] = shop.balances().await;
            assert_eq!(bank[0] + bank[1], received, "round {round}, step {step}: money was lost or made");
            let mut expected = [0, 0];
            for id in IDS {
                let Found::Intent(intent) = shop.store.read(move |tx| crate::intents::find(tx, id)).await.unwrap()
                else {
                    continue;
                };
                match intent.standing.funds {
                    Funds::Captured => expected[0] += 25_000,
                    Funds::Held => expected[1] += 25_000,
                    Funds::None | Funds::Late | Funds::GivenUp => {}
                }
            }
            assert_eq!(orders, expected, "round {round}, step {step}");
            assert_eq!(unapplied, [received - expected[0] - expected[1], 0], "round {round}, step {step}");
        }
    }
}
