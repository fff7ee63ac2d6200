//! Words that answers are searched for, grouped under keys: what a lead said is known to the machine by
//! the keys alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::key::KeywordKey;

/// Words and phrases, by the key they stand for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keywords(BTreeMap<KeywordKey, Vec<String>>);

impl Keywords {
    /// Takes words and phrases as an author wrote them.
    pub fn new(words: &BTreeMap<KeywordKey, Vec<String>>) -> Self {
        let plain = |words: &Vec<String>| words.iter().map(|words| plain(words)).collect();
        Self(words.iter().map(|(key, words)| (key.clone(), plain(words))).collect())
    }

    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the keys of which a word stands in `text`: whole, in any case of letters.
    pub fn said_in(&self, text: &str) -> BTreeSet<KeywordKey> {
        if self.is_empty() {
            return BTreeSet::new();
        }
        let text = plain(text);
        let is_said = |words: &Vec<String>| words.iter().any(|words| stands_in(words, &text));
        self.0.iter().filter(|(_, words)| is_said(words)).map(|(key, _)| key.clone()).collect()
    }
}

fn stands_in(words: &str, text: &str) -> bool {
    text.match_indices(words).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        [before, after].into_iter().flatten().all(|letter| !letter.is_alphanumeric())
    })
}

/// One line of small letters.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whole_and_in_any_case() {
        let words =
            [("price", vec!["price", "how  much"]), ("offer", vec!["Send an offer", "größe"])];
        let words = words.into_iter().map(|(key, words)| {
            (key.parse().unwrap(), words.into_iter().map(str::to_owned).collect())
        });
        let keywords = Keywords::new(&words.collect());
        for (text, said) in [
            ("What is the PRICE?", vec!["price"]),
            ("HOW\nMUCH is it? Please send\r\nan  Offer.", vec!["offer", "price"]),
            ("priceless, overprice", vec![]),
            ("Größe!", vec!["offer"]),
            ("", vec![]),
        ] {
            let found = keywords.said_in(text);
            let found: Vec<&str> = found.iter().map(KeywordKey::as_str).collect();
            assert_eq!(found, said, "{text}");
        }
    }
}
