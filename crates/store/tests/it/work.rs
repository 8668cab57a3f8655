//! Durable work: nothing committed is lost, nobody finishes what they no longer hold.

use std::time::Duration;

use sekat_store::{Item, NewItem, Store, StoreError, Value, WorkQueue, now_ms};
use tokio::time::timeout;

use crate::support::{BOUND, Place, add_good, goods};

const SAGA: &[&str] = &["saga"];
const ALL: &[&str] = &["saga", "news"];
const MINUTE: Duration = Duration::from_secs(60);

fn item(key: &str) -> NewItem<'_> {
    NewItem { kind: "saga", key, payload: b"do it", trace: Some([3; 25]), due_ms: 0 }
}

async fn enqueue(store: &Store, key: &'static str) -> bool {
    store.write(None, move |tx| WorkQueue::enqueue(tx, item(key))).await.unwrap()
}

async fn reschedule(store: &Store, key: &'static str, payload: &'static [u8], due_ms: i64) {
    let job =
        store.write(None, move |tx| WorkQueue::enqueue_or_reschedule(tx, NewItem { payload, due_ms, ..item(key) }));
    job.await.unwrap();
}

async fn claim(store: &Store, lease: Duration) -> Vec<Item> {
    store.work().claim(SAGA, 10, lease).await.unwrap()
}

async fn claim_one(store: &Store, lease: Duration) -> Item {
    let mut items = claim(store, lease).await;
    assert_eq!(items.len(), 1);
    items.remove(0)
}

async fn done(store: &Store, item: &Item) -> Result<bool, StoreError> {
    let lease = item.lease;
    store.write(None, move |tx| WorkQueue::done(tx, lease)).await
}

#[tokio::test]
async fn an_item_is_claimed_by_one_worker_and_gone_when_done() {
    let place = Place::new();
    let store = place.open().await;
    assert!(enqueue(&store, "orders/1").await);
    let held = claim_one(&store, MINUTE).await;
    assert_eq!((held.kind.as_str(), held.key.as_str(), held.payload.as_slice()), ("saga", "orders/1", &b"do it"[..]));
    assert_eq!((held.trace, held.attempts), (Some([3; 25]), 1));
    assert!(claim(&store, MINUTE).await.is_empty(), "it is held");
    assert!(done(&store, &held).await.unwrap());
    assert_eq!(store.work().next_due(SAGA).await.unwrap(), None);
    assert!(matches!(done(&store, &held).await, Err(StoreError::LeaseLost)));
    assert!(enqueue(&store, "orders/1").await, "its name is free again");
}

#[tokio::test]
async fn enqueueing_belongs_to_the_callers_transaction() {
    let place = Place::new();
    let store = place.open().await;
    let refused: Result<(), StoreError> = store
        .write(None, |tx| {
            add_good(tx, "batik")?;
            WorkQueue::enqueue(tx, item("orders/1"))?;
            Err(StoreError::InvalidPageToken)
        })
        .await;
    assert!(refused.is_err());
    assert!(claim(&store, MINUTE).await.is_empty());
    assert!(goods(&store).await.is_empty());
}

#[tokio::test]
async fn a_lease_that_ran_out_is_claimed_again_and_the_slow_worker_finishes_nothing() {
    let place = Place::new();
    let store = place.open().await;
    enqueue(&store, "orders/1").await;
    let slow = claim_one(&store, Duration::ZERO).await;
    let quick = claim_one(&store, MINUTE).await;
    assert_eq!(quick.attempts, 2);
    let lease = slow.lease;
    let late = store.write(None, move |tx| {
        add_good(tx, "effect of the slow worker")?;
        WorkQueue::done(tx, lease)
    });
    assert!(matches!(late.await, Err(StoreError::LeaseLost)));
    let late = store.write(None, move |tx| WorkQueue::retry(tx, lease, 0, "too slow"));
    assert!(matches!(late.await, Err(StoreError::LeaseLost)));
    assert!(goods(&store).await.is_empty(), "the effect went with the lease");
    assert!(done(&store, &quick).await.unwrap());
}

#[tokio::test]
async fn a_lease_that_ran_out_and_was_not_claimed_again_still_finishes() {
    let place = Place::new();
    let store = place.open().await;
    enqueue(&store, "orders/1").await;
    let slow = claim_one(&store, Duration::ZERO).await;
    assert!(done(&store, &slow).await.unwrap());
}

#[tokio::test]
async fn an_item_given_back_is_due_when_it_was_told_to_be() {
    let place = Place::new();
    let store = place.open().await;
    enqueue(&store, "orders/1").await;
    let later = now_ms() + 3_600_000;
    for (due_ms, is_due) in [(0, true), (later, false)] {
        let lease = claim_one(&store, MINUTE).await.lease;
        let error = "é".repeat(1_000);
        store.write(None, move |tx| WorkQueue::retry(tx, lease, due_ms, &error)).await.unwrap();
        let next = store.work().next_due(SAGA).await.unwrap().unwrap();
        assert_eq!((next, next <= now_ms()), (due_ms, is_due));
    }
    assert!(claim(&store, MINUTE).await.is_empty());
}

#[tokio::test]
async fn the_same_key_is_enqueued_once_or_rescheduled() {
    let place = Place::new();
    let store = place.open().await;
    assert!(enqueue(&store, "orders/1").await);
    assert!(!enqueue(&store, "orders/1").await);
    let later = now_ms() + 3_600_000;
    reschedule(&store, "orders/1", b"later", later).await;
    assert!(claim(&store, MINUTE).await.is_empty());
    assert_eq!(store.work().next_due(SAGA).await.unwrap(), Some(later));
    reschedule(&store, "orders/1", b"now", 0).await;
    assert_eq!(claim_one(&store, MINUTE).await.payload, b"now");
}

