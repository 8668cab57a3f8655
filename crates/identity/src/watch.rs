//! Files that are followed: read and checked as a whole, swapped in one step, and kept when the new ones are no good.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ring::digest;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::source::SourceError;

/// How often the files are looked at. Polling costs a few reads and, unlike file notifications, misses nothing on
/// any file system; a change counts once two looks in a row saw the same bytes, so it is in force within 2 s.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The largest file that is read. A bundle of a hundred roots has some 100 KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The bytes of all files that belong together, by their names under the watched directory.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// How a value is made from files.
pub(crate) struct Recipe<T> {
    /// What the files are, for log lines.
    pub(crate) what: String,
    /// Reads the files.
    pub(crate) read: Box<dyn Fn() -> Result<Files, SourceError> + Send + Sync>,
    /// Makes the value, or says what is wrong with the files.
    pub(crate) parse: fn(&Files) -> Result<T, SourceError>,
    /// When the value stops being of use.
    pub(crate) not_after: fn(&T) -> Option<SystemTime>,
}

/// A value that follows its files.
pub(crate) struct Watched<T> {
    current: ArcSwap<T>,
    generation: watch::Sender<u64>,
    recipe: Recipe<T>,
    seen: Mutex<Seen>,
}

type Digest = [u8; 32];

/// What the watcher saw, by digest: keys are not kept twice.
struct Seen {
    /// The bytes behind the current value.
    applied: Digest,
    /// Other bytes at the last look: they count if the next look sees them again.
    unsettled: Option<Digest>,
    /// Bytes that were no good, so that each is reported once.
    refused: Option<Digest>,
    reported_expiry: bool,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the files and follows them for as long as somebody holds the result.
    pub(crate) async fn open(recipe: Recipe<T>) -> Result<Arc<Self>, SourceError> {
        let watched = blocking(move || {
            let files = (recipe.read)()?;
            let value = (recipe.parse)(&files)?;
            let seen = Seen { applied: digest_of(&files), unsettled: None, refused: None, reported_expiry: false };
            Ok(Arc::new(Self {
                current: ArcSwap::from_pointee(value),
                generation: watch::Sender::new(1),
                recipe,
                seen: Mutex::new(seen),
            }))
        })
        .await?;
        let weak = Arc::downgrade(&watched);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(POLL_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(watched) = weak.upgrade() else { return };
                // A failed look was reported by itself; the next one comes in any case.
                let _reported = blocking(move || watched.look(false)).await;
            }
        });
        Ok(watched)
    }

    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<T>> {
        self.current.load()
    }

    /// The number of the current value: it grows by one with each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Looks at the files at once and takes what is there without waiting for it to settle.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<u64, SourceError> {
        let watched = Arc::clone(self);
        blocking(move || watched.look(true)).await?;
        Ok(*self.generation.borrow())
    }

    fn look(&self, at_once: bool) -> Result<(), SourceError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = (self.recipe.read)();
        let digest = match &read {
            Ok(files) => digest_of(files),
            Err(error) => sha256(error.to_string().as_bytes()),
        };
        if digest == seen.applied {
            seen.unsettled = None;
            if seen.refused.take().is_some() {
                tracing::info!(what = self.recipe.what, "the files are good again");
            }
            self.report_expiry(&mut seen);
            return Ok(());
        }
        if !at_once && seen.unsettled.replace(digest) != Some(digest) {
            return Ok(());
        }
        match read.and_then(|files| (self.recipe.parse)(&files)) {
            Ok(value) => {
                self.current.store(Arc::new(value));
                *seen = Seen { applied: digest, unsettled: None, refused: None, reported_expiry: false };
                self.generation.send_modify(|generation| *generation = generation.saturating_add(1));
                tracing::info!(what = self.recipe.what, "changed files are in force");
                Ok(())
            }
            Err(error) => {
                if seen.refused.replace(digest) != Some(digest) {
                    let cause: &dyn std::error::Error = &error;
                    tracing::error!(
                        what = self.recipe.what,
                        error = cause,
                        "bad files are ignored; the last good ones stay"
                    );
                }
                self.report_expiry(&mut seen);
                Err(error)
            }
        }
    }

    fn report_expiry(&self, seen: &mut Seen) {
        let expired = (self.recipe.not_after)(&self.current()).is_some_and(|end| end < SystemTime::now());
        if expired && !seen.reported_expiry {
            seen.reported_expiry = true;
            tracing::error!(what = self.recipe.what, "the certificate has expired and the files hold no newer one");
        }
    }
}

/// Reads one file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, SourceError> {
    let failed = |source| SourceError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let length = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(length).is_ok_and(|length| length <= MAX_FILE_BYTES) {
        Ok(bytes)
    } else {
        Err(SourceError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES })
    }
}

async fn blocking<R: Send + 'static>(
    job: impl FnOnce() -> Result<R, SourceError> + Send + 'static,
) -> Result<R, SourceError> {
    tokio::task::spawn_blocking(job).await.unwrap_or_else(|source| Err(SourceError::Stopped { source }))
}

fn digest_of(files: &Files) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for (name, bytes) in files {
        context.update(&sha256(name.as_bytes()));
        context.update(&sha256(bytes));
    }
    fixed(&context.finish())
}

/// The SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    fixed(&digest::digest(&digest::SHA256, bytes))
}

fn fixed(digest: &digest::Digest) -> Digest {
    let mut fixed = [0; 32];
    fixed.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    fixed
}
