//! Text made comparable: lower case, without accents, one kind of quote and dash, so that one list of
//! phrases serves every keyboard. It knows letters, not their meaning.

/// Longer texts are read up to here; no notice and no request is longer.
const CHARS_MAX: usize = 20_000;

/// Returns the text in lower case, without accents, full-width letters, typographic quotes, invisible
/// signs and other spaces than the plain one. Line breaks stay.
pub(super) fn fold(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    text.chars().for_each(|sign| fold_into(&mut plain, sign));
    plain
}

/// Returns the words of the text, folded, with a space before, between and after, so that a phrase is
/// found by `contains(" phrase ")`. Everything that is no letter or digit separates words.
pub(super) fn phrase_space(text: &str) -> String {
    let mut space = String::from(" ");
    for sign in text.chars().take(CHARS_MAX) {
        let before = space.len();
        fold_into(&mut space, sign);
        let is_word = space[before..].chars().all(char::is_alphanumeric);
        if !is_word {
            space.truncate(before);
            if !space.ends_with(' ') {
                space.push(' ');
            }
        }
    }
    if !space.ends_with(' ') {
        space.push(' ');
    }
    space
}

/// Whether one of the phrases stands in a text made by [`phrase_space`].
pub(super) fn contains_any(space: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| {
        space.match_indices(phrase).any(|(at, found)| {
            space[..at].ends_with(' ') && space[at + found.len()..].starts_with(' ')
        })
    })
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Letters.
    Word,
    /// Digits.
    Number,
    /// One sign that is neither.
    Sign,
    /// An empty line: a paragraph ends.
    Break,
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Folded.
    pub(super) text: String,
    /// Whether it began with a capital letter.
    pub(super) is_capital: bool,
    /// Whether nothing stood between it and the token before.
    pub(super) is_attached: bool,
}

impl Token {
    /// The number, if it is one of at most four digits.
    pub(super) fn number(&self) -> Option<u32> {
        (self.kind == TokenKind::Number && self.text.len() <= 4)
            .then(|| self.text.parse().ok())
            .flatten()
    }

    pub(super) fn is_sign(&self, sign: char) -> bool {
        self.kind == TokenKind::Sign && self.text.starts_with(sign)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text == word
    }
}

/// Cuts a text into tokens. Apostrophes, and hyphens between letters, separate words and leave no
/// trace: `l'absence` is two words and `out-of-office` three.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut is_attached = false;
    let mut breaks = 0;
    let mut folded = String::new();
    let mut signs = text.chars().take(CHARS_MAX).peekable();
    let mut before = ' ';
    while let Some(sign) = signs.next() {
        folded.clear();
        fold_into(&mut folded, sign);
        let Some(first) = folded.chars().next() else { continue };
        let hyphen = first == '-'
            && before.is_alphabetic()
            && signs.peek().is_some_and(|next| next.is_alphabetic());
        before = first;
        if first == '\n' {
            breaks += 1;
            if breaks == 2 && !found.is_empty() {
                found.push(Token {
                    kind: TokenKind::Break,
                    text: String::new(),
                    is_capital: false,
                    is_attached: false,
                });
            }
            is_attached = false;
            continue;
        }
        if first.is_whitespace() || first == '\'' || hyphen {
            is_attached = false;
            continue;
        }
        breaks = 0;
        let kind = if first.is_ascii_digit() {
            TokenKind::Number
        } else if first.is_alphabetic() {
            TokenKind::Word
        } else {
            TokenKind::Sign
        };
        match found.last_mut() {
            Some(last) if is_attached && last.kind == kind && kind != TokenKind::Sign => {
                last.text.push_str(&folded);
            }
            _ => found.push(Token {
                kind,
                text: folded.clone(),
                is_capital: sign.is_uppercase(),
                is_attached,
            }),
        }
        is_attached = true;
    }
    found
}

fn fold_into(plain: &mut String, sign: char) {
    for lower in sign.to_lowercase() {
        match lower {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ª' => plain.push('a'),
            'ç' | 'ć' | 'č' => plain.push('c'),
            'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' => plain.push('e'),
            'ì' | 'í' | 'î' | 'ï' | 'ı' => plain.push('i'),
            'ñ' | 'ń' => plain.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'º' | '°' => plain.push('o'),
            'ù' | 'ú' | 'û' | 'ü' | 'ū' => plain.push('u'),
            'ý' | 'ÿ' => plain.push('y'),
            'ß' => plain.push_str("ss"),
            'œ' => plain.push_str("oe"),
            'æ' => plain.push_str("ae"),
            '’' | '‘' | 'ʼ' | '`' | '´' | '′' => plain.push('\''),
            '“' | '”' | '„' | '«' | '»' => plain.push('"'),
            '‐' | '‑' | '‒' | '–' | '—' | '−' => plain.push('-'),
            '\n' => plain.push('\n'),
            // Combining accents, soft hyphens and signs without width.
            '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{feff}' => {}
            // Full-width forms stand in the same order as ASCII.
            '\u{ff01}'..='\u{ff5e}' => {
                let ascii = char::from_u32(u32::from(lower) - 0xfee0);
                plain.push(ascii.expect("the range maps onto ASCII"));
            }
            other if other.is_whitespace() => plain.push(' '),
            other => plain.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{TokenKind, contains_any, fold, phrase_space, tokens};

    #[test]
    fn every_keyboard_writes_the_same_word() {
        assert_eq!(fold("Désinscrire"), "desinscrire");
        assert_eq!(fold("ＳＴＯＰ"), "stop");
        assert_eq!(fold("e\u{301}té\u{a0}à"), "ete a");
        assert_eq!(fold("Straße – l’été"), "strasse - l'ete");
    }

    #[test]
    fn phrases_are_found_as_whole_words() {
        let space = phrase_space("I'm out-of-office, until\nMonday!");
        assert_eq!(space, " i m out of office until monday ");
        assert!(contains_any(&space, &["out of office"]));
        assert!(contains_any(&space, &["monday"]));
        assert!(!contains_any(&space, &["ut of office", "mon"]));
    }

    #[test]
    fn text_is_cut_into_words_numbers_and_signs() {
        let found: Vec<_> =
            tokens("L'été: 24th, out-of-office\n\n20-24").into_iter().map(|t| t.text).collect();
        assert_eq!(
            found,
            ["l", "ete", ":", "24", "th", ",", "out", "of", "office", "", "20", "-", "24"]
        );
        let attached = tokens("24.11");
        assert!(attached[1].is_attached && attached[2].is_attached);
        assert_eq!(attached[1].kind, TokenKind::Sign);
    }

    proptest! {
        #[test]
        fn cutting_is_total(text in "(?s).{0,200}") {
            fold(&text);
            prop_assert!(phrase_space(&text).ends_with(' '));
            tokens(&text);
        }
    }
}
