//! What every service with a store says in the same words: which fields are wrong, what the store refuses, how a list
//! is paged. It stands between `sekat-mesh` and `sekat-store`, which do not know each other.

mod fields;
mod page;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use prost_types::Timestamp;
use sekat_identity::jws::SigningKey;
use sekat_mesh::BoxError;
use sekat_mesh::refusal::{refuse, retry_after};
use sekat_store::{ErrorKind, StoreError};
use tonic::{Code, Status};

pub use fields::{Invalid, Violations, is_text};
pub use page::Page;

/// When a caller may come again if the store's queue is full: a queue's worth of work is done by then.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(100);

/// The answer to an error of the store. Only what a caller can mend is told to them; the rest is logged.
#[must_use]
pub fn store_refusal(error: &StoreError) -> Status {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::InvalidArgument => refuse(Code::InvalidArgument, "INVALID_ARGUMENT", text),
        ErrorKind::RequestIdReused => refuse(Code::AlreadyExists, "REQUEST_ID_REUSED", text),
        ErrorKind::Overloaded => retry_after(Code::ResourceExhausted, "OVERLOADED", text, OVERLOAD_PAUSE),
        ErrorKind::Expired => refuse(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", text),
        ErrorKind::Unavailable => refuse(Code::Unavailable, "STORE_STOPPED", "the store has stopped"),
        ErrorKind::Internal => internal(error),
    }
}

/// The answer to a fault of ours: the caller learns that it was one, the log what it was.
#[must_use]
pub fn internal(error: &(dyn Error + 'static)) -> Status {
    tracing::error!(error, "a call failed");
    refuse(Code::Internal, "INTERNAL", "something went wrong here; it was logged")
}

/// A time in milliseconds since 1970, as contracts have it.
#[must_use]
pub fn timestamp(ms: i64) -> Timestamp {
    let nanos = i32::try_from(ms.rem_euclid(1000)).unwrap_or_default().saturating_mul(1_000_000);
    Timestamp { seconds: ms.div_euclid(1000), nanos }
}

/// Reads a key that signs tokens (PKCS #8 PEM) from the file that `variable` names. For the start of a process: it
/// blocks.
///
/// # Errors
/// If the file cannot be read or holds no Ed25519 key; names the variable.
pub fn signing_key(variable: &'static str, path: &Path) -> Result<SigningKey, BoxError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{variable}: {} cannot be read: {error}", path.display()))?;
    SigningKey::from_pkcs8_pem(&text).map_err(|error| format!("{variable}: {}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use sekat_mesh::refusal::{reason, retry_delay};

    use super::*;

    #[test]
    fn each_kind_of_store_error_has_its_code_and_only_overload_a_delay() {
        let table = [
            (StoreError::InvalidRequestId, Code::InvalidArgument, "INVALID_ARGUMENT"),
            (StoreError::InvalidPageToken, Code::InvalidArgument, "INVALID_ARGUMENT"),
            (StoreError::RequestIdReused, Code::AlreadyExists, "REQUEST_ID_REUSED"),
            (StoreError::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (StoreError::Expired, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (StoreError::Stopped { source: None }, Code::Unavailable, "STORE_STOPPED"),
            (StoreError::JobPanicked, Code::Internal, "INTERNAL"),
        ];
        for (error, code, expected) in table {
            let status = store_refusal(&error);
            assert_eq!((status.code(), reason(&status).as_deref()), (code, Some(expected)));
            assert_eq!(retry_delay(&status).is_some(), matches!(error, StoreError::Overloaded));
        }
    }

    #[test]
    fn what_is_ours_is_not_told() {
        let error = StoreError::Config("accounts");
        assert!(!store_refusal(&error).message().contains("accounts"));
    }

    #[test]
    fn times_before_and_after_the_epoch_have_positive_nanos() {
        assert_eq!(timestamp(1_500), Timestamp { seconds: 1, nanos: 500_000_000 });
        assert_eq!(timestamp(-1), Timestamp { seconds: -1, nanos: 999_000_000 });
    }
}
