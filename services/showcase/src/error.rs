//! Why the showcase refuses, and how each refusal is answered.

use std::time::Duration;

use sekat_identity::jws::JwsError;
use sekat_mesh::refusal::{invalid, refuse, retry_after};
use sekat_store::{ErrorKind, StoreError};
use tonic::{Code, Status};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has fields that are not allowed")]
    Invalid(Vec<(String, &'static str)>),
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("the showcase belongs to another creator")]
    NotOwner,
    #[error("a showcase has at most {0} pins; delete one first")]
    TooManyPins(i64),
    #[error("the pins are not exactly those of the showcase; list them again")]
    OtherPins,
    #[error("the product feed cannot be reached; try again later")]
    FeedUnreachable,
    #[error("a stored value is damaged: {0}")]
    Damaged(&'static str),
    #[error("a handoff could not be signed")]
    Signing(#[source] JwsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How soon a caller may come again when the store is overloaded.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(100);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(violations) => invalid("INVALID_ARGUMENT", violations),
            Error::NotFound(_) => refuse(Code::NotFound, "NOT_FOUND", text),
            Error::NotOwner => refuse(Code::PermissionDenied, "NOT_OWNER", text),
            Error::TooManyPins(_) => refuse(Code::ResourceExhausted, "TOO_MANY_PINS", text),
            Error::OtherPins => refuse(Code::Aborted, "PINS_CHANGED", text),
            Error::FeedUnreachable => refuse(Code::Unavailable, "FEED_UNREACHABLE", text),
            Error::Damaged(_) | Error::Signing(_) => internal(),
            Error::Store(error) => match error.kind() {
                ErrorKind::InvalidArgument => refuse(Code::InvalidArgument, "INVALID_ARGUMENT", text),
                ErrorKind::RequestIdReused => refuse(Code::AlreadyExists, "REQUEST_ID_REUSED", text),
                ErrorKind::Overloaded => retry_after(Code::ResourceExhausted, "OVERLOADED", text, OVERLOAD_PAUSE),
                ErrorKind::Expired => refuse(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", text),
                ErrorKind::Unavailable => refuse(Code::Unavailable, "STORE_STOPPED", "the store has stopped"),
                ErrorKind::Internal => internal(),
            },
        }
    }
}

fn internal() -> Status {
    refuse(Code::Internal, "INTERNAL", "something went wrong here; it was logged")
}
