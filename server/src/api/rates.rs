//! How fast a key may ask, told in the headers of draft-ietf-httpapi-ratelimit-headers and, when it is
//! too fast, in `Retry-After` (RFC 9110, section 10.2.3).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use activities::api_keys::ApiKeyId;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

/// Requests a key may make in one go.
const BURST: NonZeroU32 = NonZeroU32::new(200).expect("not zero");

/// Requests a second a key may make in the long run.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// How many keys are remembered before those that rest are forgotten.
const KEYS_MAX: usize = 10_000;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

type Limiter =
    RateLimiter<Uuid, DefaultKeyedStateStore<Uuid>, DefaultClock, StateInformationMiddleware>;

/// The rates of all keys.
#[derive(Clone)]
pub(super) struct Rates {
    limiter: Arc<Limiter>,
}

/// What is left to a key.
pub(super) struct Room {
    left: u32,
    wait: Option<Duration>,
}

impl Rates {
    pub(super) fn new() -> Self {
        let quota = Quota::per_second(PER_SECOND).allow_burst(BURST);
        let limiter = RateLimiter::dashmap(quota).with_middleware();
        Self { limiter: Arc::new(limiter) }
    }

    /// Counts one request.
    pub(super) fn take(&self, key: ApiKeyId) -> Room {
        if self.limiter.len() > KEYS_MAX {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(&key.uuid()) {
            Ok(state) => Room { left: state.remaining_burst_capacity(), wait: None },
            Err(refused) => {
                let wait = refused.wait_time_from(DefaultClock::default().now());
                Room { left: 0, wait: Some(wait) }
            }
        }
    }
}

impl Room {
    /// Whole seconds to wait, if there is no room.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        self.wait.map(|wait| wait.as_secs() + 1)
    }

    /// Tells the asker what is left.
    pub(super) fn mark(&self, mut response: Response) -> Response {
        let window = BURST.get() / PER_SECOND.get();
        let policy = format!("\"key\";q={BURST};w={window}");
        let refilled_s = (BURST.get() - self.left).div_ceil(PER_SECOND.get());
        let limit = format!("\"key\";r={};t={refilled_s}", self.left);
        for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
            let value = HeaderValue::try_from(value).expect("digits and letters");
            response.headers_mut().insert(name, value);
        }
        response
    }
}
