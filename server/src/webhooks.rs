//! What others call without an account: providers that bring events, mails and texts, the readers of our
//! mails who want no more, and agents who take a lead. Handlers prove who calls, store the event through ingest and answer; what
//! it means for a lead they do not know.

mod form;
mod handover;
mod letter;
mod mailgun;
mod opt_out;
mod twilio;

use std::time::Duration;

use activities::mailroom::Mailroom;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::timeout::TimeoutLayer;

use crate::serve::guesses::{self, Guesses};

/// How long a caller may take to send its request, and we to answer it. What was begun is stored all
/// the same.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The routes `/webhooks/…`, `/u/{token}` and `/h/{token}`.
pub fn router(room: Mailroom, guesses: Guesses) -> Router {
    Router::new()
        .route("/webhooks/mailgun/{endpoint_key}", post(mailgun::receive))
        .layer(DefaultBodyLimit::max(mailgun::MAIL_MAX))
        .merge(texts())
        .route("/u/{token}", get(opt_out::ask).post(opt_out::opt_out))
        .route("/h/{token}", get(handover::ask).post(handover::accept))
        .layer(from_fn_with_state(guesses, guesses::limit))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT))
        .with_state(room)
}

/// What Twilio posts is short.
fn texts() -> Router<Mailroom> {
    Router::new()
        .route("/webhooks/twilio/{endpoint_key}", post(twilio::receive))
        .route("/webhooks/twilio/status/{token}", post(twilio::receive_status))
        .layer(DefaultBodyLimit::max(twilio::POST_MAX))
}
