//! Request ids: one effect, the same reply, for its owner only.

use std::sync::Arc;
use std::time::Duration;

use sekat_policy::Access;
use sekat_store::{ErrorKind, MIN_RETENTION, RequestKey, Store, StoreError, now_ms};

use crate::support::{Place, access, access_by, add_good, goods};

#[derive(Clone, PartialEq, prost::Message)]
struct Reply {
    #[prost(int64, tag = "1")]
    count: i64,
}

const ID: &str = "3f1c9a52-0000-4000-8000-000000000001";

/// Adds a good and replies with the number of goods; the effect must not happen twice under one name.
async fn take(store: &Store, access: &Arc<Access>, request_id: &str, body: &str) -> Result<i64, StoreError> {
    let key = RequestKey { access, request_id, body: body.as_bytes() };
    let owner = format!("{}{}{}", access.caller, access.end_user, access.method);
    let name = format!("{owner} {body} {request_id}");
    let reply = store.write_once(key, move |tx| {
        add_good(tx, &name)?;
        Ok::<_, StoreError>(Reply { count: tx.one("SELECT COUNT(*) FROM goods", &[])?.int(0)? })
    });
    reply.await.map(|reply| reply.count)
}

#[tokio::test]
async fn a_repetition_gets_the_stored_reply_also_after_a_restart() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(take(&store, &access(), ID, "a").await.unwrap(), 1);
    assert_eq!(take(&store, &access(), "another", "a").await.unwrap(), 2);
    assert_eq!(take(&store, &access(), ID, "a").await.unwrap(), 1);
    drop(store);
    let store = place.open().await;
    let repeated = access();
    assert_eq!(take(&store, &repeated, ID, "a").await.unwrap(), 1);
    assert!(repeated.is_recorded(), "a replayed reply is an access too");
    assert_eq!(store.access_head().seq, 4);
}

#[tokio::test]
async fn another_body_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let store = place.open().await;
    take(&store, &access(), ID, "a").await.unwrap();
    let reused = access();
    let error = take(&store, &reused, ID, "b").await.unwrap_err();
    assert!(matches!(error, StoreError::RequestIdReused));
    assert_eq!(error.kind(), ErrorKind::RequestIdReused);
    assert!(!reused.is_recorded(), "a refusal is recorded by whoever answers it");
    assert_eq!(goods(&store).await.len(), 1);
    assert_eq!(take(&store, &access(), ID, "a").await.unwrap(), 1, "the stored reply stays");
}

#[tokio::test]
async fn nobody_gets_the_reply_of_another_owner_or_method() {
    const TAKE: &str = "/sekat.shop.v1.Shop/Take";
    let place = Place::new();
    let store = place.open().await;
    let owners = [
        access_by("spiffe://commerce.sekat.local/commerce-edge", "accounts/1", TAKE),
        access_by("spiffe://commerce.sekat.local/commerce-edge", "accounts/2", TAKE),
        access_by("spiffe://commerce.sekat.local/commerce-edge", "accounts/1", "/sekat.shop.v1.Shop/Give"),
        access_by("spiffe://commerce.sekat.local/commerce-edge", "", TAKE),
        access_by("spiffe://commerce.sekat.local/order", "", TAKE),
        // A user who calls themselves what a workload is called.
        access_by("spiffe://commerce.sekat.local/commerce-edge", "spiffe://commerce.sekat.local/order", TAKE),
    ];
    for (number, owner) in (1..).zip(&owners) {
        assert_eq!(take(&store, owner, ID, "a").await.unwrap(), number, "a reply of one's own");
    }
    for (number, owner) in (1..).zip(&owners) {
        assert_eq!(take(&store, owner, ID, "a").await.unwrap(), number, "and it stays one's own");
    }
    // The same user through another edge is the same owner.
    let elsewhere = access_by("spiffe://commerce.sekat.local/other-edge", "accounts/1", TAKE);
    assert_eq!(take(&store, &elsewhere, ID, "a").await.unwrap(), 1);
}

#[tokio::test]
async fn a_failed_job_is_not_remembered() {
    let place = Place::new();
    let store = place.open().await;
    let key_owner = access();
    let key = RequestKey { access: &key_owner, request_id: ID, body: b"a" };
    let refused = store.write_once(key, |_| Err::<Reply, _>(StoreError::InvalidPageToken)).await;
    assert!(matches!(refused, Err(StoreError::InvalidPageToken)));
    assert_eq!(take(&store, &access(), ID, "a").await.unwrap(), 1);
}

#[tokio::test]
async fn a_request_id_is_short_and_plain() {
    let place = Place::new();
    let store = place.open().await;
    for bad in ["", " ", "a b", "ä", "a/b", "a\0", &"x".repeat(65)] {
        let error = take(&store, &access(), bad, "a").await.unwrap_err();
        assert!(matches!(error, StoreError::InvalidRequestId), "{bad:?}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    for good in ["a", "A_b-9", &"x".repeat(64)] {
        take(&store, &access(), good, "a").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_parallel_repetitions_have_one_effect_and_one_reply() {
    let place = Place::new();
    let store = place.open().await;
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { take(&store, &access(), ID, "a").await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    assert_eq!(goods(&store).await.len(), 1);
    assert_eq!(store.access_head().seq, 100, "each of them is an access of its own");
}

#[tokio::test]
async fn a_reply_is_kept_for_its_time_and_then_removed() {
    let place = Place::new();
    let hour = Duration::from_secs(60 * 60);
    for (age, retention, is_kept) in [
        (MIN_RETENTION - hour, MIN_RETENTION, true),
        (MIN_RETENTION + hour, MIN_RETENTION, false),
        (MIN_RETENTION + hour, MIN_RETENTION * 30, true),
    ] {
        let config = place.config().request_id_retention(retention);
        let store = Store::open(config.clone()).await.unwrap();
        take(&store, &access(), "aged", "a").await.unwrap();
        drop(store);
        let stored_at = now_ms() - i64::try_from(age.as_millis()).unwrap();
        place.outsider().execute("UPDATE request_ids SET at_ms = ?1", [stored_at]).unwrap();
        let store = Store::open(config).await.unwrap();
        store.write(None, |tx| tx.rows("SELECT 1", &[])).await.unwrap();
        let left = store.read(|tx| tx.one("SELECT COUNT(*) FROM request_ids", &[])?.int(0)).await;
        assert_eq!(left.map_err(|error: StoreError| error).unwrap(), i64::from(is_kept), "{age:?} {retention:?}");
        store.write(None, |tx| tx.exec("DELETE FROM request_ids", &[])).await.unwrap();
        store.write(None, |tx| tx.exec("DELETE FROM goods", &[])).await.unwrap();
    }
    let short = Store::open(place.config().request_id_retention(MIN_RETENTION - hour)).await;
    assert!(matches!(short, Err(StoreError::Config(_))));
}
