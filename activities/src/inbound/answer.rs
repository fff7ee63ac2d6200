//! What a person of ours wrote in answer to a mail about a lead, apart from everything that was quoted
//! with it: the one part of such an answer that may go to the lead. What is quoted tells of the lead and
//! of us, so that in doubt less is taken: what is lost is missed by its author, what leaks is lost for
//! good.

use super::{InboundMail, quoted};
use crate::token;

/// The line above which an answer is taken. It stands first in every mail about a lead that may be
/// answered; mail programs quote it with the rest.
pub const LINE: &str = "=== Write above this line: nothing below it is passed on ===";

/// How much of a mail is looked at, in bytes. Nobody types that much above a quote.
const LOOKED_AT: usize = 256 * 1024;

/// Signs that make a line of the quoted mail known again, where the line to write above is missing.
const KNOWN_AGAIN: usize = 8;

/// Signs of a quoted line that make it known again inside of a longer one.
const KNOWN_INSIDE: usize = 12;

/// How many lines an introduction of a quote may have above the one that is known as such.
const INTRODUCTION_LINES: usize = 2;

/// The mail that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// From whom it came.
    pub from: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// Its plain part.
    pub text: String,
}

/// Returns what its author wrote; empty where nothing can be told from what was quoted.
pub fn own_text(mail: &InboundMail, answered: Option<&Answered>) -> String {
    // Where there is HTML alone it marks the quote, which may begin above the line.
    let html = mail.html.as_deref().filter(|html| quoted::html_to_text(html) == mail.text);
    let text = html.map(|html| quoted::html_to_text(quoted::without_quoted_html(html)));
    let text = text.as_deref().unwrap_or(&mail.text);
    let text = &text[..text.floor_char_boundary(LOOKED_AT)];
    let (above, cut) = match above_the_line(text) {
        Some(above) => (quoted::strip(above), Cut::AtTheLine),
        None => (mail.stripped_text.clone(), Cut::Guessed),
    };
    let mut lines: Vec<&str> = above.lines().collect();
    let marks = Marks::of(mail, answered);
    if let Some(at) = lines.iter().position(|line| marks.introduces(line)) {
        lines.truncate(beginning(&lines, at));
    }
    match (cut, answered) {
        (Cut::AtTheLine, _) => {
            // `2026-11-02 10:00 Sales:`, in whatever language.
            let introduces = |line: &&str| {
                line.trim_end().ends_with(':') && line.contains(|sign: char| sign.is_ascii_digit())
            };
            let last = lines.iter().rposition(|line| !line.trim().is_empty());
            if let Some(last) = last.filter(|last| introduces(&lines[*last])) {
                lines.truncate(last);
            }
        }
        (Cut::Guessed, Some(answered)) => {
            let known = Known::of(answered);
            if let Some(at) = lines.iter().position(|line| known.has(line)) {
                lines.truncate(at);
            }
        }
        (Cut::Guessed, None) => {}
    }
    lines.join("\n").trim().to_owned()
}

/// How the answer was told from what is quoted.
enum Cut {
    /// The line to write above was there.
    AtTheLine,
    /// It was not.
    Guessed,
}

/// Returns what stands above [`LINE`], however that is quoted or broken.
fn above_the_line(text: &str) -> Option<&str> {
    let mut flat = String::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len());
    for (place, sign) in text.char_indices().filter(|(_, sign)| sign.is_alphanumeric()) {
        for small in sign.to_lowercase() {
            flat.push(small);
            places.resize(flat.len(), place);
        }
    }
    let found = places[flat.find(&flattened(LINE))?];
    let line = text[..found].rfind('\n').map_or(0, |end| end + 1);
    let before = &text[line..found];
    // What is no more than a mark of the quote goes with it.
    let end = if flattened(before).is_empty() { line } else { found };
    Some(text[..end].trim_end_matches(|sign: char| sign == '=' || sign.is_whitespace()))
}

