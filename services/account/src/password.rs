//! Password hashing: Argon2id, off the runtime's threads, with bounded memory.

use std::sync::{Arc, LazyLock};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
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
            Ok(ARGON2.verify_password(password.as_bytes(), &parsed).is_ok() && exists)
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

fn hash_now(password: &str) -> Result<String, argon2::password_hash::Error> {
    let mut salt = [0_u8; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| argon2::password_hash::Error::Crypto)?;
    let salt = SaltString::encode_b64(&salt)?;
    Ok(ARGON2.hash_password(password.as_bytes(), &salt)?.to_string())
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
}
