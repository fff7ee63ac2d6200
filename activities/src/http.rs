//! The one HTTP client by which providers are asked: no redirects, no repeats, a limit on time and on
//! the length of an answer. It knows where providers may be and what a request came to, and none of
//! them by name.

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{self, Poll};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use http_body::{Frame, SizeHint};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Body, Client, RequestBuilder, Response};
use url::{Host, Url};

use crate::lease::{Ended, Lease};
use crate::outcome::{Detail, Outcome};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a call may take in all.
pub const CALL: Duration = Duration::from_secs(30);

/// The longest answer that is read; what matters stands at its beginning.
const BODY_MAX: usize = 1024 * 1024;

/// What a request came to.
#[derive(Debug)]
pub enum Exchange {
    /// The provider answered.
    Answered(Answer),
    /// It was never asked: there was no connection.
    NotSent(Detail),
    /// It may have been asked, and the answer is missing or cannot be read.
    Lost(Detail),
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the provider wants us to wait, where it says so.
    pub retry_after: Option<TimeDelta>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text, for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The outcome of a request of which the answer tells nothing.
    pub fn unclear(&self) -> Outcome {
        let text: String = self.text().chars().take(100).collect();
        Outcome::Unknown { detail: Detail::new(format!("HTTP {}: {text}", self.status)) }
    }
}

/// Why an account at a provider cannot be used, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFault {
    /// What was seen.
    pub detail: Detail,
    /// What to do.
    pub fix: &'static str,
}

/// Returns `scheme://host:port/` of an address line; `None` without a host.
///
/// What stands in front of `://` decides how the rest is read, so it is read once more.
pub fn base(url: &Url, scheme: &str) -> Option<Url> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let base = match url.port() {
        Some(0) => return None,
        Some(port) => format!("{scheme}://{host}:{port}/"),
        None => format!("{scheme}://{host}/"),
    };
    Url::parse(&base).ok()
}

/// Whether nothing of what is sent there leaves this machine.
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether it is a server of the provider with this domain, on the port of HTTPS. Whoever may set a
/// sender up could otherwise have this machine ask any other.
pub fn is_server_of(url: &Url, domain: &str) -> bool {
    let host = url.host_str().and_then(|host| host.strip_suffix(domain));
    url.port().is_none() && host.is_some_and(|host| host.ends_with('.'))
}

/// Returns the shared client.
pub fn client() -> Client {
    static CLIENT: LazyLock<Client> = LazyLock::new(|| {
        // An error only means that somebody installed one before.
        drop(rustls::crypto::ring::default_provider().install_default());
        Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .timeout(CALL)
            .user_agent(concat!("meridian/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("a client without files of its own can be built")
    });
    CLIENT.clone()
}

/// Makes one request that hands something over, once, within `lease`: it is asked again when there is a
/// connection and the body is to be written. A request without its body is none.
///
/// # Errors
///
/// [`Ended`]: the body has not left.
pub async fn hand_over(request: RequestBuilder, lease: &Lease) -> Result<Exchange, Ended> {
    let kept_back = Arc::new(AtomicBool::new(false));
    let (client, request) = request.timeout(lease.budget().min(CALL)).build_split();
    let request = request.map(|mut request| {
        if let Some(body) = request.body_mut().take() {
            let (lease, kept_back) = (lease.clone(), Arc::clone(&kept_back));
            *request.body_mut() = Some(Body::wrap(Leased { body, lease: Some(lease), kept_back }));
        }
        request
    });
    let exchange = match request {
        Ok(request) => exchanged(client.execute(request).await).await,
        Err(error) => exchanged(Err(error)).await,
    };
    if kept_back.load(Ordering::Relaxed) { Err(Ended) } else { Ok(exchange) }
}

/// A body that leaves only while its lease holds.
struct Leased {
    body: Body,
    /// Until it was asked.
    lease: Option<Lease>,
    kept_back: Arc<AtomicBool>,
}

impl http_body::Body for Leased {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(lease) = self.lease.take()
            && let Err(ended) = lease.check()
        {
            self.kept_back.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(ended.into())));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(Into::into)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Makes one request, once.
pub async fn exchange(request: RequestBuilder) -> Exchange {
    exchanged(request.send().await).await
}

async fn exchanged(answered: reqwest::Result<Response>) -> Exchange {
    let mut response = match answered {
        Ok(response) => response,
        // No name, no connection, no handshake: not a byte of the request has left.
        Err(error) if error.is_connect() || error.is_builder() => {
            return Exchange::NotSent(seen(&error));
        }
        Err(error) => return Exchange::Lost(seen(&error)),
    };
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_MAX => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Exchange::Lost(Detail::new("the answer is too long")),
            Ok(None) => return Exchange::Answered(Answer { status, retry_after, body }),
            // A refusal is one however much of its explanation came.
            Err(_) if (400..500).contains(&status) => {
                return Exchange::Answered(Answer { status, retry_after, body });
            }
            Err(error) => return Exchange::Lost(seen(&error)),
        }
    }
}

