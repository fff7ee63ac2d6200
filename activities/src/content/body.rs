//! The two parts of a mail from what the author wrote once: HTML from plain text, plain text from
//! HTML, and under both the sender's postal address and the way out.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use html2text::render::TextDecorator;

use super::template::escape;

/// The width at which plain text made from HTML is wrapped, in columns.
const WIDTH: usize = 72;
/// The width html2text is given: so large that it wraps nothing, for it would break addresses.
const UNWRAPPED: usize = 10_000;

/// What stands under every mail of a campaign.
#[derive(Debug, Clone, Copy)]
pub struct Footer<'a> {
    /// The sender's postal address; its lines are kept. Nothing is printed if it is empty.
    pub address: &'a str,
    /// Where this recipient can end the mails.
    pub unsubscribe_url: &'a str,
    /// What the link says, in the language of the mail.
    pub unsubscribe_text: &'a str,
}

/// One line end, no trailing blanks, at most one empty line in a row: conditions that were false
/// leave empty lines behind.
pub(super) fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut blank = 0;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() {
            blank += 1;
            continue;
        }
        if !tidied.is_empty() {
            tidied.push_str(if blank > 0 { "\n\n" } else { "\n" });
        }
        blank = 0;
        tidied.push_str(line);
    }
    tidied
}

/// Turns tidy plain text into HTML paragraphs, with links made clickable.
pub(super) fn paragraphs(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 4);
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        html.push_str("<p>");
        for (number, line) in paragraph.lines().enumerate() {
            if number > 0 {
                html.push_str("<br>\n");
            }
            link(&mut html, line);
        }
        html.push_str("</p>\n");
    }
    html
}

/// Writes one line of text as HTML, each `http://` and `https://` address as a link.
fn link(html: &mut String, line: &str) {
    let mut rest = line;
    while let Some(start) = next_url(rest) {
        let (before, from_url) = rest.split_at(start);
        let (url, after) = from_url.split_at(url_length(from_url));
        html.push_str(&escape(before));
        let url = escape(url);
        write!(html, "<a href=\"{url}\">{url}</a>").expect("writing to a String cannot fail");
        rest = after;
    }
    html.push_str(&escape(rest));
}

fn next_url(text: &str) -> Option<usize> {
    ["https://", "http://"]
        .iter()
        .flat_map(|scheme| {
            text.match_indices(scheme)
                .find(|(at, _)| url_length(&text[*at..]) > scheme.len())
                .map(|(at, _)| at)
        })
        .min()
}

/// The bytes of `text` that belong to the address it starts with: not the full stop after it, nor
/// the bracket around it.
fn url_length(text: &str) -> usize {
    let end = text
        .find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"'))
        .unwrap_or(text.len());
    let mut url = &text[..end];
    while let Some(last) = url.chars().next_back() {
        let closes = match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' => true,
            ')' => url.matches(')').count() > url.matches('(').count(),
            ']' => url.matches(']').count() > url.matches('[').count(),
            _ => false,
        };
        if !closes {
            break;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
    url.len()
}

/// Turns HTML into plain text wrapped at 72 columns, with the address after each link.
pub(super) fn plain_text(html: &str) -> Option<String> {
    let links = Links::default();
    let html: String = html.chars().filter(|c| !matches!(*c, MARK | MARK_END)).collect();
    let text = html2text::config::with_decorator(Plain { links: links.clone(), open: Vec::new() })
        .allow_width_overflow()
        .no_table_borders()
        .string_from_read(html.as_bytes(), UNWRAPPED)
        .ok()?;
    let text = with_addresses(&text, &links.borrow());
    let mut wrapped = String::with_capacity(text.len());
    for line in text.lines() {
        wrap(&mut wrapped, line);
        wrapped.push('\n');
    }
    Some(tidy(&wrapped))
}

/// Breaks one line between words, never inside one. Quotes stay quotes, and what belongs to a list
/// item stands under its text.
fn wrap(out: &mut String, line: &str) {
    // A horizontal rule is drawn as wide as the page.
    if !line.is_empty() && line.chars().all(|c| c == '─') {
        out.extend(line.chars().take(WIDTH));
        return;
    }
    let words_at = line.find(|c: char| !c.is_whitespace() && c != '>').unwrap_or(line.len());
    let (quote, text) = line.split_at(words_at);
    let marker = match text.split_once(' ') {
        Some(("-", _)) => 2,
        Some((number, _))
            if number.len() < 5
                && number.strip_suffix('.').is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
                }) =>
        {
            number.len() + 1
        }
        Some(_) | None => 0,
    };
    out.push_str(quote);
    let mut column = quote.chars().count();
    for (number, word) in text.split_whitespace().enumerate() {
        let width = word.chars().count();
        if number > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            out.push_str(quote);
            out.extend(std::iter::repeat_n(' ', marker));
            column = quote.chars().count() + marker;
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
}

