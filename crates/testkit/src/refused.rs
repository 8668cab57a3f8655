//! Saying that something must be refused, and why; and making what must be.

use tonic::{Code, Status};

/// Asserts that a call was refused with this code and this reason, and returns the refusal.
///
/// # Panics
/// If the call succeeded or was refused otherwise.
#[track_caller]
pub fn refused<T>(result: Result<T, Status>, code: Code, reason: &str) -> Status {
    let Err(status) = result else { panic!("it was allowed; expected {code:?} {reason}") };
    let found = sekat_mesh::refusal::reason(&status);
    assert_eq!((status.code(), found.as_deref()), (code, Some(reason)), "{}", status.message());
    status
}

/// A token with its first character changed.
#[must_use]
pub fn tampered(token: &str) -> String {
    let mut characters = token.chars();
    let first = if characters.next() == Some('A') { 'B' } else { 'A' };
    format!("{first}{}", characters.as_str())
}
