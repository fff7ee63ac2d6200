//! How large a template may be. It is measured token by token, before a parser builds a tree of it:
//! the tree is as deep as a chain is long, and walking or dropping a deep one exhausts the stack.

use minijinja::machinery::{self, Token};
use minijinja::syntax::SyntaxConfig;

use super::Part;
use super::template::TemplateFault;

/// Longest source, in bytes.
const SOURCE_MAX: usize = 64 * 1024;
/// Most words and signs inside one `{{ }}` or `{% %}`.
const TAG_TOKENS_MAX: usize = 150;
/// Most `if` and `elif` in one part.
const TESTS_MAX: usize = 100;
/// Deepest nesting of HTML elements: making plain text of it costs the square of the depth.
const ELEMENTS_MAX: usize = 200;
/// Elements that need no closing tag, so that an open one says nothing about depth.
const SELF_CLOSING: &[&str] = &[
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta",
    "option", "p", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "wbr",
];

/// Refuses a source that would cost too much to read.
pub(super) fn check(part: Part, source: &str) -> Result<(), TemplateFault> {
    let fault = |line: u16, found: String, instead: &str| {
        let line = u32::from(line).max(1);
        Err(TemplateFault { part, line, found, instead: instead.to_owned() })
    };
    if source.len() > SOURCE_MAX {
        return fault(1, format!("the text is longer than {SOURCE_MAX} bytes"), "shorten it");
    }
    if part == Part::Html && nesting(source) > ELEMENTS_MAX {
        let found = format!("more than {ELEMENTS_MAX} elements are nested");
        return fault(1, found, "close each element, and use fewer");
    }
    let (mut in_tag, mut tests) = (0_usize, 0_usize);
    for token in machinery::tokenize(source, false, SyntaxConfig::default()) {
        // What cannot be read is the parser's to explain.
        let Ok((token, span)) = token else { break };
        match token {
            Token::VariableStart | Token::BlockStart | Token::TemplateData(_) => in_tag = 0,
            Token::Ident("if" | "elif") => {
                tests += 1;
                in_tag += 1;
            }
            _ => in_tag += 1,
        }
        if in_tag > TAG_TOKENS_MAX {
            let found = "this tag is too long".to_owned();
            return fault(span.start_line, found, "split it, or write text");
        }
        if tests > TESTS_MAX {
            let found = format!("there are more than {TESTS_MAX} conditions");
            return fault(span.start_line, found, "use branches or variants of the step");
        }
    }
    Ok(())
}

/// The depth to which HTML elements are nested, as far as can be told without parsing it.
fn nesting(html: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for tag in html.split('<').skip(1) {
        let (closes, tag) = match tag.strip_prefix('/') {
            Some(tag) => (true, tag),
            None => (false, tag),
        };
        let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let name = tag[..end].to_ascii_lowercase();
        if name.is_empty() || SELF_CLOSING.contains(&name.as_str()) {
            continue;
        }
        depth = if closes { depth.saturating_sub(1) } else { depth + 1 };
        deepest = deepest.max(depth);
    }
    deepest
}
