//! Why the account service refuses, and how each refusal is answered.

use std::time::Duration;

use sekat_mesh::refusal::{invalid, refuse, retry_after};
use sekat_store::{ErrorKind, StoreError};
use tonic::{Code, Status};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has fields that are not allowed")]
    Invalid(Vec<(&'static str, &'static str)>),
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("an account with this e-mail address exists; sign in instead")]
    EmailTaken,
    #[error("this creator handle is taken; choose another")]
    HandleTaken,
    #[error("e-mail address or password is wrong")]
    BadCredentials,
    #[error("the account has no creator handle; set one with UpdateAccount")]
    NoCreatorHandle,
    #[error("the session has ended; sign in again")]
    SessionEnded,
    #[error("it has changed since it was read; read it again and repeat the change")]
    EtagMismatch,
    #[error("an account has at most {0} addresses; remove one first")]
    TooManyAddresses(i64),
    #[error("a password could not be hashed")]
    Hashing(#[source] argon2::password_hash::Error),
    #[error("a token could not be signed")]
    Signing(#[source] sekat_identity::jws::JwsError),
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    #[error("the password hasher is gone")]
    HasherGone,
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
            Error::EmailTaken => refuse(Code::AlreadyExists, "EMAIL_TAKEN", text),
            Error::HandleTaken => refuse(Code::AlreadyExists, "CREATOR_HANDLE_TAKEN", text),
            Error::BadCredentials => refuse(Code::Unauthenticated, "BAD_CREDENTIALS", text),
            Error::NoCreatorHandle => refuse(Code::FailedPrecondition, "NO_CREATOR_HANDLE", text),
            Error::SessionEnded => refuse(Code::Unauthenticated, "SESSION_ENDED", text),
            Error::EtagMismatch => refuse(Code::Aborted, "ETAG_MISMATCH", text),
            Error::TooManyAddresses(_) => refuse(Code::ResourceExhausted, "TOO_MANY_ADDRESSES", text),
            Error::Hashing(_) | Error::Signing(_) | Error::NoRandomness | Error::HasherGone => {
                refuse(Code::Internal, "INTERNAL", "something went wrong here; it was logged")
            }
            Error::Store(error) => match error.kind() {
                ErrorKind::InvalidArgument => refuse(Code::InvalidArgument, "INVALID_ARGUMENT", text),
                ErrorKind::RequestIdReused => refuse(Code::AlreadyExists, "REQUEST_ID_REUSED", text),
                ErrorKind::Overloaded => retry_after(Code::ResourceExhausted, "OVERLOADED", text, OVERLOAD_PAUSE),
                ErrorKind::Expired => refuse(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", text),
                ErrorKind::Unavailable => refuse(Code::Unavailable, "STORE_STOPPED", "the store has stopped"),
                ErrorKind::Internal => {
                    refuse(Code::Internal, "INTERNAL", "something went wrong here; it was logged")
                }
            },
        }
    }
}
