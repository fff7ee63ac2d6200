//! Names inside commands that people copy from a message into a shell.

use std::borrow::Cow;

/// Returns `text` as one word of a POSIX shell (Shell Command Language, 2.2): quoted where the shell
/// would otherwise read more into it than the letters.
pub fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn only_what_a_shell_would_part_or_read_is_quoted() {
        for (text, expected) in [
            ("spring", "spring"),
            ("ann@example.com", "ann@example.com"),
            ("Frühling", "Frühling"),
            ("spring 2026", "'spring 2026'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
