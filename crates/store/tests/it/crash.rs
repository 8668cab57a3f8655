//! Crashes of a real process: whatever it acknowledged is there afterwards, whole, and the chain holds.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sekat_policy::AccessLog;
use sekat_store::{NewItem, RequestKey, Store, StoreConfig, StoreError, Tx, WorkQueue};
use tokio::time::timeout;

use crate::support::{BOUND, MIGRATIONS, Place, access};

/// Makes this test binary a child that writes to the store in the named directory until it dies.
const DIRECTORY: &str = "SEKAT_STORE_TEST_DIRECTORY";
/// The first number that the child writes.
const FIRST: &str = "SEKAT_STORE_TEST_FIRST";
/// A child that nobody kills ends by itself.
const MOST_WRITES: i64 = 50_000;
const WRITERS: usize = 8;

#[derive(Clone, PartialEq, prost::Message)]
struct Reply {
    #[prost(int64, tag = "1")]
    n: i64,
}

fn say(line: &str) {
    // One call a line: a line that a kill cuts off has no end and does not count.
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

/// An effect in three tables, so that a torn one would show.
fn effect(tx: &mut dyn Tx, n: i64) -> Result<Reply, StoreError> {
    for half in ["left", "right"] {
        tx.exec("INSERT INTO halves (n, half) VALUES ($1, $2)", &[n.into(), half.into()])?;
    }
    let key = n.to_string();
    WorkQueue::enqueue(tx, NewItem { kind: "saga", key: &key, payload: b"", trace: None, due_ms: 0 })?;
    Ok(Reply { n })
}

async fn write_until_refused(store: Store, next: Arc<AtomicI64>, last: i64) -> Option<StoreError> {
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= last {
            return None;
        }
        let access = access();
        let written = if n % 2 == 0 {
            store.write(Some(&access), move |tx| effect(tx, n)).await
        } else {
            let request_id = n.to_string();
            let key = RequestKey { access: &access, request_id: &request_id, body: b"" };
            store.write_once(key, move |tx| effect(tx, n)).await
        };
        match written {
            Ok(reply) => say(&format!("ack {}", reply.n)),
            Err(error) => return Some(error),
        }
    }
}

/// The child's whole life. In an ordinary run of the tests it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(dir), Ok(first)) = (std::env::var(DIRECTORY), std::env::var(FIRST)) else { return };
    let first: i64 = first.parse().unwrap();
    let store = Store::open(StoreConfig::new(dir, "shop", "shop-0", MIGRATIONS)).await.unwrap();
    say("open");
    let next = Arc::new(AtomicI64::new(first));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(write_until_refused(store.clone(), next.clone(), first + MOST_WRITES)))
        .collect();
    for writer in writers {
        if let Some(error) = writer.await.unwrap() {
            say(&format!("refused {error}"));
        }
    }
    if let Err(error) = store.record(&access()).await {
        say(&format!("fatal {}", timeout(BOUND, store.fatal()).await.unwrap()));
        say(&format!("later {}", error.0));
    }
}

fn command(dir: &Path, first: i64, wrapper: Option<&str>) -> Command {
    let binary = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        None => Command::new(binary),
        Some(script) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(script).arg(binary);
            shell
        }
    };
    command.args(["crash::child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, dir).env(FIRST, first.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What a child said before its end.
#[derive(Default)]
struct Story {
    acknowledged: BTreeSet<i64>,
    refused: usize,
    fatal: Option<String>,
    later: Option<String>,
}

/// Listens to the child and kills it once it has acknowledged `kill_after` writes.
fn listen(child: &mut Child, kill_after: Option<usize>) -> Story {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut story = Story::default();
    let mut is_open = false;
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(whole) = line.strip_suffix('\n') {
            // The test harness may have begun the line.
            is_open |= whole.ends_with("open");
            if let Some(n) = whole.strip_prefix("ack ") {
                story.acknowledged.insert(n.parse().unwrap());
            }
            story.refused += usize::from(whole.starts_with("refused "));
            story.fatal = story.fatal.or_else(|| whole.strip_prefix("fatal ").map(str::to_owned));
            story.later = story.later.or_else(|| whole.strip_prefix("later ").map(str::to_owned));
        }
        line.clear();
        if is_open && kill_after.is_some_and(|count| story.acknowledged.len() >= count) {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(is_open, "the child must have opened its store");
    assert_eq!(status.success(), kill_after.is_none(), "{status}");
    story
}

/// Everything acknowledged is there, nothing is torn, and every effect has its one access record.
async fn examine(store: &Store, acknowledged: &BTreeSet<i64>) {
    let rows = store.read(|tx| tx.rows("SELECT n, COUNT(*) FROM halves GROUP BY n", &[])).await;
    let rows = rows.map_err(|error: StoreError| error).unwrap();
    assert!(rows.iter().all(|row| row.int(1).unwrap() == 2), "an effect is torn");
    let present: BTreeSet<i64> = rows.iter().map(|row| row.int(0).unwrap()).collect();
    let lost: Vec<_> = acknowledged.difference(&present).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let items = store.read(|tx| tx.one("SELECT COUNT(*) FROM work_items", &[])?.int(0)).await;
    let effects = i64::try_from(present.len()).unwrap();
    assert_eq!(items.map_err(|error: StoreError| error).unwrap(), effects);
    let heads = store.verify_access_chain().await.unwrap();
    assert_eq!(heads.iter().map(|head| head.seq).sum::<i64>(), effects);
}

#[tokio::test]
async fn kill_at_any_point_loses_nothing_acknowledged() {
    let place = Place::new();
    let mut acknowledged = BTreeSet::new();
    for (round, kill_after) in (0..).zip([0, 1, 2, 9, 30, 64, 65, 128, 200, 333, 500, 800]) {
        let mut child = command(place.dir(), round * MOST_WRITES, None).spawn().unwrap();
        let story = listen(&mut child, Some(kill_after));
        assert!(story.acknowledged.len() >= kill_after);
        acknowledged.extend(story.acknowledged);
        examine(&place.open().await, &acknowledged).await;
    }
    assert!(acknowledged.len() > 2_000);
}

/// A real failing disk: the kernel refuses to let the log grow, so that a COMMIT fails in the middle of its group.
#[tokio::test]
async fn a_commit_that_fails_stops_the_store_and_loses_nothing_acknowledged() {
    // In 512-byte blocks: 1 MiB. The signal is ignored so that the write fails instead of ending the process.
    const LIMITED: &str = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"";
    let place = Place::new();
    let mut child = command(place.dir(), 0, Some(LIMITED)).spawn().unwrap();
    let story = listen(&mut child, None);
    assert!(!story.acknowledged.is_empty());
    assert_eq!(story.refused, WRITERS, "each writer was told");
    let fatal = story.fatal.expect("the store says why it stopped");
    assert!(fatal.contains("could not be written or read; examine the disk"), "{fatal}");
    let later = story.later.expect("and takes nothing more");
    assert!(later.contains("takes no more writes"), "{later}");

    let store = place.open().await;
    examine(&store, &story.acknowledged).await;
    store.write(Some(&access()), |tx| effect(tx, MOST_WRITES)).await.unwrap();
}
