//! Password hashing: Argon2id, off the runtime's threads, with bounded memory.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use argon2::password_hash::{self, Output, ParamsString, PasswordHash, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// OWASP's minimum for Argon2id (Password Storage Cheat Sheet): 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at the same time: as many as cores, so that 19 MiB each stay a bounded sum and other work goes on.
const AT_ONCE: usize = 2;

static ARGON2: LazyLock<Argon2<'static>> = LazyLock::new(|| {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
});

/// The memory of hashes that are done, for the next ones: an allocator keeps 19 MiB for each thread that ever hashed.
/// Never more than [`AT_ONCE`] of them.
static SPARE: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// Verified when the account does not exist, so that the answer takes as long as if it did.
static DECOY: LazyLock<String> = LazyLock::new(|| hash_now("no such account").unwrap_or_default());

/// Hashes and verifies passwords, in turns.
#[derive(Clone)]
pub(crate) struct Hasher(Arc<Semaphore>);

/// One's turn to hash or verify once. What is looked up after waiting for it is not outdated by the wait.
pub(crate) struct Turn(OwnedSemaphorePermit);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Result<Turn, Error> {
        Arc::clone(&self.0).acquire_owned().await.map(Turn).map_err(|_| Error::HasherGone)
    }

    /// Whether the password is the one that was hashed. Without a hash it never is, after as much work.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        self.turn().await?.verify(password, hash).await
    }
}

impl Turn {
    /// The hash of a password, with a salt of its own, in PHC format.
    pub(crate) async fn hash(self, password: String) -> Result<String, Error> {
        self.run(move || hash_now(&password).map_err(Error::Hashing)).await
    }

    /// As [`Hasher::verify`].
    pub(crate) async fn verify(self, password: String, hash: Option<String>) -> Result<bool, Error> {
        self.run(move || {
            let exists = hash.is_some();
            let hash = hash.unwrap_or_else(|| DECOY.clone());
            let parsed = PasswordHash::new(&hash).map_err(Error::Hashing)?;
            Ok(is_hash_of(&parsed, password.as_bytes()).map_err(Error::Hashing)? && exists)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        // The turn ends with the work, also if nobody waits for it any more.
        let Self(permit) = self;
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        task.await.map_err(|_| Error::HasherGone)?
    }
}

fn hash_now(password: &str) -> Result<String, password_hash::Error> {
    let mut salt = [0_u8; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| password_hash::Error::Crypto)?;
    let output = output(password.as_bytes(), &salt)?;
    let salt = SaltString::encode_b64(&salt)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(ARGON2.params())?,
        salt: Some(salt.as_salt()),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

/// In constant time. A hash that was made with other parameters is still understood.
fn is_hash_of(hash: &PasswordHash<'_>, password: &[u8]) -> Result<bool, password_hash::Error> {
    let is_current = hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && hash.params == ParamsString::try_from(ARGON2.params())?;
    let (true, Some(salt), Some(expected)) = (is_current, hash.salt, hash.hash) else {
        return Ok(ARGON2.verify_password(password, hash).is_ok());
    };
    let mut buffer = [0_u8; 64];
    Ok(output(password, salt.decode_b64(&mut buffer)?)? == expected)
}

fn output(password: &[u8], salt: &[u8]) -> Result<Output, password_hash::Error> {
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut memory = spare.unwrap_or_else(|| vec![Block::default(); ARGON2.params().block_count()]);
    let output = Output::init_with(Params::DEFAULT_OUTPUT_LEN, |out| {
        Ok(ARGON2.hash_password_into_with_memory(password, salt, out, &mut memory)?)
    });
    SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_hashed_password_verifies_and_hashes_are_salted() {
        let hasher = Hasher::new();
        let hash = hasher.turn().await.unwrap().hash("rahasia-sekali".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hasher.turn().await.unwrap().hash("rahasia-sekali".to_owned()).await.unwrap());
        assert!(hasher.verify("rahasia-sekali".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("rahasia-sekal1".to_owned(), Some(hash)).await.unwrap());
        assert!(!hasher.verify("no such account".to_owned(), None).await.unwrap());
    }

    #[test]
    fn the_hashes_are_those_of_the_library() {
        use argon2::password_hash::PasswordHasher as _;
        let salt = SaltString::encode_b64(b"saltsaltsaltsalt").unwrap();
        let by_library = ARGON2.hash_password(b"rahasia-sekali", &salt).unwrap();
        for _ in 0..2 {
            assert_eq!(output(b"rahasia-sekali", b"saltsaltsaltsalt").unwrap(), by_library.hash.unwrap());
        }
        let weaker = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
        let older = weaker.hash_password(b"rahasia-sekali", &salt).unwrap();
        assert!(is_hash_of(&older, b"rahasia-sekali").unwrap());
        assert!(!is_hash_of(&older, b"rahasia-sekal1").unwrap());
    }
}
