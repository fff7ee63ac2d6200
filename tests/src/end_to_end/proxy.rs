//! A way to the database that loses answers: now and then a COMMIT goes through and the connection is
//! cut before anybody hears that it did.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// How a client asks to commit: a simple query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// A proxy; it ends with the test's runtime.
pub struct Proxy {
    url: String,
    cuts: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    share: f64,
    random: Mutex<StdRng>,
    is_cutting: AtomicBool,
}

impl Proxy {
    /// Starts a proxy before the database at `url` that cuts this share of the commits.
    pub async fn start(url: &str, share: f64, seed: u64) -> Self {
        let mut url: Url = url.parse().expect("our own URL");
        let host =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or_default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        url.set_port(Some(port)).expect("a Postgres URL has a port");
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        let is_cutting = AtomicBool::new(true);
        let shared = Arc::new(Shared { host, share, random, is_cutting });
        let cuts = Arc::new(AtomicUsize::new(0));
        let proxy = Self { url: url.to_string(), cuts, shared };
        let (cuts, shared) = (Arc::clone(&proxy.cuts), Arc::clone(&proxy.shared));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, Arc::clone(&shared), Arc::clone(&cuts)));
            }
        });
        proxy
    }

    /// Returns the database behind it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns how many answers it has lost.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Loses no more answers.
    pub fn heal(&self) {
        self.shared.is_cutting.store(false, Ordering::Relaxed);
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>, cuts: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(&shared.host).await else { return };
    let is_doomed = AtomicBool::new(false);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever ends takes the other along, and both connections with it.
    tokio::select! {
        () = ask(from_client, to_server, &shared, &is_doomed) => {}
        () = answer(from_server, to_client, &is_doomed) => {}
    }
    if is_doomed.load(Ordering::Relaxed) {
        cuts.fetch_add(1, Ordering::Relaxed);
    }
}

async fn ask(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    shared: &Shared,
    is_doomed: &AtomicBool,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = client.read(&mut bytes).await else { return };
        let said = &bytes[..length];
        let commits = said.windows(COMMIT.len()).any(|part| part == COMMIT);
        if commits && shared.is_cutting.load(Ordering::Relaxed) {
            let is_lost = {
                let mut random = shared.random.lock().expect("no holder panics");
                random.random_bool(shared.share)
            };
            is_doomed.fetch_or(is_lost, Ordering::Relaxed);
        }
        if server.write_all(said).await.is_err() {
            return;
        }
    }
}

async fn answer(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, is_doomed: &AtomicBool) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = server.read(&mut bytes).await else { return };
        // The server has committed: this is its answer.
        if is_doomed.load(Ordering::Relaxed) || client.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
