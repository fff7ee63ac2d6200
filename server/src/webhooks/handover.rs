//! `/h/{token}`: an agent takes a lead that was offered by mail. The page shows what it is about; the
//! button posts. The link works once, for the agent whose mail it came in, and only while that offer
//! stands; afterwards the page says what became of it.

use activities::error::chain;
use activities::handover_links::{self, Offer, Standing};
use activities::mailroom::Mailroom;
use activities::token::TokenKind;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::letter::page;

/// `GET /h/{token}`: a page with a button while the offer stands; nothing is stored.
pub(super) async fn ask(State(room): State<Mailroom>, Path(token): Path<String>) -> Response {
    let Some(claim) = room.tokens.verify(TokenKind::AcceptHandover, &token) else {
        return unknown();
    };
    answer(handover_links::look(&room, claim).await)
}

/// `POST /h/{token}`: takes the lead. The body is not looked at.
pub(super) async fn accept(State(room): State<Mailroom>, Path(token): Path<String>) -> Response {
    let Some(claim) = room.tokens.verify(TokenKind::AcceptHandover, &token) else {
        return unknown();
    };
    answer(handover_links::accept(&room, claim).await)
}

fn answer(offer: activities::error::Result<Option<Offer>>) -> Response {
    match offer {
        Ok(Some(offer)) => page(StatusCode::OK, shown(&offer)),
        Ok(None) => unknown(),
        Err(error) => {
            tracing::error!(error = chain(&error), "an offer could not be read or taken");
            page(StatusCode::SERVICE_UNAVAILABLE, ui::handover::unavailable().into_string())
        }
    }
}

fn unknown() -> Response {
    page(StatusCode::NOT_FOUND, ui::handover::unknown().into_string())
}

fn shown(offer: &Offer) -> String {
    let answer_by = offer
        .answer_by
        .map(|at| at.with_timezone(&offer.zone).format("%a %-d %b %Y %H:%M %Z").to_string());
    let standing = match offer.standing {
        Standing::Open => ui::handover::Standing::Open,
        Standing::Taken => ui::handover::Standing::Taken,
        Standing::Answered => ui::handover::Standing::Answered,
        Standing::MovedOn => ui::handover::Standing::MovedOn,
        Standing::Closed => ui::handover::Standing::Closed,
        Standing::GivenBack => ui::handover::Standing::GivenBack,
    };
    let offer = ui::handover::Offer {
        subject: offer.subject.as_deref(),
        campaign: &offer.campaign,
        head: offer.head.as_deref(),
        answer_by: answer_by.as_deref(),
        standing,
    };
    ui::handover::show(&offer).into_string()
}