/// Stands for an address until the text is known that it follows: an address is not repeated after
/// itself. Both are of Unicode's private use area.
const MARK: char = '\u{e000}';
const MARK_END: char = '\u{e001}';

type Links = Rc<RefCell<Vec<String>>>;

fn with_addresses(text: &str, links: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from_mark)) = rest.split_once(MARK) {
        out.push_str(before);
        let (number, after) = from_mark.split_once(MARK_END).unwrap_or(("", from_mark));
        let url = number.trim().parse().ok().and_then(|number: usize| links.get(number));
        if let Some(url) = url.filter(|url| !out.ends_with(url.as_str())) {
            write!(out, " ({url})").expect("writing to a String cannot fail");
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// How html2text marks up plain text: links by their address, emphasis not at all.
#[derive(Debug, Clone)]
struct Plain {
    links: Links,
    /// The links that are open, by number; None where the address is not worth showing.
    open: Vec<Option<usize>>,
}

impl TextDecorator for Plain {
    type Annotation = ();

    fn decorate_link_start(&mut self, url: &str) -> (String, ()) {
        let shown = url.strip_prefix("mailto:").or(url.strip_prefix("tel:")).unwrap_or(url).trim();
        let number = (!shown.is_empty() && !shown.starts_with('#')).then(|| {
            let mut links = self.links.borrow_mut();
            links.push(shown.to_owned());
            links.len() - 1
        });
        self.open.push(number);
        (String::new(), ())
    }

    fn decorate_link_end(&mut self) -> String {
        match self.open.pop().flatten() {
            Some(number) => format!("{MARK}{number}{MARK_END}"),
            None => String::new(),
        }
    }

    fn decorate_em_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_em_end(&self) -> String {
        String::new()
    }

    fn decorate_strong_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_strong_end(&self) -> String {
        String::new()
    }

    fn decorate_strikeout_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_strikeout_end(&self) -> String {
        String::new()
    }

    fn decorate_code_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_code_end(&self) -> String {
        String::new()
    }

    fn decorate_preformat_first(&self) {}

    fn decorate_preformat_cont(&self) {}

    fn decorate_image(&mut self, _src: &str, title: &str) -> (String, ()) {
        (title.to_owned(), ())
    }

    fn header_prefix(&self, _level: usize) -> String {
        String::new()
    }

    fn quote_prefix(&self) -> String {
        "> ".to_owned()
    }

    fn unordered_item_prefix(&self) -> String {
        "- ".to_owned()
    }

    fn ordered_item_prefix(&self, number: i64) -> String {
        format!("{number}. ")
    }

    fn make_subblock_decorator(&self) -> Self {
        Self { links: self.links.clone(), open: Vec::new() }
    }
}

/// The plain part: the text, and the footer as its last paragraph.
pub(super) fn text_part(text: &str, footer: Option<&Footer<'_>>) -> String {
    let mut part = text.to_owned();
    if let Some(footer) = footer {
        let address = tidy(footer.address);
        let mut lines = Vec::new();
        if !address.is_empty() && !text.contains(&address) {
            lines.push(address);
        }
        // An author who placed the link in the text does not want it twice.
        if !text.contains(footer.unsubscribe_url) {
            lines.push(format!("{}: {}", footer.unsubscribe_text, footer.unsubscribe_url));
        }
        if !lines.is_empty() {
            part.push_str("\n\n");
            part.push_str(&lines.join("\n"));
        }
    }
    part.push('\n');
    part
}

/// The HTML part: a whole document, with the footer at the end of its body.
pub(super) fn html_part(html: &str, footer: Option<&Footer<'_>>) -> String {
    let footer = footer.map(|footer| html_footer(html, footer)).unwrap_or_default();
    // Lower-casing ASCII keeps every byte in its place.
    let lower = html.to_ascii_lowercase();
    if let Some(end) = lower.rfind("</body") {
        return format!("{}{footer}{}", &html[..end], &html[end..]);
    }
    if lower.contains("<html") || lower.contains("<body") {
        return format!("{html}{footer}");
    }
    format!(
        "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"></head>\n<body>\n{}\n{footer}</body>\n</html>\n",
        html.trim_end()
    )
}

fn html_footer(html: &str, footer: &Footer<'_>) -> String {
    let mut lines = Vec::new();
    let address: Vec<_> = footer
        .address
        .lines()
        .map(|line| escape(line.trim()))
        .filter(|line| !line.is_empty())
        .collect();
    if !address.is_empty() {
        lines.push(address.join("<br>\n"));
    }
    let url = escape(footer.unsubscribe_url);
    if !html.contains(&*url) {
        lines.push(format!("<a href=\"{url}\">{}</a>", escape(footer.unsubscribe_text)));
    }
    if lines.is_empty() {
        return String::new();
    }
    format!("<p style=\"color:#666666;font-size:12px\">{}</p>\n", lines.join("<br>\n"))
}
