//! Who attacks the connection itself: too many of them, headers without end, headers that never come,
//! and requests that two servers would read differently. Plain sockets, as no client would send this.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use server::serve::connections::Limits;
use server::serve::{self, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Open {
    server: Server,
    address: SocketAddr,
}

impl Open {
    async fn with(limits: Limits) -> Self {
        let router = Router::new()
            .route("/", get(async || "here\n"))
            .route("/long", get(async || "x".repeat(1024 * 1024)))
            .route("/post", post(async |body: String| body));
        let listener = serve::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { server: Server::start(listener, router, limits), address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes; returns everything that comes back until the server closes.
    async fn says(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may be closed before all of it is written.
        let _ = stream.write_all(bytes).await;
        all_of(&mut stream).await
    }

    async fn is_served(&self) -> bool {
        let answer = self.says(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("here\n")
    }
}

async fn all_of(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = async {
        let mut piece = [0; 4096];
        // A reset is an end as well.
        while let Ok(n @ 1..) = stream.read(&mut piece).await {
            text.extend_from_slice(&piece[..n]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server closes it");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let open = Open::with(Limits::default()).await;
    let many: String = (0..1_000).map(|n| format!("x-signature-{n}: {n}\r\n")).collect();
    let long = format!("x-signature: {}\r\n", "a".repeat(1024 * 1024));
    for headers in [many, long] {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let answer = open.says(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(open.is_served().await);
    }
    open.server.stop().await;
}

#[tokio::test]
async fn who_never_says_what_it_wants_is_cut_off() {
    let limits =
        Limits { connections: 2, header_time: Duration::from_millis(500), ..Limits::default() };
    let open = Open::with(limits).await;
    let mut silent = open.connect().await;
    let mut slow = open.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    // All connections are taken: the next one waits until they are cut off, and no longer.
    assert!(open.is_served().await);
    for stream in [&mut silent, &mut slow] {
        let answer = all_of(stream).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    // One that was answered and says no more is closed as well.
    let mut idle = open.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(all_of(&mut idle).await.ends_with("here\n"));
    open.server.stop().await;
}

#[tokio::test]
async fn who_does_not_read_its_answers_is_cut_off() {
    let limits =
        Limits { connections: 1, unread_time: Duration::from_millis(500), ..Limits::default() };
    let open = Open::with(limits).await;
    let mut greedy = open.connect().await;
    // Until neither side has room for more.
    let asking =
        async { while greedy.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), asking).await;
    assert!(open.is_served().await, "its connection is free again");
    open.server.stop().await;
}

#[tokio::test]
async fn what_two_servers_would_read_differently_is_answered_once_and_closed() {
    let open = Open::with(Limits::default()).await;
    let smuggled = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let length = smuggled.len();
    let pairs = [
        format!(
            "POST /post HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\ntransfer-encoding: \
             chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!(
            "POST /post HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: {length}\r\n\r\n\
             {smuggled}"
        ),
        format!(
            "POST /post HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n\
             {smuggled}"
        ),
    ];
    for request in pairs {
        let answer = open.says(request.as_bytes()).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{request}\n{answer}");
        assert!(!answer.contains("here\n"), "{request}\n{answer}");
    }
    for method in ["TRACE", "BREW"] {
        let request = format!("{method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(open.says(request.as_bytes()).await.starts_with("HTTP/1.1 405"), "{method}");
    }
    open.server.stop().await;
}
