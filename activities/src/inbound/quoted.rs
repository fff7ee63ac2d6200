//! What a person wrote, apart from what their mail program added: quoted mail, signatures, the note
//! of a telephone. A guess, and a cautious one: the whole text is always kept beside it.

use mail_parser::decoders::html::html_to_text as plain;

use super::words;

/// Openings of the line with which mail programs introduce a quote, and what such a line holds.
const INTRODUCTIONS: &[(&str, &str)] = &[
    ("on ", " wrote:"),
    ("am ", " schrieb"),
    ("le ", " a ecrit"),
    ("el ", " escribio"),
    ("em ", " escreveu"),
    ("a ", " escreveu"),
    ("il ", " ha scritto"),
    ("op ", " schreef"),
];

/// Lines that separate the text from a quoted or forwarded mail.
const SEPARATORS: &[&str] = &[
    "original message",
    "forwarded message",
    "ursprungliche nachricht",
    "message d'origine",
    "message original",
    "mensaje original",
    "mensagem original",
    "messaggio originale",
    "oorspronkelijk bericht",
];

/// The first and the second line of a quoted mail's header, as Outlook writes it.
const QUOTED_FROM: &[&str] = &["from:", "von:", "de:", "da:", "van:", "fra:"];
const QUOTED_SENT: &[&str] = &[
    "sent:",
    "date:",
    "gesendet:",
    "datum:",
    "envoye:",
    "envoye le:",
    "enviado:",
    "enviado el:",
    "enviada:",
    "enviada em:",
    "fecha:",
    "inviato:",
    "verzonden:",
];

/// Notes that telephones put under a mail.
const DEVICE_NOTES: &[&str] = &[
    "sent from my ",
    "sent from outlook for",
    "get outlook for",
    "von meinem iphone gesendet",
    "gesendet von ",
    "envoye de mon",
    "enviado desde mi",
    "enviado do meu",
    "inviato da ",
];

/// Where mail programs start the quote of a mail in HTML.
const QUOTED_HTML: &[&str] = &[
    "class=\"gmail_quote",
    "id=\"divrplyfwdmsg",
    "id=\"appendonsend",
    "class=\"moz-cite-prefix",
    "class=\"yahoo_quoted",
    "<blockquote",
];

/// The tags of blocks that the text of a mail would run together without.
const BLOCKS: &[&str] = &["<div", "<blockquote", "<hr", "<tr", "<li"];

/// Longer bodies are not examined beyond this; nobody types that much.
const LINES_MAX: usize = 5_000;

/// Whether what stands before a block has ended its line itself; `before` is in lower case.
fn ends_a_line(before: &str) -> bool {
    let mut before = before.trim_end();
    while let Some(inner) = before.strip_suffix("</div>") {
        before = inner.trim_end();
    }
    before.is_empty() || ["<br>", "<br/>", "<br />", "</p>"].iter().any(|it| before.ends_with(it))
}

/// Returns the text above the first quote or signature, without quoted lines.
pub(super) fn strip(text: &str) -> String {
    let lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    let folded: Vec<String> = lines.iter().map(|line| words::fold(line.trim())).collect();
    let mut kept: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if ends_the_text(line, &folded[at..]) {
            break;
        }
        if !folded[at].starts_with('>') {
            kept.push(line);
        }
    }
    kept.join("\n").trim().to_owned()
}

/// Returns the HTML above the first quoted mail.
pub(super) fn without_quoted_html(html: &str) -> &str {
    let lower = html.to_ascii_lowercase();
    let Some(quote) = QUOTED_HTML.iter().filter_map(|mark| lower.find(mark)).min() else {
        return html;
    };
    // Back to the start of the tag that carries the mark.
    let tag = lower[..quote].rfind('<').filter(|_| !lower[quote..].starts_with('<'));
    &html[..tag.unwrap_or(quote)]
}

/// Writes HTML as text; what a mail program shows as a block begins a line.
pub(super) fn html_to_text(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let mut broken = String::with_capacity(html.len());
    let mut done = 0;
    for (at, _) in lower.match_indices('<') {
        let begins = BLOCKS.iter().any(|tag| lower[at..].starts_with(tag));
        if begins && !ends_a_line(&lower[..at]) {
            broken.push_str(&html[done..at]);
            broken.push_str("<br>");
            done = at;
        }
    }
    broken.push_str(&html[done..]);
    plain(&broken)
}

