//! The pages behind the link in every mail by which its reader stops it. They need no script, show
//! nothing about anybody and change nothing before the button is pressed: mail scanners follow every
//! link.

use maud::{Markup, html};

use crate::letter::page;

/// Asks whether to stop. The button posts to the page's own address.
pub fn ask() -> Markup {
    page(
        "Stop these messages?",
        &html! {
            p { "One press, and we will not write to you again." }
            form method="post" { button type="submit" { "Stop all messages" } }
        },
    )
}

/// Says that it is done; every time.
pub fn done() -> Markup {
    page(
        "You will not hear from us again",
        &html! {
            p {
                "Your address is on our list of people we never write to. A message that was already \
                 on its way may still arrive."
            }
        },
    )
}

/// Says that the link is none of ours.
pub fn unknown() -> Markup {
    page(
        "This link is not complete",
        &html! {
            p {
                "Some mail programs break long links. Open it from the message again, or answer the \
                 message with the word \u{201c}unsubscribe\u{201d}."
            }
        },
    )
}

/// Says that it could not be stored.
pub fn unavailable() -> Markup {
    page(
        "That did not work",
        &html! {
            p { "We could not store your wish just now. Please press the button again in a minute." }
            form method="post" { button type="submit" { "Stop all messages" } }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{ask, done, unavailable, unknown};
    use crate::letter::STYLE;

    #[test]
    fn pages_stand_alone_and_only_a_press_posts() {
        for (page, has_button) in
            [(ask(), true), (done(), false), (unknown(), false), (unavailable(), true)]
        {
            let page = page.into_string();
            assert!(page.contains(&format!("<style>{STYLE}</style>")));
            assert!(!page.contains("script") && !page.contains("http") && !page.contains("src="));
            assert_eq!(page.contains("<form method=\"post\"><button"), has_button);
        }
    }
}
