//! Response bodies of the stack: they hold the call's span until the last byte, cut what is too large, end what takes
//! too long with the right status, and run streams inside the call's context.

use std::pin::Pin;
use std::task::{Context as Waker, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::context::Context;
use crate::deadline;
use crate::limits::{MessageLimit, Slot};
use crate::refusal::refuse;
use crate::telemetry::call::Call;

/// A body that belongs to a call.
#[derive(Debug)]
pub(crate) struct CallBody {
    inner: Body,
    /// None once the call is over.
    call: Option<Call>,
    limit: MessageLimit,
    /// The whole call's deadline, and its timer once the body had to wait.
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    stream: Option<Stream>,
    /// What counts the call as long as it lasts.
    _slot: Option<Slot>,
}

/// What a response that may go on for long needs beside.
#[derive(Debug)]
pub(crate) struct Stream {
    context: Context,
    ending: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    connection: CancellationToken,
    _open: Option<Slot>,
}

impl Stream {
    /// `connection` is cancelled when its streams have to end; `open` counts this one among them.
    pub(crate) fn new(context: Context, connection: CancellationToken, open: Option<Slot>) -> Self {
        Self { context, ending: None, connection, _open: open }
    }
}

/// The parts of a call that its response keeps.
pub(crate) struct Keep {
    pub(crate) call: Call,
    pub(crate) message_bytes: usize,
    pub(crate) deadline: Option<Instant>,
    pub(crate) stream: Option<Stream>,
    pub(crate) slot: Option<Slot>,
}

/// Makes the call last as long as the response's body.
pub(crate) fn keep(response: Response<Body>, mut keep: Keep) -> Response<CallBody> {
    let (parts, inner) = response.into_parts();
    // A status among the headers is the whole response.
    let over = status_code(&parts.headers).or_else(|| (!parts.status.is_success()).then_some(Code::Unknown));
    if let Some(code) = over {
        keep.call.end(code);
    }
    let body = CallBody {
        inner,
        call: over.is_none().then_some(keep.call),
        limit: MessageLimit::new(keep.message_bytes),
        deadline: keep.deadline,
        timer: None,
        stream: keep.stream,
        _slot: keep.slot.filter(|_| over.is_none()),
    };
    Response::from_parts(parts, body)
}

/// A response that is nothing but a status.
pub(crate) fn refused(mut call: Call, status: Status) -> Response<CallBody> {
    call.end(status.code());
    let keep_nothing = CallBody {
        inner: Body::empty(),
        call: None,
        limit: MessageLimit::new(0),
        deadline: None,
        timer: None,
        stream: None,
        _slot: None,
    };
    status.into_http::<Body>().map(|_| keep_nothing)
}

/// The gRPC status in headers or trailers, if there is one.
pub(crate) fn status_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

impl CallBody {
    fn poll_inner(&mut self, waker: &mut Waker<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let inner = Pin::new(&mut self.inner);
        match &self.stream {
            Some(stream) => stream.context.enter(|| inner.poll_frame(waker)),
            None => inner.poll_frame(waker),
        }
    }

    /// Ready with the reason for which the call has to end now.
    fn poll_ending(&mut self, waker: &mut Waker<'_>) -> Poll<Status> {
        if let Some(deadline) = self.deadline {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            if timer.as_mut().poll(waker).is_ready() {
                return Poll::Ready(deadline::exceeded());
            }
        }
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        let connection = &stream.connection;
        let ending = stream.ending.get_or_insert_with(|| Box::pin(connection.clone().cancelled_owned()));
        ready!(ending.as_mut().poll(waker));
        Poll::Ready(refuse(Code::Unavailable, "CONNECTION_ENDING", "resume the stream on another connection"))
    }

    /// Ends the call with a status of our own, in place of what the handler would have sent.
    fn cut(&mut self, mut call: Call, status: &Status) -> Frame<Bytes> {
        call.end(status.code());
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, (status.code() as i32).into());
        }
        Frame::trailers(trailers)
    }

    fn end(&mut self, code: Code) {
        if let Some(mut call) = self.call.take() {
            call.end(code);
        }
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.call.is_none() {
            return self.poll_inner(waker);
        }
        let cut = match self.poll_inner(waker) {
            Poll::Ready(Some(Ok(frame))) => {
                let checked = frame.data_ref().map_or(Ok(()), |data| self.limit.pass(data));
                if let Err(status) = checked {
                    status
                } else {
                    if let Some(trailers) = frame.trailers_ref() {
                        self.end(status_code(trailers).unwrap_or(Code::Unknown));
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            Poll::Ready(Some(Err(status))) => status,
            Poll::Ready(None) => {
                // A response without a status: the other side will call it UNKNOWN, and so do we.
                self.end(Code::Unknown);
                return Poll::Ready(None);
            }
            Poll::Pending => ready!(self.poll_ending(waker)),
        };
        let Some(call) = self.call.take() else { return Poll::Ready(None) };
        Poll::Ready(Some(Ok(self.cut(call, &cut))))
    }

    fn is_end_stream(&self) -> bool {
        self.call.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

/// A request body whose messages are not larger than the limit.
#[derive(Debug)]
pub(crate) struct Limited<B> {
    inner: B,
    limit: MessageLimit,
}

impl<B> Limited<B> {
    pub(crate) fn new(inner: B, message_bytes: usize) -> Self {
        Self { inner, limit: MessageLimit::new(message_bytes) }
    }
}

impl<B> http_body::Body for Limited<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(waker)) else { return Poll::Ready(None) };
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        if let Some(data) = frame.data_ref() {
            self.limit.pass(data)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