fn ends_the_text(line: &str, folded: &[String]) -> bool {
    let here = folded[0].as_str();
    line.trim_end() == "--"
        || line == "-- "
        || is_separator(here)
        || DEVICE_NOTES.iter().any(|note| here.starts_with(note))
        || introduces_a_quote(folded)
        || opens_a_quoted_header(folded)
}

fn is_separator(line: &str) -> bool {
    let name = line.trim_matches(|sign: char| sign == '-' || sign == '_' || sign.is_whitespace());
    if line.starts_with("--") && SEPARATORS.contains(&name) {
        return true;
    }
    line.len() >= 10 && line.bytes().all(|sign| sign == b'_')
}

/// `On Monday … wrote:`, which mail programs break over two or three lines.
fn introduces_a_quote(folded: &[String]) -> bool {
    let here = folded[0].as_str();
    // An empty line stands before an introduction, and none in it.
    let lines = folded.iter().take(3).take_while(|line| !line.is_empty()).count();
    INTRODUCTIONS.iter().any(|(opening, verb)| {
        here.starts_with(opening)
            && (1..=lines).any(|count| {
                let line = folded[..count].join(" ");
                // Short, ends like an introduction, and tells a time or an address.
                line.len() < 300
                    && line.trim_end().ends_with(':')
                    && line.contains(verb)
                    && line.contains(|sign: char| sign.is_ascii_digit() || sign == '@')
            })
    })
}

fn opens_a_quoted_header(folded: &[String]) -> bool {
    let starts = |line: &String, marks: &[&str]| {
        // Some programs set the names in bold, which their text shows as asterisks.
        let line = line.replace('*', "");
        marks.iter().any(|mark| line.trim_start().starts_with(mark))
    };
    starts(&folded[0], QUOTED_FROM)
        && folded.iter().skip(1).take(3).any(|line| starts(line, QUOTED_SENT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{html_to_text, strip, without_quoted_html};

    #[test]
    fn only_what_the_person_wrote_remains() {
        for (text, own) in [
            ("Yes.\n\nOn 2 Nov 2026, at 10:00, Bob\n<bob@example.org> wrote:\n> Hi", "Yes."),
            ("Ja, gern.\n\nAm 02.11.2026 um 10:00 schrieb Bob:\n> Hallo", "Ja, gern."),
            ("Oui\n\nLe lun. 2 nov. 2026 à 10:00, Bob <b@x.fr> a écrit :\n> Salut", "Oui"),
            ("Sí\n\nEl lun, 2 nov 2026 a las 10:00, Bob escribió:\n> Hola", "Sí"),
            ("Ok\n\n-----Original Message-----\nFrom: Bob\nunsubscribe", "Ok"),
            ("Ok\n________________________________\nVon: Bob\nGesendet: heute", "Ok"),
            ("Ok\nVon: Bob\nGesendet: Montag\nAn: Ada\nBetreff: Hallo", "Ok"),
            ("Ok\n*From:* Bob\n*Sent:* Monday", "Ok"),
            ("Bye\n-- \nAda Example\nCEO", "Bye"),
            ("Sure\n\nSent from my iPhone", "Sure"),
            ("On Friday, then.\n\nOn Monday bob@example.org wrote:\n> Hi", "On Friday, then."),
            ("> quoted\nmine\n> quoted again\nmine too", "mine\nmine too"),
        ] {
            assert_eq!(strip(text), own);
        }
    }

    #[test]
    fn sentences_that_only_look_like_introductions_stay() {
        for text in [
            "On Monday I wrote: call me.",
            "Am Montag bin ich wieder da.",
            "From: now on, call me.\nThanks",
            "On 24 November I am back.",
        ] {
            assert_eq!(strip(text), text);
        }
    }

    #[test]
    fn quoted_html_is_cut_at_its_tag() {
        let html = "<p>Yes</p><DIV CLASS=\"gmail_quote\">no</DIV>";
        assert_eq!(without_quoted_html(html), "<p>Yes</p>");
        assert_eq!(without_quoted_html("a<blockquote>b"), "a");
        assert_eq!(without_quoted_html("<p>all</p>"), "<p>all</p>");
        let two = html_to_text("<DIV>one</DIV><div>two</div>");
        assert_eq!(two.trim(), "one\ntwo");
        let apple = html_to_text("<div>one<br></div><div><br></div><div>two</div>");
        assert_eq!(apple.trim(), "one\n\ntwo");
    }

    proptest! {
        #[test]
        fn stripping_is_total_and_adds_nothing(text in "(?s).{0,300}") {
            prop_assert!(strip(&text).len() <= text.len());
            without_quoted_html(&text);
        }
    }
}
