//! A copy of everything that a process receives over gRPC, decrypted and decoded: the proof that something is not in it
//! needs all of it. For meshes on a desk and under test; off unless `SEKAT_RECEIVED_FILE` names a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// The most that is kept of one process. What exceeds it is not written, and then the last line of the file says so.
const LIMIT: usize = 256 << 20;
/// The last line of a file that is not complete.
const INCOMPLETE: &[u8] = b"\nsekat: this copy is not complete\n";

/// The file, and what may still be written into it; none once it is full or failed.
#[derive(Debug)]
pub(crate) struct Received(Mutex<Option<(File, usize)>>);

impl Received {
    /// Opens the file, after what an earlier process received.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn open(path: &Path) -> io::Result<Arc<Self>> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Arc::new(Self(Mutex::new(Some((file, LIMIT))))))
    }

    /// Copies headers or trailers, of a request after its `path`.
    pub(crate) fn headers(&self, path: &str, headers: &HeaderMap) {
        let mut text = path.as_bytes().to_vec();
        text.push(b'\n');
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
                text.extend_from_slice(part);
            }
        }
        self.write(&text);
    }

    fn frame(&self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.write(data);
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.headers("", trailers);
        }
    }

    fn write(&self, bytes: &[u8]) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((file, left)) = open.as_mut() else { return };
        let written = match left.checked_sub(bytes.len()) {
            Some(rest) => {
                *left = rest;
                file.write_all(bytes)
            }
            None => Err(io::ErrorKind::FileTooLarge.into()),
        };
        if let Err(error) = written {
            tracing::warn!(error = &error as &dyn std::error::Error, "what is received is no longer copied");
            // A disk that is full has no room for this either; the warning is in the log all the same.
            let _ = file.write_all(INCOMPLETE);
            *open = None;
        }
    }
}

/// A body whose frames are copied as they arrive.
#[derive(Debug)]
pub(crate) struct Copied<B> {
    inner: B,
    copy: Option<Arc<Received>>,
}

impl<B> Copied<B> {
    pub(crate) const fn new(inner: B, copy: Option<Arc<Received>>) -> Self {
        Self { inner, copy }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Copied<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, waker: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(waker));
        if let (Some(copy), Some(Ok(frame))) = (&self.copy, &frame) {
            copy.frame(frame);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
