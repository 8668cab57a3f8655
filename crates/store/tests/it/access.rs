//! Access records: one for each access, durable before the answer, and no way to change them unseen.

use sekat_policy::AccessLog;
use sekat_store::{ConstraintKind, Store, StoreConfig, StoreError};
use tokio::time::timeout;

use crate::support::{BOUND, Held, MIGRATIONS, Place, access, add_good, begin, goods};

#[tokio::test]
async fn each_access_is_recorded_once_however_often_it_writes() {
    let place = Place::new();
    let store = place.open().await;
    let touched = access();
    assert_eq!(store.access_head().seq, 0);
    store.write(Some(&touched), |tx| add_good(tx, "batik")).await.unwrap();
    assert!(touched.is_recorded());
    store.write(Some(&touched), |tx| add_good(tx, "kopi")).await.unwrap();
    store.record(&touched).await.unwrap();
    assert_eq!(store.access_head().seq, 1);

    let read = access();
    store.record(&read).await.unwrap();
    store.record(&read).await.unwrap();
    assert!(read.is_recorded());
    let records = store.access_records(1..i64::MAX).await.unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].caller, "spiffe://commerce.sekat.local/order");
    assert_eq!(records[0].end_user, "accounts/1");
    assert_eq!(records[0].method, "/sekat.shop.v1.Shop/Take");
    assert_eq!(records[0].classes, "USER|PAYMENT");
    assert_eq!((records[0].trace_id, records[0].span_id), ([1; 16], [2; 8]));
    assert_eq!(records[1].prev_hash, records[0].hash);
    assert_eq!(records[1].expected_hash("shop"), records[1].hash);
    assert_eq!(store.access_records(2..3).await.unwrap(), records[1..]);
    assert!(!format!("{records:?}").contains("accounts/1"));
}

#[tokio::test]
async fn an_access_that_is_twice_in_a_group_is_recorded_once() {
    let place = Place::new();
    let store = place.open().await;
    let held = Held::hold(&store).await;
    let touched = access();
    let first = begin(store.write(Some(&touched), |tx| add_good(tx, "batik"))).await;
    let second = begin(store.write(Some(&touched), |tx| add_good(tx, "kopi"))).await;
    let record = begin(store.record(&touched)).await;
    assert!(!touched.is_recorded(), "not before COMMIT");
    held.release().await;
    first.await.unwrap();
    second.await.unwrap();
    record.await.unwrap();
    assert_eq!(store.access_head().seq, 1);
}

