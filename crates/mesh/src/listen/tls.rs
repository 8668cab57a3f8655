//! TLS of a listener: handshakes within their limits, and a count of every peer that is refused, in the handshake or
//! after it, when a record was altered on the way.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use sekat_identity::Rejection;
use sekat_identity::tls::{PeerIdentity, peer_identity};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES};
use crate::telemetry::Telemetry;

/// The TLS of one listener.
pub(crate) struct Tls {
    listener: &'static str,
    config: Arc<ServerConfig>,
    turns: Semaphore,
    telemetry: Arc<Telemetry>,
}

impl Tls {
    pub(crate) fn new(listener: &'static str, config: Arc<ServerConfig>, telemetry: &Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self { listener, config, turns: Semaphore::new(HANDSHAKES), telemetry: Arc::clone(telemetry) })
    }

    pub(super) fn listener(&self) -> &'static str {
        self.listener
    }

    /// A handshake within its limits; `None` after a refusal.
    pub(super) async fn accept(self: &Arc<Self>, stream: TcpStream) -> Option<Encrypted> {
        let shaken = async {
            let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
            TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await
        };
        let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaken).await.unwrap_or_else(|late| Err(late.into()));
        match shaken {
            Ok(stream) => Some(Encrypted { stream, tls: Arc::clone(self), is_refused: false }),
            Err(error) => {
                self.refuse(&Rejection::of_handshake(&error), &error);
                None
            }
        }
    }

    fn refuse(&self, rejection: &Rejection, error: &(dyn Error + 'static)) {
        let (listener, reason) = (self.listener, rejection.name());
        self.telemetry.counters.refused(listener, reason);
        let claimed = rejection.claimed().map(tracing::field::display);
        tracing::warn!(listener, reason, claimed, error, "a peer is refused");
    }
}

/// A connection after its handshake.
pub(super) struct Encrypted {
    stream: TlsStream<TcpStream>,
    tls: Arc<Tls>,
    is_refused: bool,
}

impl Encrypted {
    /// The workload at the other end; `None` after a refusal.
    pub(super) fn workload(&self) -> Option<PeerIdentity> {
        peer_identity(self.stream.get_ref().1).inspect_err(|rejection| self.tls.refuse(rejection, rejection)).ok()
    }
}

impl AsyncRead for Encrypted {
    /// HTTP forgets what exactly a connection broke of, so that it is seen here: what TLS rejects, and only that.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &read
            && !self.is_refused
            && let Some(rejection) = Rejection::find(error)
        {
            self.is_refused = true;
            self.tls.refuse(&rejection, error);
        }
        read
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
