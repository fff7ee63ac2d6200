//! Tags: short words that people put on leads to find them again.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The longest tag, in characters.
const LENGTH_MAX: usize = 60;

/// A tag: trimmed, lower-case, 1 to 60 visible characters. `VIP` and ` vip ` are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Tag(String);

/// A text that is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to {LENGTH_MAX} characters and no `;`, `,` or control character")]
pub struct InvalidTag;

impl Tag {
    /// The tag as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(raw: &str) -> Result<Self, InvalidTag> {
        let tag = raw.trim().to_lowercase();
        let fits = (1..=LENGTH_MAX).contains(&tag.chars().count());
        let plain = !tag.contains(|c: char| c.is_control() || matches!(c, ';' | ','));
        if fits && plain { Ok(Self(tag)) } else { Err(InvalidTag) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidTag, Tag};

    #[test]
    fn one_tag_has_one_spelling() {
        assert_eq!(" VIP ".parse::<Tag>().map(|tag| tag.to_string()), Ok("vip".to_owned()));
        for bad in ["", "  ", "a;b", "a,b", "a\nb", &"x".repeat(61)] {
            assert_eq!(bad.parse::<Tag>(), Err(InvalidTag), "{bad:?}");
        }
    }
}
