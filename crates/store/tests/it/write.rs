//! Jobs, groups, limits and the ways in which a store stops.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sekat_store::{ConstraintKind, ErrorKind, QUEUE_CAPACITY, Store, StoreError, Tx, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::support::{BOUND, Held, Place, access, add_good, begin, goods};

#[tokio::test]
async fn what_is_acknowledged_survives_a_restart_and_only_the_owner_can_read_it() {
    let place = Place::new();
    let store = place.open().await;
    store.write(None, |tx| add_good(tx, "batik")).await.unwrap();
    assert_eq!(goods(&store).await, ["batik"], "a read sees what was acknowledged");
    let mut files = 0;
    for entry in std::fs::read_dir(place.dir()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files >= 4, "lock, database, log and its index");
    drop(store);
    assert_eq!(goods(&place.open().await).await, ["batik"]);
}

#[tokio::test]
async fn a_group_is_one_transaction_and_nobody_is_answered_before_it_commits() {
    let place = Place::new();
    let store = place.open().await;
    let held = Held::hold(&store).await;
    let outsider = place.outsider();
    let first = begin(store.write(None, |tx| add_good(tx, "batik"))).await;
    let second = store.write(None, move |tx| {
        let inside = tx.one("SELECT COUNT(*) FROM goods", &[])?.int(0)?;
        let outside: i64 = outsider.query_row("SELECT COUNT(*) FROM goods", [], |row| row.get(0)).unwrap();
        Ok::<_, StoreError>((inside, outside))
    });
    let second = begin(second).await;
    held.release().await;
    assert_eq!(second.await.unwrap(), (1, 0), "the second job sees the first one's effect, others do not");
    first.await.unwrap();
}

#[tokio::test]
async fn a_job_that_fails_rolls_back_alone() {
    type Job = fn(&mut dyn Tx) -> Result<(), StoreError>;
    let place = Place::new();
    let store = place.open().await;
    let touched = access();
    let held = Held::hold(&store).await;
    let begin = |job: Job| begin(store.write(Some(&touched), job));
    let before = begin(|tx| add_good(tx, "batik")).await;
    let refused = begin(|tx| {
        add_good(tx, "refused")?;
        Err(StoreError::InvalidPageToken)
    });
    let panicked = begin(|tx| {
        add_good(tx, "panicked")?;
        panic!("a bug in a job")
    });
    let duplicate = begin(|tx| {
        add_good(tx, "duplicate")?;
        add_good(tx, "batik")
    });
    let swallowed = begin(|tx| {
        add_good(tx, "swallowed")?;
        let _ = add_good(tx, "batik");
        assert!(add_good(tx, "after").is_err(), "a job is over at its first failed statement");
        Ok(())
    });
    let (refused, panicked) = (refused.await, panicked.await);
    let (duplicate, swallowed) = (duplicate.await, swallowed.await);
    let after = begin(|tx| add_good(tx, "kopi")).await;
    held.release().await;

    before.await.unwrap();
    assert!(matches!(refused.await, Err(StoreError::InvalidPageToken)));
    assert!(matches!(panicked.await, Err(StoreError::JobPanicked)));
    let duplicate = duplicate.await.unwrap_err();
    assert!(duplicate.is_unique_violation(), "{duplicate}");
    assert!(swallowed.await.unwrap_err().is_unique_violation(), "an error cannot be made a success");
    after.await.unwrap();
    assert_eq!(goods(&store).await, ["batik", "kopi"]);
}

