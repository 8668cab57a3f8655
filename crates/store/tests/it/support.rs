//! A store in a directory of its own, accesses to record, and a way to hold the writer so that a group forms.

use std::future::{poll_fn, ready};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use rusqlite::Connection;
use sekat_policy::{Access, ClassSet};
use sekat_store::{Migration, Store, StoreConfig, StoreError, Tx};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No wait in these tests takes longer unless something is broken.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "goods",
        sql: "CREATE TABLE goods (name TEXT NOT NULL PRIMARY KEY, stock BIGINT NOT NULL CHECK (stock >= 0)) STRICT;",
    },
    Migration {
        version: 2,
        name: "halves",
        sql: "CREATE TABLE halves (n BIGINT NOT NULL, half TEXT NOT NULL, PRIMARY KEY (n, half)) STRICT;",
    },
];

/// A directory that is gone after the test.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir().join("shop.db")
    }

    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig::new(self.dir(), "shop", "shop-0", MIGRATIONS)
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(self.config()).await.unwrap()
    }

    /// What somebody with the file and a SQLite shell can do.
    pub(crate) fn outsider(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }
}

pub(crate) fn access_by(caller: &str, end_user: &str, method: &'static str) -> Arc<Access> {
    Arc::new(Access::new(caller.to_owned(), end_user.to_owned(), method, ClassSet::RECORDED, [1; 16], [2; 8]))
}

pub(crate) fn access() -> Arc<Access> {
    access_by("spiffe://commerce.sekat.local/order", "accounts/1", "/sekat.shop.v1.Shop/Take")
}

pub(crate) fn add_good(tx: &mut dyn Tx, name: &str) -> Result<(), StoreError> {
    tx.exec("INSERT INTO goods (name, stock) VALUES ($1, 1)", &[name.into()]).map(|_| ())
}

pub(crate) async fn goods(store: &Store) -> Vec<String> {
    let rows = store.read(|tx| tx.rows("SELECT name FROM goods ORDER BY name", &[])).await;
    rows.map_err(|error: StoreError| error).unwrap().iter().map(|row| row.text(0).unwrap().to_owned()).collect()
}

/// Occupies the writer until released: what is written meanwhile waits and becomes one group.
pub(crate) struct Held {
    release: mpsc::Sender<()>,
    job: JoinHandle<Result<(), StoreError>>,
}

impl Held {
    pub(crate) async fn hold(store: &Store) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (began, begun) = oneshot::channel();
        let mut began = Some(began);
        let store = store.clone();
        let job = tokio::spawn(async move {
            store
                .write(None, move |_| {
                    began.take().unwrap().send(()).unwrap();
                    released.recv_timeout(BOUND).unwrap();
                    Ok(())
                })
                .await
        });
        begun.await.unwrap();
        Self { release, job }
    }

    pub(crate) async fn release(self) {
        self.release.send(()).unwrap();
        self.job.await.unwrap().unwrap();
    }
}

/// Polls `future` once: a write is then in the queue. What remains is to wait for the answer.
pub(crate) async fn begin<'a, T: 'a>(future: impl Future<Output = T> + 'a) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    let mut future = Box::pin(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(answer) => Box::pin(ready(answer)),
        Poll::Pending => future,
    }
}
