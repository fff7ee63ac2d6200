//! `/u/{token}`: the way out in every mail. A reader sees a page with a button; the button, and mail
//! programs by themselves (RFC 8058), post. It works without an account, as often as one likes, for
//! any link ever mailed, and leads nowhere else.

use activities::error::chain;
use activities::ingest;
use activities::mailroom::Mailroom;
use activities::token::TokenKind;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::letter::page;

/// `GET /u/{token}`: a page with a button; nothing is stored.
pub(super) async fn ask(State(room): State<Mailroom>, Path(token): Path<String>) -> Response {
    match room.tokens.verify(TokenKind::OptOut, &token) {
        Some(_) => page(StatusCode::OK, ui::opt_out::ask().into_string()),
        None => page(StatusCode::NOT_FOUND, ui::opt_out::unknown().into_string()),
    }
}

/// `POST /u/{token}`: opts the reader out. The body is not looked at: with or without
/// `List-Unsubscribe=One-Click` the wish is the same.
pub(super) async fn opt_out(State(room): State<Mailroom>, Path(token): Path<String>) -> Response {
    let Some(claim) = room.tokens.verify(TokenKind::OptOut, &token) else {
        return page(StatusCode::NOT_FOUND, ui::opt_out::unknown().into_string());
    };
    match ingest::opt_out(&room, claim).await {
        Ok(_) => page(StatusCode::OK, ui::opt_out::done().into_string()),
        Err(error) => {
            tracing::error!(error = chain(&error), "an opt-out could not be stored");
            page(StatusCode::SERVICE_UNAVAILABLE, ui::opt_out::unavailable().into_string())
        }
    }
}