#[tokio::test]
async fn a_full_queue_sheds_and_an_expired_job_never_begins() {
    const EXCESS: usize = 40;
    let place = Place::new();
    let store = place.open().await;
    let held = Held::hold(&store).await;
    let late = store.by(Instant::now());
    let in_time = store.by(Instant::now() + BOUND);
    let mut jobs = Vec::new();
    for n in 0..QUEUE_CAPACITY + EXCESS {
        // One in four has no time left when the writer comes to it.
        let store = if n % 4 == 0 { &late } else { &in_time };
        jobs.push(begin(store.write(None, move |tx| add_good(tx, &format!("{n:04}")))).await);
    }
    held.release().await;

    let (mut done, mut overloaded, mut expired) = (0, 0, 0);
    for job in jobs {
        match job.await {
            Ok(()) => done += 1,
            Err(StoreError::Overloaded) => overloaded += 1,
            Err(StoreError::Expired) => expired += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((done, overloaded, expired), (QUEUE_CAPACITY * 3 / 4, EXCESS, QUEUE_CAPACITY / 4));
    assert_eq!(goods(&store).await.len(), done);
    let read = late.read(|tx| tx.rows("SELECT 1", &[])).await;
    assert!(matches!(read, Err(StoreError::Expired)));
}

#[tokio::test]
async fn a_job_whose_caller_has_left_is_not_begun() {
    let place = Place::new();
    let store = place.open().await;
    let held = Held::hold(&store).await;
    let gone = begin(store.write(None, |tx| add_good(tx, "gone"))).await;
    let stays = begin(store.write(None, |tx| add_good(tx, "stays"))).await;
    drop(gone);
    held.release().await;
    stays.await.unwrap();
    assert_eq!(goods(&store).await, ["stays"]);
}

#[tokio::test]
async fn statements_are_told_from_values_by_their_numbers() {
    let place = Place::new();
    let store = place.open().await;
    store.write(None, |tx| add_good(tx, "batik")).await.unwrap();
    let stock = store
        .write(None, |tx| {
            let changed = tx.exec("UPDATE goods SET stock = $2 WHERE name = $1", &["batik".into(), 9.into()])?;
            assert_eq!(changed, 1);
            tx.one("SELECT stock FROM goods WHERE name = $1", &["batik".into()])?.int(0)
        })
        .await
        .unwrap();
    assert_eq!(stock, 9);
    let short = store.write(None, |tx| tx.exec("UPDATE goods SET stock = $1 WHERE name = $2", &[1.into()])).await;
    assert!(matches!(short, Err(StoreError::Parameters { expected: 2, found: 1, .. })));
    let two = store.read(|tx| tx.one("SELECT name FROM goods UNION ALL SELECT name FROM goods", &[])).await;
    assert!(matches!(two, Err(StoreError::RowCount { found: 2, .. })));
}

#[tokio::test]
async fn errors_name_the_constraint_and_hold_no_value() {
    let place = Place::new();
    let store = place.open().await;
    let insert = "INSERT INTO goods (name, stock) VALUES ($1, $2)";
    for (stock, kind) in [
        (Value::Int(-5), ConstraintKind::Check),
        (Value::Null, ConstraintKind::NotNull),
        (Value::Text("secret".to_owned()), ConstraintKind::Type),
    ] {
        let error = store.write(None, move |tx| tx.exec(insert, &["secret".into(), stock.clone()])).await.unwrap_err();
        let StoreError::Constraint { kind: found, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, kind);
        assert!(!format!("{error} {error:?}").contains("secret"));
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
    let real: Result<_, StoreError> = store.read(|tx| tx.rows("SELECT 1.5", &[])).await;
    assert!(matches!(real, Err(StoreError::Column { found: "REAL", .. })));
}

#[tokio::test]
async fn a_read_cannot_write_and_a_panic_in_one_leaves_the_readers_whole() {
    let place = Place::new();
    let store = place.open().await;
    let written = store.read(|tx| add_good(tx, "batik")).await;
    assert!(matches!(written, Err(StoreError::ReadOnly { .. })), "{written:?}");
    for _ in 0..8 {
        let store = store.clone();
        let read = tokio::spawn(async move {
            store
                .read(|tx| {
                    tx.rows("SELECT name FROM goods", &[])?;
                    if true { panic!("a bug in a job") } else { Ok::<(), StoreError>(()) }
                })
                .await
        });
        assert!(read.await.unwrap_err().is_panic());
    }
    assert!(goods(&store).await.is_empty());
    store.write(None, |tx| add_good(tx, "batik")).await.unwrap();
    assert_eq!(goods(&store).await, ["batik"], "no reader kept an old snapshot");
}

#[tokio::test]
async fn a_read_job_sees_one_moment() {
    let place = Place::new();
    let store = place.open().await;
    let (ask, mut asked) = mpsc::unbounded_channel::<()>();
    let (wrote, written) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn({
        let store = store.clone();
        move || {
            let count = "SELECT COUNT(*) FROM goods";
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.read(move |tx| {
                let before = tx.one(count, &[])?.int(0)?;
                ask.send(()).unwrap();
                written.recv_timeout(BOUND).unwrap();
                Ok::<_, StoreError>((before, tx.one(count, &[])?.int(0)?))
            }))
        }
    });
    timeout(BOUND, asked.recv()).await.unwrap().unwrap();
    store.write(None, |tx| add_good(tx, "batik")).await.unwrap();
    wrote.send(()).unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), (0, 0));
    assert_eq!(goods(&store).await.len(), 1);
}

