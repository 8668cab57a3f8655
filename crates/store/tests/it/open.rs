//! Opening: each thing that can be wrong has its own error, which says what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use sekat_store::{FilterDigest, Migration, Store, StoreConfig, StoreError};

use crate::support::{MIGRATIONS, Place, add_good, goods};

async fn refusal(config: StoreConfig) -> StoreError {
    match Store::open(config).await {
        Ok(_) => panic!("the store must not open"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let place = Place::new();
    let error = refusal(StoreConfig::new(place.dir().join("none"), "shop", "shop-0", MIGRATIONS)).await;
    assert!(matches!(error, StoreError::DirectoryMissing { .. }), "{error}");
    assert!(error.to_string().contains("create it with mode 0700"), "{error}");
}

#[tokio::test]
async fn a_store_has_one_owner_at_a_time() {
    let place = Place::new();
    let store = place.open().await;
    let error = refusal(place.config()).await;
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    let other = StoreConfig::new(place.dir(), "other-shop", "other-0", MIGRATIONS);
    drop(Store::open(other).await.unwrap());
    drop(store);
    drop(place.open().await);
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused() {
    let place = Place::new();
    drop(place.open().await);
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o640)).unwrap();
    let error = refusal(place.config()).await;
    assert!(matches!(error, StoreError::Exposed { mode: 0o640, .. }), "{error}");
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
    drop(place.open().await);
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_alone() {
    let place = Place::new();
    let text = "this is a letter, not a database; it is long enough to have a header ".repeat(20);
    fs::write(place.file(), &text).unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let error = refusal(place.config()).await;
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert_eq!(fs::read_to_string(place.file()).unwrap(), text);

    let place = Place::new();
    fs::create_dir(place.file()).unwrap();
    let error = refusal(place.config()).await;
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn another_services_file_is_refused() {
    let place = Place::new();
    drop(place.open().await);
    fs::rename(place.file(), place.dir().join("till.db")).unwrap();
    let error = refusal(StoreConfig::new(place.dir(), "till", "till-0", MIGRATIONS)).await;
    assert!(matches!(&error, StoreError::OtherService { found, .. } if found == "shop"), "{error}");
}

#[tokio::test]
async fn names_that_cannot_be_right_are_refused() {
    let place = Place::new();
    for (service, instance) in [("../shop", "shop-0"), ("", "shop-0"), ("Shop", "shop-0"), ("shop", "")] {
        let error = refusal(StoreConfig::new(place.dir(), service, instance, MIGRATIONS)).await;
        assert!(matches!(error, StoreError::Config(_)), "{error}");
    }
}

#[tokio::test]
async fn migrations_run_once_and_in_order() {
    const THREE: &[Migration] = &[
        MIGRATIONS[0],
        MIGRATIONS[1],
        Migration { version: 7, name: "colour", sql: "ALTER TABLE goods ADD COLUMN colour TEXT;" },
    ];
    let place = Place::new();
    for migrations in [MIGRATIONS, MIGRATIONS, THREE, THREE] {
        let store = Store::open(StoreConfig::new(place.dir(), "shop", "shop-0", migrations)).await.unwrap();
        let name = format!("batik {}", goods(&store).await.len());
        store.write(None, move |tx| add_good(tx, &name)).await.unwrap();
    }
    let error = refusal(place.config()).await;
    assert!(matches!(error, StoreError::NewerSchema { component: "service", found: 7, known: 2, .. }), "{error}");
    let store = Store::open(StoreConfig::new(place.dir(), "shop", "shop-0", THREE)).await.unwrap();
    assert_eq!(goods(&store).await.len(), 4);
    let colours = store.read(|tx| tx.rows("SELECT colour FROM goods WHERE colour IS NULL", &[])).await;
    assert_eq!(colours.map_err(|error: StoreError| error).unwrap().len(), 4);
}

#[tokio::test]
async fn the_stores_own_schema_has_a_version_too() {
    let place = Place::new();
    drop(place.open().await);
    let newer = "INSERT INTO store_migrations VALUES ('store', 999, 'future', zeroblob(32), 0)";
    place.outsider().execute_batch(newer).unwrap();
    let error = refusal(place.config()).await;
    assert!(matches!(error, StoreError::NewerSchema { component: "store", found: 999, .. }), "{error}");
}

#[tokio::test]
async fn what_was_applied_may_not_change_and_nothing_slips_in_before_it() {
    const CHANGED: &[Migration] = &[MIGRATIONS[0], Migration { sql: "SELECT 1;", ..MIGRATIONS[1] }];
    const SLIPPED_IN: &[Migration] = &[
        Migration { version: 1, ..MIGRATIONS[0] },
        Migration { version: 2, name: "late", sql: "SELECT 1;" },
        Migration { version: 3, ..MIGRATIONS[1] },
    ];
    const DESCENDING: &[Migration] = &[MIGRATIONS[1], MIGRATIONS[0]];
    const FROM_ZERO: &[Migration] = &[Migration { version: 0, ..MIGRATIONS[0] }];
    const WITH_A_GAP: &[Migration] = &[MIGRATIONS[0], Migration { version: 3, ..MIGRATIONS[1] }];
    let place = Place::new();
    drop(Store::open(StoreConfig::new(place.dir(), "shop", "shop-0", WITH_A_GAP)).await.unwrap());
    for (migrations, version) in [(SLIPPED_IN, 2), (DESCENDING, 1), (FROM_ZERO, 0)] {
        match refusal(StoreConfig::new(place.dir(), "shop", "shop-0", migrations)).await {
            StoreError::MigrationOrder { version: found, .. } => assert_eq!(found, version),
            error => panic!("{error}"),
        }
    }
    let place = Place::new();
    drop(place.open().await);
    let error = refusal(StoreConfig::new(place.dir(), "shop", "shop-0", CHANGED)).await;
    assert!(matches!(error, StoreError::ChangedMigration { version: 2, .. }), "{error}");
    drop(place.open().await);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing() {
    const BROKEN: Migration =
        Migration { version: 3, name: "broken", sql: "CREATE TABLE a (n BIGINT) STRICT; NONSENSE;" };
    const COMMITS: Migration =
        Migration { version: 3, name: "commits", sql: "CREATE TABLE a (n BIGINT) STRICT; COMMIT;" };
    const LOOSE: Migration = Migration { version: 3, name: "loose", sql: "CREATE TABLE a (n BIGINT);" };
    const DEFERRED: Migration = Migration {
        version: 3,
        name: "deferred",
        sql: "CREATE TABLE a (g TEXT REFERENCES goods (name) DEFERRABLE INITIALLY DEFERRED) STRICT;",
    };
    const CASES: [&[Migration]; 4] = [
        &[MIGRATIONS[0], MIGRATIONS[1], BROKEN],
        &[MIGRATIONS[0], MIGRATIONS[1], COMMITS],
        &[MIGRATIONS[0], MIGRATIONS[1], LOOSE],
        &[MIGRATIONS[0], MIGRATIONS[1], DEFERRED],
    ];
    for (migrations, is_expected) in CASES.into_iter().zip([
        (|error| matches!(error, StoreError::Migration { version: 3, name: "broken", .. })) as fn(&StoreError) -> bool,
        |error| matches!(error, StoreError::TransactionEnded),
        |error| matches!(error, StoreError::UnfitTable { table, reason } if table == "a" && reason.contains("STRICT")),
        |error| matches!(error, StoreError::UnfitTable { table, reason } if table == "a" && reason.contains("DEFERRED")),
    ]) {
        let place = Place::new();
        drop(place.open().await);
        let error = refusal(StoreConfig::new(place.dir(), "shop", "shop-0", migrations)).await;
        assert!(is_expected(&error), "{error}");
        let journal: i64 = place
            .outsider()
            .query_row("SELECT COUNT(*) FROM store_migrations WHERE component = 'service'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(journal, 2, "{error}");
        drop(place.open().await);
    }
}

#[test]
fn a_closed_store_is_free_at_once_also_while_children_are_started() {
    /// Enough for a child to be caught between fork and exec: without the explicit unlock a few tens do.
    const TIMES: usize = 300;
    let done = AtomicBool::new(false);
    let place = Place::new();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(Command::new("true").status().unwrap().success());
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome: Result<(), StoreError> = runtime.block_on(async {
            for _ in 0..TIMES {
                drop(Store::open(place.config()).await?);
            }
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

#[test]
fn a_store_answers_after_the_runtime_in_which_it_was_opened_is_gone() {
    let place = Place::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = runtime().block_on(Store::open(place.config())).unwrap();
    let answer: Result<i64, StoreError> = runtime().block_on(store.write(None, |tx| tx.one("SELECT 7", &[])?.int(0)));
    assert_eq!(answer.unwrap(), 7);
}

#[tokio::test]
async fn page_tokens_survive_a_restart_and_no_other_store_takes_them() {
    let filter = FilterDigest::new("/sekat.shop.v1.Shop/List", &[b"accounts/1"]);
    let place = Place::new();
    let store = place.open().await;
    let token = store.pages().encode(filter, "batik").unwrap();
    drop(store);
    assert_eq!(place.open().await.pages().decode(filter, &token).unwrap(), "batik");
    let other = Place::new().open().await.pages().decode(filter, &token);
    assert!(matches!(other, Err(StoreError::InvalidPageToken)));
}