/// What was seen, without the address, which may carry names.
fn seen(error: &reqwest::Error) -> Detail {
    let what = if error.is_timeout() { "no answer in time" } else { "no answer" };
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if std::ptr::addr_eq(innermost, error) || error.is_timeout() && !error.is_connect() {
        return Detail::new(what);
    }
    Detail::new(format!("{what}: {innermost}"))
}

/// How long to wait, from `Retry-After` in seconds or `X-RateLimit-Reset` in seconds since 1970, which
/// is read by the provider's own clock.
fn retry_after(headers: &HeaderMap) -> Option<TimeDelta> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let seconds = number(RETRY_AFTER.as_str()).or_else(|| {
        let reset = number("x-ratelimit-reset")?;
        let date = DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok()?;
        Some(reset - date.timestamp())
    })?;
    // Nobody is believed who wants a week.
    (0..=86_400).contains(&seconds).then(|| TimeDelta::seconds(seconds))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_servers_of_a_provider_are_its_servers() {
        for (url, is_one) in [
            ("https://api.example.net/", true),
            ("https://api.eu.example.net/", true),
            ("https://example.net/", false),
            ("https://badexample.net/", false),
            ("https://api.example.net.evil.org/", false),
            ("https://api.example.net:8443/", false),
            ("https://10.0.0.1/", false),
        ] {
            assert_eq!(is_server_of(&Url::parse(url).unwrap(), "example.net"), is_one, "{url}");
        }
    }

    /// Returns what a server that answers 200 was given, and what the client made of it.
    async fn handed_over(lease: Lease) -> (String, Result<Exchange, Ended>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"the message") && socket.read_buf(&mut seen).await.unwrap() > 0 {
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            drop(socket.write_all(answer).await);
            String::from_utf8(seen).unwrap().to_ascii_lowercase()
        });
        let exchange = hand_over(client().post(url).body("the message"), &lease).await;
        (server.await.unwrap(), exchange)
    }

    #[tokio::test]
    async fn a_body_leaves_only_while_its_lease_holds() {
        let lease = Lease::new(CALL);
        let (seen, exchange) = handed_over(lease.clone()).await;
        assert!(matches!(exchange, Ok(Exchange::Answered(Answer { status: 200, .. }))));
        assert!(seen.ends_with("the message") && seen.contains("content-length: 11"), "{seen}");
        let (seen, exchange) = handed_over(lease.as_long_as(|| false)).await;
        assert!(matches!(exchange, Err(Ended)), "{exchange:?}");
        assert!(!seen.contains("the message"), "{seen}");
    }

    #[test]
    fn a_wait_is_read_from_either_header() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (name.parse().unwrap(), reqwest::header::HeaderValue::from_str(value).unwrap())
            });
            pairs.collect::<HeaderMap>()
        };
        let wait = |pairs: &[(&'static str, &str)]| {
            retry_after(&headers(pairs)).map(|it| it.num_seconds())
        };
        assert_eq!(wait(&[("retry-after", "7")]), Some(7));
        let date = ("date", "Tue, 01 Jan 2030 00:00:00 GMT");
        assert_eq!(wait(&[date, ("x-ratelimit-reset", "1893456030")]), Some(30));
        assert_eq!(wait(&[("x-ratelimit-reset", "1893456030")]), None);
        for odd in ["-1", "soon", "999999999", ""] {
            assert_eq!(wait(&[("retry-after", odd)]), None, "{odd}");
        }
    }
}
