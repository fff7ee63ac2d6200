//! What pages have in common that are reached from a mail: one card, no script, nothing loaded.

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

/// Lays a page out.
pub(crate) fn page(title: &str, content: &Markup) -> Markup {
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