#[tokio::test]
async fn an_item_rescheduled_while_it_is_held_is_done_again_and_never_at_the_same_time() {
    let place = Place::new();
    let store = place.open().await;
    enqueue(&store, "orders/1").await;
    for finish_by_retry in [false, true] {
        let held = claim_one(&store, MINUTE).await;
        reschedule(&store, "orders/1", b"again", 0).await;
        assert!(claim(&store, MINUTE).await.is_empty(), "it is still held");
        let lease = held.lease;
        if finish_by_retry {
            let never = i64::MAX;
            store.write(None, move |tx| WorkQueue::retry(tx, lease, never, "")).await.unwrap();
        } else {
            assert!(!done(&store, &held).await.unwrap(), "it stays");
        }
        assert_eq!(store.work().next_due(SAGA).await.unwrap(), Some(0), "the new due time stands");
    }
    let again = claim_one(&store, MINUTE).await;
    assert_eq!((again.payload.as_slice(), again.attempts), (&b"again"[..], 1));
    assert!(done(&store, &again).await.unwrap());
}

#[tokio::test]
async fn claims_are_bounded_and_the_longest_due_come_first() {
    let place = Place::new();
    let store = place.open().await;
    for (kind, key, due_ms) in [("news", "c", 30), ("saga", "b", 20), ("news", "a", 10), ("saga", "d", 40)] {
        let job = store.write(None, move |tx| WorkQueue::enqueue(tx, NewItem { kind, due_ms, ..item(key) }));
        assert!(job.await.unwrap());
    }
    let keys = |items: Vec<Item>| items.into_iter().map(|item| item.key).collect::<Vec<_>>();
    let work = store.work();
    assert!(work.claim(ALL, 0, MINUTE).await.unwrap().is_empty());
    assert_eq!(keys(work.claim(ALL, 3, MINUTE).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(keys(work.claim(ALL, 3, MINUTE).await.unwrap()), ["d"]);
}

#[tokio::test]
async fn what_a_dead_process_held_is_free_at_the_next_start() {
    let place = Place::new();
    let store = place.open().await;
    enqueue(&store, "orders/1").await;
    claim_one(&store, MINUTE * 60).await;
    drop(store);
    let store = place.open().await;
    assert_eq!(claim_one(&store, MINUTE).await.attempts, 2);
}

#[tokio::test]
async fn a_commit_wakes_a_waiting_worker_and_a_rollback_does_not() {
    let place = Place::new();
    let store = place.open().await;
    let mut work = store.work();
    let refused = store.write(None, |tx| {
        WorkQueue::enqueue(tx, item("orders/1"))?;
        Err::<(), _>(StoreError::InvalidPageToken)
    });
    refused.await.unwrap_err();
    store.write(None, |tx| add_good(tx, "batik")).await.unwrap();
    assert!(timeout(Duration::ZERO, work.changed()).await.is_err(), "nothing to do yet");
    enqueue(&store, "orders/1").await;
    timeout(BOUND, work.changed()).await.unwrap();
    assert!(!enqueue(&store, "orders/1").await);
    assert!(timeout(Duration::ZERO, work.changed()).await.is_err(), "it was there already");
}

#[tokio::test]
async fn a_worker_loop_takes_work_on_commit_and_when_it_is_due() {
    let place = Place::new();
    let store = place.open().await;
    let mut work = store.work();
    let worker = tokio::spawn(async move {
        let mut taken = Vec::new();
        while taken.len() < 2 {
            taken.extend(work.next(SAGA, 10, MINUTE).await.unwrap().into_iter().map(|item| (item.key, now_ms())));
        }
        taken
    });
    let due_ms = now_ms() + 200;
    reschedule(&store, "orders/later", b"", due_ms).await;
    enqueue(&store, "orders/now").await;
    let taken = timeout(BOUND, worker).await.unwrap().unwrap();
    assert_eq!(taken[0].0, "orders/now");
    assert_eq!(taken[1].0, "orders/later");
    assert!(taken[1].1 >= due_ms, "not before its time");
}

#[tokio::test]
async fn long_keys_and_payloads_are_refused() {
    let place = Place::new();
    let store = place.open().await;
    let long = "k".repeat(257);
    let key = store.write(None, move |tx| WorkQueue::enqueue(tx, item(&long))).await;
    assert!(matches!(key, Err(StoreError::TooLong { limit: 256, .. })));
    let payload = store.write(None, |tx| {
        let payload = vec![0; 64 * 1024 + 1];
        WorkQueue::enqueue_or_reschedule(tx, NewItem { payload: &payload, ..item("orders/1") })
    });
    assert!(matches!(payload.await, Err(StoreError::TooLong { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_workers_do_each_item_once() {
    const ITEMS: i64 = 200;
    let place = Place::new();
    let store = place.open().await;
    let filled =
        store.write(None, |tx| (0..ITEMS).try_for_each(|n| WorkQueue::enqueue(tx, item(&n.to_string())).map(|_| ())));
    filled.await.unwrap();
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let items = store.work().claim(SAGA, 3, MINUTE).await.unwrap();
                    if items.is_empty() {
                        break;
                    }
                    for item in items {
                        let job = store.write(None, move |tx| {
                            tx.exec("INSERT INTO goods (name, stock) VALUES ($1, 1)", &[Value::from(&item.key)])?;
                            WorkQueue::done(tx, item.lease)
                        });
                        assert!(job.await.unwrap());
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(i64::try_from(goods(&store).await.len()).unwrap(), ITEMS);
    assert_eq!(store.work().next_due(SAGA).await.unwrap(), None);
}
