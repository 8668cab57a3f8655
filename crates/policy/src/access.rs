//! The record of one access to classified data, and the log that makes it durable.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ClassSet;

/// Who touched classified data, by which method, in which trace. Made by the authorization layer for each
/// admitted call and for nothing else; a store writes it in the transaction of the call's effect.
#[derive(Debug)]
pub struct Access {
    /// The caller's SPIFFE ID, from its certificate.
    pub caller: String,
    /// The end user on whose behalf the call runs, a resource name; empty if there is none.
    pub end_user: String,
    /// The gRPC path.
    pub method: &'static str,
    /// The classes that the method's messages can hold.
    pub classes: ClassSet,
    /// The trace of the call, all zero if it has none.
    pub trace_id: [u8; 16],
    /// The server's span of the call.
    pub span_id: [u8; 8],
    recorded: AtomicBool,
}

impl Access {
    /// An access that is not yet recorded.
    #[must_use]
    pub const fn new(
        caller: String,
        end_user: String,
        method: &'static str,
        classes: ClassSet,
        trace_id: [u8; 16],
        span_id: [u8; 8],
    ) -> Self {
        Self { caller, end_user, method, classes, trace_id, span_id, recorded: AtomicBool::new(false) }
    }

    /// Whether a durable record exists.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded.load(Ordering::Acquire)
    }

    /// Says that a durable record exists. A log calls this after COMMIT and never before.
    pub fn mark_recorded(&self) {
        self.recorded.store(true, Ordering::Release);
    }
}

/// What [`AccessLog::record`] returns: ready when the record is durable.
pub type Recording<'a> = Pin<Box<dyn Future<Output = Result<(), AccessLogError>> + Send + 'a>>;

/// An append-only log of accesses. A response with recorded classes leaves only after its record is durable.
pub trait AccessLog: Send + Sync {
    /// Makes `access` durable; a no-op if it already is.
    ///
    /// # Errors
    /// If the record cannot be made durable; the response must then not leave.
    fn record<'a>(&'a self, access: &'a std::sync::Arc<Access>) -> Recording<'a>;
}

/// The log cannot be written.
#[derive(Debug)]
pub struct AccessLogError(pub Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for AccessLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the access record could not be made durable")
    }
}

impl std::error::Error for AccessLogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}
