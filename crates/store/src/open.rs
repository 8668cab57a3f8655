//! From a directory to an open store: lock, file, schema, identity; each failure says what to do about it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::access::Chain;
use crate::database::Database;
use crate::migrate::{in_transaction, migrate_own, migrate_service};
use crate::pages::{PageKey, PageTokens};
use crate::request_id::MIN_RETENTION;
use crate::work::release_all_leases;
use crate::{Migration, Row, StoreError, Tx, Value};

/// Nobody but the service's own user.
const FILE_MODE: u32 = 0o600;

/// Read-only connections: one for each core that may read at once, at least two so that a long list does not hold
/// up a point read, at most four because each has a page cache of its own.
const READERS: std::ops::RangeInclusive<usize> = 2..=4;

/// Where a store is and whose it is.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data directory; it must exist. The file is `<dir>/<service>.db`.
    pub dir: PathBuf,
    /// The service that owns the store.
    pub service: &'static str,
    /// The instance of the service. Each instance has an access chain of its own; keep the name across restarts.
    pub instance: String,
    /// The service's schema, oldest change first.
    pub migrations: &'static [Migration],
    /// How long a stored reply answers a repetition; at least [`MIN_RETENTION`].
    pub request_id_retention: Duration,
}

impl StoreConfig {
    /// A store that keeps replies for [`MIN_RETENTION`].
    pub fn new(
        dir: impl Into<PathBuf>,
        service: &'static str,
        instance: impl Into<String>,
        migrations: &'static [Migration],
    ) -> Self {
        Self { dir: dir.into(), service, instance: instance.into(), migrations, request_id_retention: MIN_RETENTION }
    }

    /// Keeps stored replies for `retention`.
    #[must_use]
    pub const fn request_id_retention(mut self, retention: Duration) -> Self {
        self.request_id_retention = retention;
        self
    }

    fn check(&self) -> Result<(), StoreError> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.service.is_empty() || !self.service.bytes().all(is_name) {
            return Err(StoreError::Config("the service's name must be of a-z, 0-9 and '-'"));
        }
        if self.instance.is_empty() {
            return Err(StoreError::Config("the instance must have a name"));
        }
        if self.request_id_retention < MIN_RETENTION {
            return Err(StoreError::Config("stored replies must be kept for 24 hours or longer"));
        }
        Ok(())
    }
}

/// Everything that an open store is made of.
pub(crate) struct Opened {
    pub(crate) writer: Database,
    pub(crate) readers: Vec<Database>,
    pub(crate) chain: Chain,
    pub(crate) pages: PageTokens,
    pub(crate) lock: Lock,
}

/// The store is this process's own for as long as this lives.
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting still has a copy of the descriptor, and
        // with it the lock. Should this fail, closing frees it a moment later.
        let _ = self.file.unlock();
    }
}

/// Opens the store. Blocks on the disk: for a thread of its own.
pub(crate) fn open(config: &StoreConfig) -> Result<Opened, StoreError> {
    config.check()?;
    match fs::metadata(&config.dir) {
        Ok(found) if found.is_dir() => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unreachable(&config.dir, error)),
        _ => return Err(StoreError::DirectoryMissing { dir: config.dir.clone() }),
    }
    // INVARIANT: whoever holds the lock is the only process that writes to the file. The lock is a file of its own
    // because closing any descriptor of the database file would drop the locks that SQLite holds on it.
    let lock = lock(&config.dir.join(format!("{}.lock", config.service)))?;
    let path = config.dir.join(format!("{}.db", config.service));
    private_file(&path)?;

    let mut writer = Database::open_writer(&path)?;
    migrate_own(&mut writer)?;
    let page_key = identify(&mut writer, config.service)?;
    migrate_service(&mut writer, config.migrations)?;
    in_transaction(&mut writer, release_all_leases)?;
    let chain = Chain::load(&mut writer, config.service, &config.instance)?;
    let cores = std::thread::available_parallelism().map_or(*READERS.start(), usize::from);
    let readers = (0..cores.clamp(*READERS.start(), *READERS.end()))
        .map(|_| Database::open_reader(&path))
        .collect::<Result<_, _>>()?;
    Ok(Opened { writer, readers, chain, pages: PageTokens::new(&page_key), lock })
}

fn lock(path: &Path) -> Result<Lock, StoreError> {
    let file = private_file(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { file }),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unreachable(path, error)),
    }
}

/// The file, made with mode 0600 if it is not there. SQLite gives its log the mode of the database.
fn private_file(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|error| unreachable(path, error))?;
    let mode = file.metadata().map_err(|error| unreachable(path, error))?.permissions().mode() & 0o7777;
    if mode & !FILE_MODE == 0 { Ok(file) } else { Err(StoreError::Exposed { path: path.to_owned(), mode }) }
}

fn unreachable(path: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path: path.to_owned() },
        _ => StoreError::Unreachable { path: path.to_owned(), source: Arc::new(error) },
    }
}

/// Writes into a new file whose it is, checks it in an old one, and returns the key of its page tokens.
fn identify(database: &mut Database, service: &'static str) -> Result<PageKey, StoreError> {
    let mut key: PageKey = [0; 32];
    SystemRandom::new().fill(&mut key).map_err(|_| StoreError::NoRandomness)?;
    in_transaction(database, |database| {
        for (name, value) in [("service", service.as_bytes()), ("page_token_key", key.as_slice())] {
            database.exec(
                "INSERT INTO store_meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                &[name.into(), Value::from(value)],
            )?;
        }
        Ok(())
    })?;
    let found = meta(database, "service")?.bytes(0)?.to_vec();
    if found != service.as_bytes() {
        let found = String::from_utf8_lossy(&found).into_owned();
        return Err(StoreError::OtherService { path: database.path().to_owned(), found });
    }
    meta(database, "page_token_key")?.array(0)
}

fn meta(database: &mut Database, name: &'static str) -> Result<Row, StoreError> {
    database.tx().one("SELECT value FROM store_meta WHERE name = $1", &[name.into()])
}
