//! Connections: how many there may be, and how long one may take to say what it wants. Who opens
//! thousands, or sends a header a byte a minute, keeps nobody else out for long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

/// What a connection may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many connections there are at once; more wait to be accepted.
    pub connections: usize,
    /// How long the header of a request may take to arrive, also the next one's of a connection that
    /// stays open: longer than usual proxies keep theirs, or they would find them closed.
    pub header_time: Duration,
    /// How long a client may take nothing of its answer.
    pub unread_time: Duration,
    /// The longest header of a request, in bytes; also what is kept of its body at a time.
    pub header_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            header_time: Duration::from_secs(75),
            unread_time: Duration::from_secs(30),
            header_bytes: 64 * 1024,
        }
    }
}

/// How long to wait when the operating system has no connection to give, such as for want of files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers until it is told to stop; then accepts nobody any more, and returns when the answers under
/// way are given.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes);
    let free = Arc::new(Semaphore::new(limits.connections));
    let open = GracefulShutdown::new();
    while let Some((stream, peer, permit)) = accept(&listener, &free, &stop).await {
        if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.unread_time)) {
            tracing::warn!(%error, "a connection has no limit for answers that are not read");
        }
        let service = Extension(ConnectInfo(peer)).layer(router.clone());
        let service = TowerToHyperService::new(service);
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that goes away, or is cut off for being slow, is no trouble of ours.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// Waits for room, then for somebody; `None`: it is time to stop.
async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let next = async {
        let permit = Arc::clone(free).acquire_owned().await.expect("it is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    stop.run_until_cancelled(next).await
}