/// Lets the file grow by `pages` and no further, as a full disk would.
async fn limit_pages(store: &Store, pages: i64) {
    let current = store.write(None, |tx| tx.one("PRAGMA page_count", &[])?.int(0)).await;
    let limit = match current.map_err(|error: StoreError| error).unwrap() + pages {
        limit if limit < 100 => "PRAGMA max_page_count = 100",
        limit => panic!("the empty schema has {limit} pages"),
    };
    store.write(None, move |tx| tx.rows(limit, &[])).await.unwrap();
}

#[tokio::test]
async fn a_full_store_stops_and_says_so_and_keeps_what_it_acknowledged() {
    let place = Place::new();
    let store = place.open().await;
    let fatal = tokio::spawn(store.fatal());
    limit_pages(&store, 40).await;
    let mut acknowledged = Vec::new();
    let full = loop {
        let name = format!("{:04}{}", acknowledged.len(), "x".repeat(3_000));
        let touched = access();
        let written = store.write(Some(&touched), {
            let name = name.clone();
            move |tx| add_good(tx, &name)
        });
        match written.await {
            Ok(()) => acknowledged.push(name),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 1_000, "the limit must be reached");
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert!(full.to_string().contains("is full; free space and restart the service"), "{full}");
    assert_eq!(full.kind(), ErrorKind::Unavailable);
    let fatal = timeout(BOUND, fatal).await.unwrap().unwrap();
    assert!(matches!(fatal, StoreError::Full { .. }), "{fatal}");
    let later = store.write(None, |tx| add_good(tx, "later")).await.unwrap_err();
    assert!(matches!(later, StoreError::Stopped { source: Some(_) }), "{later}");
    assert_eq!(goods(&store).await, acknowledged);

    drop(store);
    let store = place.open().await;
    assert_eq!(goods(&store).await, acknowledged);
    store.verify_access_chain().await.unwrap();
    store.write(None, |tx| add_good(tx, "later")).await.unwrap();
}

#[tokio::test]
async fn a_write_lock_held_by_another_program_is_an_error_and_no_reason_to_stop() {
    let place = Place::new();
    let store = place.open().await;
    let outsider = place.outsider();
    outsider.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.write(None, |tx| add_good(tx, "batik")).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    outsider.execute_batch("ROLLBACK").unwrap();
    assert!(goods(&store).await.is_empty());
    store.write(None, |tx| add_good(tx, "batik")).await.unwrap();
}

#[tokio::test]
async fn a_job_that_ends_the_transaction_stops_the_store() {
    for end in ["COMMIT", "ROLLBACK"] {
        let place = Place::new();
        let store = place.open().await;
        let fatal = store.fatal();
        let job = store.write(None, move |tx| {
            add_good(tx, "batik")?;
            tx.exec(end, &[]).map(|_| ())
        });
        let error: StoreError = job.await.unwrap_err();
        assert!(matches!(error, StoreError::TransactionEnded), "{error}");
        assert!(matches!(timeout(BOUND, fatal).await.unwrap(), StoreError::TransactionEnded));
    }
}

#[tokio::test]
async fn a_store_in_order_is_never_fatal() {
    let place = Place::new();
    let store = place.open().await;
    let fatal = store.fatal();
    store.write(None, |tx| add_good(tx, "batik")).await.unwrap();
    drop(store);
    assert!(timeout(Duration::ZERO, fatal).await.is_err());
}

#[tokio::test]
async fn the_last_handle_may_be_dropped_by_a_job() {
    let place = Place::new();
    let store = place.open().await;
    let (began, begun) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let caller = tokio::spawn(async move {
        let (handle, mut began) = (store.clone(), Some(began));
        let job = store.write(None, move |tx| {
            let _ = &handle;
            began.take().unwrap().send(()).unwrap();
            released.recv_timeout(BOUND).unwrap();
            add_good(tx, "batik")
        });
        job.await
    });
    begun.await.unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled(), "only the job holds the store now");
    release.send(()).unwrap();
    // The writer's thread closes the file by itself; it is closed when its lock is free.
    let reopened = timeout(BOUND, async {
        loop {
            match Store::open(place.config()).await {
                Ok(store) => break store,
                Err(StoreError::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(goods(&reopened.await.unwrap()).await, ["batik"]);
}
