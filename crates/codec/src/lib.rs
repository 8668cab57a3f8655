//! The codec of all generated clients and servers: protobuf, and for requests the `max_bytes` of their contract. A
//! longer field is refused where it is decoded, so that no handler sees it and none can forget to look.

use std::fmt::Display;

use prost::Message;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt as _};

/// A message that crosses the wire as a request or a response. Generated for each; what only answers holds what its
/// server put there, and is taken as it is.
pub trait Bounded {
    /// # Errors
    /// The first field that is longer than the contract of a request allows.
    fn check(&self) -> Result<(), TooLong> {
        Ok(())
    }
}

/// `google.protobuf.Empty`.
impl Bounded for () {}

/// A field of a request with more bytes than its contract allows.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong {
    field: String,
    most_bytes: usize,
}

impl TooLong {
    /// The same field, seen from the message around it.
    #[must_use]
    pub fn within(self, parent: impl Display) -> Self {
        Self { field: format!("{parent}.{}", self.field), ..self }
    }
}

/// # Errors
/// If the value of `field` has more bytes than `most_bytes`.
pub fn at_most(most_bytes: usize, field: &str, value: impl AsRef<[u8]>) -> Result<(), TooLong> {
    if value.as_ref().len() <= most_bytes { Ok(()) } else { Err(TooLong { field: field.to_owned(), most_bytes }) }
}

/// `INVALID_ARGUMENT` with a `BadRequest` that names the field and its limit, and not what it held.
impl From<TooLong> for Status {
    fn from(TooLong { field, most_bytes }: TooLong) -> Self {
        let rule = format!("must be at most {most_bytes} bytes long");
        let message = format!("{field}: {rule}");
        let mut details = ErrorDetails::with_bad_request_violation(field, rule);
        details.set_error_info("INVALID_ARGUMENT", "sekat", []);
        Self::with_error_details(Code::InvalidArgument, message, details)
    }
}

/// Encodes `E` and decodes `D`.
#[derive(Debug)]
pub struct Codec<E, D>(ProstCodec<E, D>);

impl<E, D> Default for Codec<E, D> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<E, D> tonic::codec::Codec for Codec<E, D>
where
    E: Message + Send + 'static,
    D: Message + Default + Bounded + Send + 'static,
{
    type Encode = E;
    type Decode = D;
    type Encoder = <ProstCodec<E, D> as tonic::codec::Codec>::Encoder;
    type Decoder = Checked<<ProstCodec<E, D> as tonic::codec::Codec>::Decoder>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Checked(self.0.decoder())
    }
}

/// Decodes as its inner one, and checks what came out.
#[derive(Debug)]
pub struct Checked<I>(I);

impl<I> Decoder for Checked<I>
where
    I: Decoder<Error = Status>,
    I::Item: Bounded,
{
    type Item = I::Item;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let message = self.0.decode(bytes)?;
        message.iter().try_for_each(Bounded::check)?;
        Ok(message)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_may_be_as_long_as_its_limit_and_is_named_if_it_is_longer() {
        assert_eq!(at_most(3, "etag", "abc"), Ok(()));
        let too_long = at_most(3, "etag", "canary").unwrap_err().within("lines[2]").within("order");
        let status = Status::from(too_long);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "order.lines[2].etag: must be at most 3 bytes long");
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(
            fields.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(),
            ["order.lines[2].etag"]
        );
        assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_ARGUMENT");
    }
}
