//! The pages behind the link in every mail by which its reader stops it. They need no script, show
//! nothing about anybody and change nothing before the button is pressed: mail scanners follow every
//! link.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The style of the pages, as it stands between the tags: a content security policy names its hash.
pub const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0;min-height:100vh;display:grid;place-items:center;\
font:1rem/1.5 system-ui,sans-serif;background:light-dark(#f8f9fb,#101319);\
color:light-dark(#1b2130,#eef0f4)}\
main{max-width:26rem;margin:1rem;padding:2rem;border-radius:12px;\
background:light-dark(#fff,#191d25);border:1px solid light-dark(#e0e3ea,#2c323d)}\
h1{margin:0 0 .5rem;font-size:1.25rem;line-height:1.25}\
p{margin:0 0 1.25rem}p:last-child{margin:0}\
button{min-height:2.75rem;padding:0 1.25rem;border:0;border-radius:8px;font:inherit;\
font-weight:600;cursor:pointer;background:light-dark(#3f4bc4,#a3aefc);\
color:light-dark(#fff,#10131c)}\
button:focus-visible{outline:3px solid light-dark(#5b68e8,#c0c8ff);outline-offset:2px}";

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

fn page(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { h1 { (title) } (content) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{STYLE, ask, done, unavailable, unknown};

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
