//! What a parser says of a value, in the words of whoever wrote it: what was given, and what may be
//! written instead.

/// Characters of a value that are told; one that is longer was no slip.
const GIVEN_MAX: usize = 40;

/// What serde says of a word that is none of an enum's, before the word and behind it.
const UNKNOWN: (&str, &str) = ("unknown variant `", "`, expected ");

/// Says what is wrong with `given`. What no parser of ours says stays as it is.
pub(super) fn of_value(given: &str, said: &str) -> String {
    let words = said.strip_prefix(UNKNOWN.0).and_then(|rest| rest.rsplit_once(UNKNOWN.1));
    let wanted = match (words, said) {
        (Some((_, words)), _) => format!("use {words}"),
        (None, "invalid digit found in string" | "cannot parse integer from empty string") => {
            "write a whole number".to_owned()
        }
        (None, "number too large to fit in target type") => "the number is too large".to_owned(),
        (None, "invalid float literal" | "cannot parse float from empty string") => {
            "write a number, as in 7.5".to_owned()
        }
        (None, "provided string was not `true` or `false`") => "use `true` or `false`".to_owned(),
        (None, said) if is_of_time(said) => {
            "write a time with its zone, as in 2027-03-01T09:00:00Z".to_owned()
        }
        (None, said) if said.starts_with("UUID parsing failed") => {
            "use an id that a list tells".to_owned()
        }
        (None, said) => return said.to_owned(),
    };
    let mut told: String = given.chars().take(GIVEN_MAX).collect();
    if told.len() < given.len() {
        told.push('…');
    }
    // In a query a plus is a space, and the zone is behind it.
    let plus = if is_of_time(said) && given.contains(' ') { "; a `+` is written %2B" } else { "" };
    format!("`{told}` cannot be read: {wanted}{plus}")
}

/// Whether chrono said it.
fn is_of_time(said: &str) -> bool {
    matches!(
        said,
        "input contains invalid characters"
            | "premature end of input"
            | "trailing input"
            | "input is out of range"
            | "input is not enough for unique date and time"
            | "no possible date and time matching input"
    )
}

#[cfg(test)]
mod tests {
    use super::of_value;

    #[test]
    fn a_value_is_told_with_what_may_be_written() {
        for (given, said, told) in [
            (
                "asleep",
                "unknown variant `asleep`, expected one of `queued`, `waiting`",
                "`asleep` cannot be read: use one of `queued`, `waiting`",
            ),
            (
                "x",
                "unknown variant `x`, expected `in` or `out`",
                "`x` cannot be read: use `in` or `out`",
            ),
            ("ten", "invalid digit found in string", "`ten` cannot be read: write a whole number"),
            (
                "2027-03-01T09:00:00 01:00",
                "input contains invalid characters",
                "`2027-03-01T09:00:00 01:00` cannot be read: write a time with its zone, as in \
                 2027-03-01T09:00:00Z; a `+` is written %2B",
            ),
            ("x", "use at most 3 letters", "use at most 3 letters"),
        ] {
            assert_eq!(of_value(given, said), told);
        }
        let long = of_value(&"é".repeat(500), "invalid float literal");
        assert!(long.chars().count() < 100, "{long}");
    }
}
