//! How often one client may be wrong. The secrets in our paths and our keys are too long to be guessed;
//! who tries all the same is told to go away, and whoever is right is served whatever others at the same
//! address do: a link in a mail of ours works always.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::proxies::Proxies;

/// Wrong guesses a client may make in one go.
const BURST: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

/// Wrong guesses a minute a client may make in the long run.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// The same of keys, where it is about the look-ups that they cost: programs are many behind one address.
const KEYS_BURST: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");

/// As [`PER_MINUTE`], of keys.
const KEYS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("not zero");

/// How many clients are remembered before those that rest are forgotten.
const CLIENTS_MAX: usize = 10_000;

/// The wrong guesses of all clients.
#[derive(Clone)]
pub struct Guesses {
    limiter: Arc<DefaultKeyedRateLimiter<IpAddr>>,
    proxies: Arc<Proxies>,
}

impl Guesses {
    /// Counts wrong links and webhook addresses; clients are told apart as `proxies` say.
    pub fn of_links(proxies: Proxies) -> Self {
        Self::new(proxies, Quota::per_minute(PER_MINUTE).allow_burst(BURST))
    }

    /// Counts wrong keys.
    pub fn of_keys(proxies: Proxies) -> Self {
        Self::new(proxies, Quota::per_minute(KEYS_PER_MINUTE).allow_burst(KEYS_BURST))
    }

    fn new(proxies: Proxies, quota: Quota) -> Self {
        Self { limiter: Arc::new(RateLimiter::keyed(quota)), proxies: Arc::new(proxies) }
    }

    /// Whom a wrong guess in `request` would count for.
    pub fn client(&self, request: &Request) -> IpAddr {
        one_client(self.proxies.client(request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// Counts a wrong guess. Returns the whole seconds to wait if it was one too many.
    pub fn count(&self, client: IpAddr) -> Option<u64> {
        if self.limiter.len() > CLIENTS_MAX {
            self.limiter.retain_recent();
        }
        let refused = self.limiter.check_key(&client).err()?;
        Some(refused.wait_time_from(DefaultClock::default().now()).as_secs() + 1)
    }
}

/// Answers 429 instead of a refusal to clients that were wrong too often.
pub async fn limit(State(guesses): State<Guesses>, request: Request, next: Next) -> Response {
    let client = guesses.client(&request);
    let response = next.run(request).await;
    let is_wrong = matches!(
        response.status(),
        StatusCode::NOT_FOUND | StatusCode::NOT_ACCEPTABLE | StatusCode::UNAUTHORIZED
    );
    match is_wrong.then(|| guesses.count(client)).flatten() {
        Some(seconds) => {
            let wait = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, wait, "too many wrong guesses\n").into_response()
        }
        None => response,
    }
}

/// A client of IPv6 has a whole network of addresses.
fn one_client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}