#[tokio::test]
async fn a_refused_job_leaves_its_access_to_be_recorded() {
    let place = Place::new();
    let store = place.open().await;
    let touched = access();
    let refused: Result<(), _> = store.write(Some(&touched), |_| Err(StoreError::InvalidPageToken)).await;
    assert!(refused.is_err());
    assert!(!touched.is_recorded());
    assert_eq!(store.access_head().seq, 0);
    store.record(&touched).await.unwrap();
    assert_eq!(store.access_head().seq, 1);
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart_and_each_instance_has_its_own() {
    let place = Place::new();
    for (instance, seq) in [("shop-0", 1), ("shop-0", 2), ("shop-1", 1), ("shop-0", 3)] {
        let store = Store::open(StoreConfig::new(place.dir(), "shop", instance, MIGRATIONS)).await.unwrap();
        store.record(&access()).await.unwrap();
        let head = store.access_head();
        assert_eq!((head.instance.as_str(), head.seq), (instance, seq));
        assert!(store.verify_access_chain().await.unwrap().contains(&head));
    }
    let heads = place.open().await.verify_access_chain().await.unwrap();
    assert_eq!(
        heads.iter().map(|head| (head.instance.as_str(), head.seq)).collect::<Vec<_>>(),
        [("shop-0", 3), ("shop-1", 1)]
    );
    assert_ne!(heads[0].hash, heads[1].hash);
}

#[tokio::test]
async fn records_can_be_added_and_not_changed_removed_or_replaced() {
    let place = Place::new();
    let store = place.open().await;
    store.record(&access()).await.unwrap();
    for statement in [
        "UPDATE access_records SET caller = 'x'",
        "DELETE FROM access_records",
        "INSERT OR REPLACE INTO access_records SELECT * FROM access_records",
    ] {
        let error = store.write(None, move |tx| tx.exec(statement, &[])).await.unwrap_err();
        let StoreError::Constraint { kind, detail } = &error else { panic!("{statement}: {error}") };
        assert_eq!(*kind, ConstraintKind::Trigger);
        assert_eq!(detail, "access_records is append-only");
    }
    store.record(&access()).await.unwrap();
    assert_eq!(store.verify_access_chain().await.unwrap()[0].seq, 2);
}

/// What an intruder with the file and SQL does, and the number at which it shows.
const TAMPERINGS: &[(&str, &str, i64)] = &[
    ("changes a caller", "UPDATE access_records SET caller = 'spiffe://commerce.sekat.local/other' WHERE seq = 5", 5),
    ("changes a time", "UPDATE access_records SET at_ms = at_ms + 1 WHERE seq = 1", 1),
    ("changes classes", "UPDATE access_records SET classes = 'PUBLIC' WHERE seq = 9", 9),
    (
        "moves text between fields",
        "UPDATE access_records SET caller = caller || 'a', end_user = substr(end_user, 2) WHERE seq = 4",
        4,
    ),
    ("removes one", "DELETE FROM access_records WHERE seq = 3", 3),
    ("removes the first", "DELETE FROM access_records WHERE seq = 1", 1),
    (
        "closes the gap",
        "DELETE FROM access_records WHERE seq = 3; UPDATE access_records SET seq = seq - 1 WHERE seq > 3",
        3,
    ),
    (
        "swaps two",
        "UPDATE access_records SET seq = 99 WHERE seq = 7; UPDATE access_records SET seq = 7 WHERE seq = 8;
         UPDATE access_records SET seq = 8 WHERE seq = 99",
        7,
    ),
    ("changes a hash", "UPDATE access_records SET hash = zeroblob(32) WHERE seq = 6", 6),
    ("files one under another instance", "UPDATE access_records SET instance = 'shop-9' WHERE seq = 10", 1),
];

#[tokio::test]
async fn a_changed_chain_is_found_with_the_number_of_the_record() {
    for (what, sql, expected) in TAMPERINGS {
        let place = Place::new();
        let store = place.open().await;
        for _ in 0..10 {
            store.record(&access()).await.unwrap();
        }
        assert_eq!(store.verify_access_chain().await.unwrap(), [store.access_head()], "untouched, it holds");
        tamper(&place, sql);
        match store.verify_access_chain().await {
            Err(StoreError::BrokenChain { seq, .. }) => assert_eq!(seq, *expected, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_record_rewritten_with_its_hash_breaks_the_next_one() {
    let place = Place::new();
    let store = place.open().await;
    for _ in 0..4 {
        store.record(&access()).await.unwrap();
    }
    let mut forged = store.access_records(2..3).await.unwrap().remove(0);
    "spiffe://commerce.sekat.local/innocent".clone_into(&mut forged.caller);
    let hash: String = forged.expected_hash("shop").iter().map(|byte| format!("{byte:02x}")).collect();
    tamper(&place, &format!("UPDATE access_records SET caller = '{}', hash = x'{hash}' WHERE seq = 2", forged.caller));
    let broken = store.verify_access_chain().await.unwrap_err();
    assert!(matches!(broken, StoreError::BrokenChain { seq: 3, .. }), "{broken}");
}

#[tokio::test]
async fn records_cut_off_under_a_running_store_are_missed() {
    let place = Place::new();
    let store = place.open().await;
    for _ in 0..4 {
        store.record(&access()).await.unwrap();
    }
    tamper(&place, "DELETE FROM access_records WHERE seq >= 3");
    let broken = store.verify_access_chain().await.unwrap_err();
    assert!(matches!(broken, StoreError::BrokenChain { seq: 3, .. }), "{broken}");
}

#[tokio::test]
async fn a_store_whose_chain_was_continued_by_somebody_else_stops() {
    let place = Place::new();
    let store = place.open().await;
    store.record(&access()).await.unwrap();
    tamper(
        &place,
        "INSERT INTO access_records SELECT instance, seq + 1, at_ms, caller, end_user, method, classes, trace_id, span_id, prev_hash, hash FROM access_records",
    );
    let touched = access();
    assert!(store.write(Some(&touched), |tx| add_good(tx, "batik")).await.is_err());
    assert!(!touched.is_recorded());
    let fatal = timeout(BOUND, store.fatal()).await.unwrap();
    assert!(matches!(fatal, StoreError::Commit { .. }), "{fatal}");
    assert!(goods(&store).await.is_empty());
}

fn tamper(place: &Place, sql: &str) {
    let intruder = place.outsider();
    intruder.execute_batch("DROP TRIGGER access_records_no_update; DROP TRIGGER access_records_no_delete;").unwrap();
    intruder.execute_batch(sql).unwrap();
}
