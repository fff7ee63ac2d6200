//! What stands before a Temporal that is not on our own network, Temporal Cloud say: it takes encrypted
//! calls of who shows a certificate, and each call has to bring a key.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../activities/tests/data");

/// What gRPC answers whose key does not fit.
const UNAUTHENTICATED: &str = "16";

/// A gateway. It ends with the test.
pub struct Gateway {
    port: u16,
    serving: AbortHandle,
}

impl Gateway {
    /// Stands before the server at `temporal`, and lets calls with `key` pass.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn before(temporal: SocketAddr, key: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let wanted: Arc<str> = format!("Bearer {key}").into();
        let serving = tokio::spawn(serve(listener, temporal, wanted)).abort_handle();
        Self { port, serving }
    }

    /// Returns what a process has to be told to pass, but the key: the address as the certificate names
    /// it, whom to trust, and what to show.
    pub fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("TEMPORAL_ADDRESS", format!("localhost:{}", self.port)),
            ("TEMPORAL_TLS_SERVER_CA_CERT_PATH", format!("{DATA}/authority.pem")),
            ("TEMPORAL_TLS_CLIENT_CERT_PATH", format!("{DATA}/client.pem")),
            ("TEMPORAL_TLS_CLIENT_KEY_PATH", format!("{DATA}/client.key")),
        ]
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, temporal: SocketAddr, wanted: Arc<str>) {
    let acceptor = acceptor();
    loop {
        let (stream, _) = listener.accept().await.expect("a listener of ours");
        let (acceptor, wanted) = (acceptor.clone(), Arc::clone(&wanted));
        tokio::spawn(async move {
            // Who shows no certificate is shown the door.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let behind = TcpStream::connect(temporal).await.expect("the server takes calls");
            let shaken = handshake(TokioExecutor::new(), TokioIo::new(behind)).await;
            let (behind, connection) = shaken.expect("the server speaks HTTP/2");
            tokio::spawn(connection);
            let service =
                service_fn(move |request| pass(behind.clone(), request, Arc::clone(&wanted)));
            let connection = http2::Builder::new(TokioExecutor::new());
            // It ends when either side does.
            let _end = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn pass(
    mut behind: SendRequest<Incoming>,
    request: Request<Incoming>,
    wanted: Arc<str>,
) -> hyper::Result<Response<Body>> {
    let key = request.headers().get(AUTHORIZATION).and_then(|key| key.to_str().ok());
    if key != Some(&*wanted) {
        let refused = Response::builder()
            .header(CONTENT_TYPE, "application/grpc")
            .header("grpc-status", UNAUTHENTICATED)
            .header("grpc-message", "this key is not known")
            .body(Body::empty());
        return Ok(refused.expect("plain headers"));
    }
    Ok(behind.send_request(request).await?.map(Body::new))
}

fn acceptor() -> TlsAcceptor {
    let certificate = |name: &str| {
        CertificateDer::from_pem_file(format!("{DATA}/{name}")).expect("a certificate of ours")
    };
    let key = PrivateKeyDer::from_pem_file(format!("{DATA}/server.key")).expect("a key of ours");
    let mut clients = RootCertStore::empty();
    clients.add(certificate("client-authority.pem")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider))
            .build()
            .expect("there is an authority");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the usual versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate("server.pem")], key)
        .expect("a key that fits");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
