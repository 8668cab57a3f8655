//! Why the merchant service refuses, and how each refusal is answered.

use sekat_mesh::refusal::refuse;
use sekat_service::{Invalid, internal, store_refusal};
use sekat_store::StoreError;
use tonic::{Code, Status};

/// A refusal. No text holds a classified value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
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

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(fields) => fields.into(),
            Error::NotFound => refuse(Code::NotFound, "NOT_FOUND", text),
            Error::NotSeller => refuse(Code::PermissionDenied, "NOT_SELLER", text),
            Error::AlreadyRegistered => refuse(Code::AlreadyExists, "MERCHANT_EXISTS", text),
            Error::NibTaken => refuse(Code::AlreadyExists, "NIB_TAKEN", text),
            Error::Damaged(_) => internal(&error),
            Error::Store(error) => store_refusal(&error),
        }
    }
}
