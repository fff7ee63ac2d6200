//! The page behind the link in an offer, by which an agent takes a lead. Nothing changes before the
//! button is pressed: mail scanners follow every link.

use maud::{Markup, html};

use crate::letter::page;

/// An offer.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Who needs a person, in one line, with the campaign; none where the person was erased.
    pub subject: Option<&'a str>,
    /// The campaign's name.
    pub campaign: &'a str,
    /// What the mail begins with.
    pub head: Option<&'a str>,
    /// Until when an answer is expected, as it is to be read.
    pub answer_by: Option<&'a str>,
    /// Where it stands.
    pub standing: Standing,
}

/// Where an offer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be taken.
    Open,
    /// The reader took it.
    Taken,
    /// The reader answered the lead.
    Answered,
    /// Somebody else is asked.
    MovedOn,
    /// It is over.
    Closed,
    /// The campaign goes on with the lead.
    GivenBack,
}

/// Shows an offer and, while it stands, the button that takes it.
pub fn show(offer: &Offer<'_>) -> Markup {
    let title = match offer.standing {
        Standing::Open => "Do you take this lead?",
        Standing::Taken => "The lead is yours",
        Standing::Answered => "The lead is yours, and was answered",
        Standing::MovedOn => "The lead is with somebody else now",
        Standing::Closed => "This is over",
        Standing::GivenBack => "The campaign goes on with this lead",
    };
    let about = html! {
        p { strong { (offer.subject.unwrap_or(offer.campaign)) } }
        @if let (Standing::Open, Some(head)) = (offer.standing, offer.head) {
            p { @for line in head.lines() { (line) " " } }
        }
    };
    let words = match offer.standing {
        Standing::Open => html! {
            p {
                "Campaign " (offer.campaign) ". Who takes the lead answers it"
                @if let Some(answer_by) = offer.answer_by { " by " (answer_by) }
                ". No mail of the campaign leaves meanwhile."
            }
            form method="post" { button type="submit" { "Take it" } }
        },
        Standing::Taken => html! {
            p {
                "You took it. Please answer the lead"
                @if let Some(answer_by) = offer.answer_by { " by " (answer_by) }
                ": everything you need is in the mail."
            }
        },
        Standing::Answered => html! { p { "There is nothing left to do on this page." } },
        Standing::MovedOn => html! {
            p { "It was not taken or answered in time, so another of your team was asked. You need do nothing." }
        },
        Standing::Closed => html! { p { "The lead was closed. You need do nothing." } },
        Standing::GivenBack => html! {
            p { "The lead was given back, and gets the mails of the campaign again. You need do nothing." }
        },
    };
    page(title, &html! { (about) (words) })
}

/// Says that the link is none of ours, or leads to nothing any more.
pub fn unknown() -> Markup {
    page(
        "This link leads nowhere",
        &html! {
            p {
                "Some mail programs break long links: open it from the message again. If it is whole, \
                 the offer is gone."
            }
        },
    )
}

/// Says that it could not be stored.
pub fn unavailable() -> Markup {
    page(
        "That did not work",
        &html! {
            p { "We could not store your answer just now. Please press the button again in a minute." }
            form method="post" { button type="submit" { "Take it" } }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_offer_that_stands_has_a_button() {
        let all = [
            (Standing::Open, true),
            (Standing::Taken, false),
            (Standing::Answered, false),
            (Standing::MovedOn, false),
            (Standing::Closed, false),
            (Standing::GivenBack, false),
        ];
        for (standing, has_button) in all {
            let offer = Offer {
                subject: Some("Ada <b> answered (spring)"),
                campaign: "spring",
                head: Some("Ada answered.\nPlease answer."),
                answer_by: Some("Monday"),
                standing,
            };
            let page = show(&offer).into_string();
            assert_eq!(page.contains("<form method=\"post\"><button"), has_button, "{page}");
            assert!(page.contains("Ada &lt;b&gt; answered") && !page.contains("script"));
        }
    }
}
