//! Why the showcase refuses, and how each refusal is answered.

use sekat_identity::jws::JwsError;
use sekat_mesh::refusal::refuse;
use sekat_service::{Invalid, internal, store_refusal};
use sekat_store::StoreError;
use tonic::{Code, Status};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The copy of the feed has never heard of it; the feed itself may have.
    #[error("no such product")]
    UnknownProduct,
    #[error("the showcase belongs to another creator")]
    NotOwner,
    #[error("a creator has at most {0} showcases; use one of them")]
    TooManyShowcases(i64),
    #[error("a showcase has at most {0} pins; delete one first")]
    TooManyPins(i64),
    #[error("the pins are not exactly those of the showcase; list them again")]
    OtherPins,
    #[error("the product feed cannot be reached; try again later")]
    FeedUnreachable(#[source] Box<Status>),
    #[error("a stored value is damaged: {0}")]
    Damaged(&'static str),
    #[error("a handoff could not be signed")]
    Signing(#[source] JwsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(fields) => fields.into(),
            Error::NotFound(_) | Error::UnknownProduct => refuse(Code::NotFound, "NOT_FOUND", text),
            Error::NotOwner => refuse(Code::PermissionDenied, "NOT_OWNER", text),
            Error::TooManyShowcases(_) => refuse(Code::ResourceExhausted, "TOO_MANY_SHOWCASES", text),
            Error::TooManyPins(_) => refuse(Code::ResourceExhausted, "TOO_MANY_PINS", text),
            Error::OtherPins => refuse(Code::Aborted, "PINS_CHANGED", text),
            Error::FeedUnreachable(_) => refuse(Code::Unavailable, "FEED_UNREACHABLE", text),
            Error::Damaged(_) | Error::Signing(_) => internal(&error),
            Error::Store(error) => store_refusal(&error),
        }
    }
}
