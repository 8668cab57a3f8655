//! Why the merchant service refuses, and how each refusal is answered.

use std::time::Duration;

use sekat_mesh::refusal::{invalid, refuse, retry_after};
use sekat_store::{ErrorKind, StoreError};
use tonic::{Code, Status};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has fields that are not allowed")]
    Invalid(Vec<(&'static str, &'static str)>),
    #[error("no such merchant")]
    NotFound,
    #[error("only a seller's session can do this; sign in with the scope SELLER")]
    NotSeller,
    #[error("the account has a business already; read it with GetMerchant")]
    AlreadyRegistered,
    #[error("this NIB is registered by another account; look at the number again")]
    NibTaken,
    #[error("a stored value is damaged: {0}")]
    Damaged(&'static str),
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
            Error::NotFound => refuse(Code::NotFound, "NOT_FOUND", text),
            Error::NotSeller => refuse(Code::PermissionDenied, "NOT_SELLER", text),
            Error::AlreadyRegistered => refuse(Code::AlreadyExists, "MERCHANT_EXISTS", text),
            Error::NibTaken => refuse(Code::AlreadyExists, "NIB_TAKEN", text),
            Error::Damaged(_) => internal(),
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
