//! Accept loops: HTTPS for partners, whose connections a fault can drop in place of a reply, and plain HTTP for the
//! control port.

use crate::snap::LostReply;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Connections that a port holds at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1_024;
/// The most that a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most that the head of a request may take, also on an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after a failed accept, which is usually a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener`, over TLS if there is an acceptor, until the task is aborted; then all its
/// connections end.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (tls, router) = (tls.clone(), router.clone());
        connections.spawn(async move {
            let _place = place;
            handle(stream, tls, router).await;
        });
    }
}

async fn handle(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    // Small replies must not wait for one another; without this option they are only slower.
    let _ = stream.set_nodelay(true);
    match tls {
        None => connection(stream, router).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                connection(stream, router).await;
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send, router: Router) {
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            // hyper closes a connection whose service fails without writing a byte.
            if response.extensions().get::<LostReply>().is_some() { Err(Lost) } else { Ok(response) }
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    // A connection's end, orderly or not, concerns nobody but its client.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// The fault "lost reply" as hyper needs it.
#[derive(Debug, thiserror::Error)]
#[error("the reply is lost on purpose")]
struct Lost;