/// The letters and digits of a text, in lower case: what no mail program changes when it quotes.
fn flattened(text: &str) -> String {
    text.chars().filter(|sign| sign.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What the introduction of a quote names of the mail that was answered.
struct Marks {
    /// Stand in no sentence of a person.
    certain: Vec<String>,
    /// May stand in one, too.
    likely: Vec<String>,
}

impl Marks {
    fn of(mail: &InboundMail, answered: Option<&Answered>) -> Self {
        let ours = mail.recipients.iter();
        let ours = ours.filter(|address| token::in_reply_address(address).is_some());
        let likely = answered.into_iter().flat_map(|it| [it.from.as_ref(), it.subject.as_ref()]);
        let flat = |text: &String| Some(flattened(text)).filter(|it| it.len() >= KNOWN_AGAIN);
        Self {
            certain: ours.filter_map(flat).collect(),
            likely: likely.flatten().filter_map(flat).collect(),
        }
    }

    fn introduces(&self, line: &str) -> bool {
        let flat = flattened(line);
        let names = |marks: &[String]| marks.iter().any(|mark| flat.contains(mark));
        let trimmed = line.trim_end();
        names(&self.certain)
            || names(&self.likely)
                && (trimmed.ends_with(':') || trimmed.contains('<') || is_header(trimmed))
    }
}

/// Whether a line looks like one of a mail's header: `Subject: …`, in whatever language.
fn is_header(line: &str) -> bool {
    let line = line.trim_start_matches(['*', ' ']);
    line.split_once(':').is_some_and(|(name, _)| {
        (1..=20).contains(&name.chars().count()) && name.split_whitespace().count() <= 2
    })
}

/// Returns where the introduction begins that has the line `at`.
fn beginning(lines: &[&str], at: usize) -> usize {
    let mut begins = at;
    let mut plain = 0;
    while begins > 0 {
        let before = lines[begins - 1];
        if before.trim().is_empty() {
            break;
        }
        if !is_header(before) {
            plain += 1;
            if plain > INTRODUCTION_LINES {
                break;
            }
        }
        begins -= 1;
    }
    begins
}

/// The lines of the mail that was answered.
struct Known {
    whole: String,
    lines: Vec<String>,
}

impl Known {
    fn of(answered: &Answered) -> Self {
        let lines = answered.text.lines().chain(answered.subject.as_deref()).map(flattened);
        Self {
            whole: flattened(&answered.text),
            lines: lines.filter(|line| line.len() >= KNOWN_INSIDE).collect(),
        }
    }

    /// Whether a line is of that mail, whole or broken, or holds one of it.
    fn has(&self, line: &str) -> bool {
        let flat = flattened(line);
        flat.len() >= KNOWN_AGAIN && self.whole.contains(&flat)
            || self.lines.iter().any(|known| flat.contains(known))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Answered, KNOWN_AGAIN, LINE, flattened, own_text};
    use crate::inbound::{Envelope, InboundMail};

    const TOKEN: &str = "reply-abc@in.meridian.example";

    fn dossier() -> Answered {
        Answered {
            from: Some("sales@meridian.example".to_owned()),
            subject: Some("Ada Lovelace, Novak & Sons answered (spring)".to_owned()),
            text: format!(
                "{LINE}\nAnswer this mail to write to Ada Lovelace, Novak & Sons.\n\n\
                 Ada Lovelace, Novak & Sons answered and waits for a person.\n\
                 Please answer by Mon 2 Mar 2026 14:00 WET.\n\n\
                 Take it here, without a login; the link works once, and for you alone:\n\
                 http://127.0.0.1:8080/h/c2VjcmV0\n\n\
                 What they said on Mon 2 Mar 2026 10:00 WET\nfrom ada@example.com: Re: Hello\n\
                 > Call me on Thursday after eleven.\n> We have a budget of ten thousand.\n\n\
                 Tell the others\nyou take it: meridian handover accept 01a1fe44\n\n\
                 Who it is\nemail: ada@example.com\ncompany: Novak & Sons\nnote: never pays in time\n"
            ),
        }
    }

    fn mail(head: &str, body: &str) -> InboundMail {
        let raw = format!("From: ann@agents.example\r\n{head}\r\n\r\n{body}");
        let envelope = Envelope { sender: None, recipients: vec![TOKEN.to_owned()] };
        InboundMail::from_raw(raw.as_bytes(), &envelope).expect("a mail")
    }

    fn text(body: &str) -> String {
        let mail = mail("Content-Type: text/plain; charset=utf-8", body);
        own_text(&mail, Some(&dossier()))
    }

    fn quoted(prefix: &str) -> String {
        dossier().text.lines().map(|line| format!("{prefix}{line}\n")).collect()
    }

    #[test]
    fn only_what_stands_above_the_line_is_taken() {
        for introduction in [
            // Gmail, Apple Mail, Thunderbird.
            "On Mon, 2 Mar 2026 at 10:01, Sales <sales@meridian.example> wrote:",
            "On 2 Mar 2026, at 10:01, Sales <sales@meridian.example> wrote:\n",
            "Am 02.03.26 um 10:01 schrieb Sales:",
            // Of a language that nobody here knows.
            "W dniu pon., 2 mar 2026 o 10:01 Sales\n<sales@meridian.example> napisał(a):",
            "2026-03-02 10:01 GMT, Sales:",
            // Outlook.
            "________________________________\nFrom: Sales <sales@meridian.example>\n\
             Sent: Monday, 2 March 2026 10:01\nTo: Ann\nSubject: Ada Lovelace, Novak & Sons answered (spring)\n",
            "Od: Sales <reply-abc@in.meridian.example>\nWysłano: poniedziałek, 2 marca 2026 10:01\n\
             Do: Ann\nTemat: Ada Lovelace, Novak & Sons answered (spring)\n",
            "",
        ] {
            for prefix in ["> ", "", "| ", "    "] {
                let body = format!("Thursday it is.\n\nAnn\n\n{introduction}\n{}", quoted(prefix));
                assert_eq!(text(&body), "Thursday it is.\n\nAnn", "{introduction:?} {prefix:?}");
            }
        }
    }

    #[test]
    fn what_is_written_below_the_line_goes_nowhere() {
        let bottom =
            format!("On 2 Mar 2026, at 10:01, Sales wrote:\n{}\nThursday it is.", quoted("> "));
        assert_eq!(text(&bottom), "");
        let between = quoted("> ").replace("> > We have", "A lot!\n> > We have");
        assert_eq!(text(&between), "");
        assert_eq!(text(&quoted("")), "");
    }

    #[test]
    fn a_line_that_was_broken_or_set_bold_is_found() {
        for line in [
            "> === Write above this line:\n> nothing below it is passed on ===",
            "**=== Write above this line: nothing below it is passed on ===**",
            "=== WRITE ABOVE THIS LINE: NOTHING\u{a0}BELOW IT IS PASSED ON ===",
        ] {
            assert_eq!(text(&format!("Yes.\n{line}\n> never pays in time")), "Yes.", "{line}");
        }
        assert_eq!(text(&format!("Yes. {LINE} never pays in time")), "Yes.");
    }

    #[test]
    fn without_the_line_nothing_that_is_known_again_is_taken() {
        let without = quoted("").replace(LINE, "");
        assert_eq!(text(&format!("Thursday it is.\n\n{without}")), "Thursday it is.");
        assert_eq!(text("Thursday it is.\n\nnote: never pays in time"), "Thursday it is.");
        assert_eq!(text("I agree, note: never pays in time, you say."), "");
        assert_eq!(text("Thursday it is.\n-- \nAnn"), "Thursday it is.");
    }

    #[test]
    fn a_sentence_that_names_us_stays() {
        let body = format!("You reach us at sales@meridian.example too.\nAnn\n\n{}", quoted("> "));
        assert_eq!(text(&body), "You reach us at sales@meridian.example too.\nAnn");
    }

    #[test]
    fn a_mail_in_html_alone_is_cut_at_the_line() {
        let lines: String = dossier().text.lines().map(|line| format!("{line}<br>")).collect();
        for html in [
            format!(
                "<div>Thursday it is.</div><div class=\"gmail_quote\">On Monday wrote:<blockquote>{lines}</blockquote></div>"
            ),
            format!(
                "<p>Thursday it is.</p><hr><div id=\"divRplyFwdMsg\"><b>Od:</b> Sales &lt;sales@meridian.example&gt;</div><div>{lines}</div>"
            ),
            format!(
                "<html><body>Thursday it is.<div><br><blockquote type=\"cite\">{lines}</blockquote></div></body></html>"
            ),
        ] {
            let mail = mail("Content-Type: text/html; charset=utf-8", &html);
            assert_eq!(own_text(&mail, Some(&dossier())), "Thursday it is.", "{html}");
        }
    }

    /// The lines of the mail that must not leave: those that can be told from anybody's words.
    fn leaked(own: &str) -> Option<String> {
        let own: Vec<String> = own.lines().map(flattened).collect();
        let mut known = dossier().text.lines().map(flattened).collect::<Vec<_>>();
        known.retain(|line| line.len() >= KNOWN_AGAIN);
        known.into_iter().find(|line| own.iter().any(|own| own.contains(line.as_str())))
    }

    proptest! {
        /// However the mail is quoted, with whatever before each line, broken anywhere, whole or
        /// without the line, above or below the answer: none of its lines leaves.
        #[test]
        fn nothing_of_the_mail_that_is_answered_leaves(
            answer in "([A-Z][a-z]{1,9}( [a-z]{1,9}){0,6}[.!?]\n?){0,4}",
            prefix in prop_oneof![Just("> "), Just(">> "), Just("| "), Just(""), Just("\t"), Just("  * ")],
            introduction in "(\n|[A-Z][a-z]{2,8} [0-9]{1,2}, [A-Za-z <>@.]{0,40}:\n){0,2}",
            wraps_at in prop_oneof![Just(usize::MAX), 20..90_usize],
            has_line in any::<bool>(),
            is_below in any::<bool>(),
            skipped in 0..6_usize,
        ) {
            let mut body = String::new();
            let dossier = dossier().text;
            let lines = dossier.lines().skip(if has_line { 0 } else { 1 + skipped });
            for line in lines {
                let signs: Vec<char> = line.chars().collect();
                for piece in signs.chunks(wraps_at.min(1_000)) {
                    body.push_str(prefix);
                    body.extend(piece);
                    body.push('\n');
                }
            }
            let body = if is_below {
                format!("{introduction}{body}\n{answer}")
            } else {
                format!("{answer}\n\n{introduction}{body}")
            };
            let own = text(&body);
            prop_assert_eq!(leaked(&own), None, "{}\n---\n{}", own, body);
            if has_line && !is_below && introduction.trim().is_empty() {
                prop_assert_eq!(own, answer.trim());
            }
        }

        #[test]
        fn reading_is_total_and_adds_nothing(body in "(?s).{0,400}") {
            prop_assert!(text(&body).len() <= body.len());
        }
    }
}
