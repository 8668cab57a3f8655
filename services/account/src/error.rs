//! Why the account service refuses, and how each refusal is answered.

use sekat_mesh::refusal::refuse;
use sekat_service::{Invalid, internal, store_refusal};
use sekat_store::StoreError;
use tonic::{Code, Status};

use crate::creator_handle::MAX_HANDLES;

/// A refusal. No text holds a classified value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("an account with this e-mail address exists; sign in instead")]
    EmailTaken,
    #[error("this creator handle is taken; choose another")]
    HandleTaken,
    #[error("an account has at most {MAX_HANDLES} creator handles in its life; use one of the earlier ones")]
    TooManyHandles,
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
    #[error("the password hasher is gone")]
    HasherGone,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(fields) => fields.into(),
            Error::NotFound(_) => refuse(Code::NotFound, "NOT_FOUND", text),
            Error::EmailTaken => refuse(Code::AlreadyExists, "EMAIL_TAKEN", text),
            Error::HandleTaken => refuse(Code::AlreadyExists, "CREATOR_HANDLE_TAKEN", text),
            Error::TooManyHandles => refuse(Code::ResourceExhausted, "TOO_MANY_CREATOR_HANDLES", text),
            Error::BadCredentials => refuse(Code::Unauthenticated, "BAD_CREDENTIALS", text),
            Error::NoCreatorHandle => refuse(Code::FailedPrecondition, "NO_CREATOR_HANDLE", text),
            Error::SessionEnded => refuse(Code::Unauthenticated, "SESSION_ENDED", text),
            Error::EtagMismatch => refuse(Code::Aborted, "ETAG_MISMATCH", text),
            Error::TooManyAddresses(_) => refuse(Code::ResourceExhausted, "TOO_MANY_ADDRESSES", text),
            Error::Hashing(_) | Error::Signing(_) | Error::HasherGone => internal(&error),
            Error::Store(error) => store_refusal(&error),
        }
    }
}
