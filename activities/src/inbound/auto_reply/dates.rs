//! Finds the dates, weekdays and relative days that a notice mentions, in the ways seven languages
//! write them. What a date means in its sentence is not decided here.
//!
//! Numbers are read day first, month first only where nothing else is possible (`11/24/2026`). A
//! date without a year needs a dot or a slash (`24.11.`, `24/11`): `10-12` is a range of days.

use chrono::Weekday;

use super::vocabulary;
use crate::inbound::words::{Token, TokenKind};

/// A day that a text mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// A date, perhaps without a year; it need not exist.
    Day { day: u32, month: u32, year: Option<i32> },
    /// A day of the week.
    Weekday(Weekday),
    /// The day the notice was sent.
    Today,
    /// The day after.
    Tomorrow,
}

/// Where it is mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) when: When,
    /// The first token.
    pub(super) start: usize,
    /// The token after the last.
    pub(super) end: usize,
    /// Whether it is the later end of a range.
    pub(super) ends_range: bool,
}

/// Endings of ordinal numbers.
const ORDINALS: &[&str] = &["st", "nd", "rd", "th", "er", "re", "o", "eme", "e"];
/// Words between day, month and year.
const OF: &[&str] = &["of", "de", "di", "del", "do", "du", "d", "des"];
/// Words that make the number before them a time or a price.
const NO_DATE_AFTER: &[&str] = &["uhr", "h", "pm", "eur", "euro", "usd"];

/// Returns all mentions in the order of the text.
pub(super) fn find(tokens: &[Token]) -> Vec<Mention> {
    let mut found: Vec<Mention> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let hit = numeric(tokens, at)
            .or_else(|| day_month(tokens, at))
            .or_else(|| month_day(tokens, at))
            .or_else(|| named_day(tokens, at));
        let Some((when, end)) = hit else {
            at += 1;
            continue;
        };
        let ends_range = ends_range(tokens, &found, at);
        found.push(Mention { when, start: at, end, ends_range });
        if let Some((when, later_end)) = later_day_of_the_month(tokens, when, at, end) {
            found.push(Mention { when, start: later_end - 1, end: later_end, ends_range: true });
            at = later_end;
        } else {
            at = end;
        }
    }
    drop_weekdays_beside_dates(tokens, found)
}

/// `24.11.2026`, `24.11.`, `24/11/26`, `2026-11-24`, `24. 11. 2026`.
fn numeric(tokens: &[Token], at: usize) -> Option<(When, usize)> {
    let first = tokens.get(at)?;
    let separator = tokens.get(at + 1).filter(|token| token.is_attached)?;
    let sign = separator.text.chars().next().filter(|sign| matches!(sign, '.' | '/' | '-'))?;
    let second = tokens.get(at + 2)?;
    if continues_a_number(tokens, at) || separator.kind != TokenKind::Sign || digits(second) > 2 {
        return None;
    }
    let (one, two) = (first.number()?, second.number()?);
    let is_same = |token: Option<&Token>| token.is_some_and(|t| t.is_attached && t.is_sign(sign));
    let closing = is_same(tokens.get(at + 3));
    let third = tokens.get(at + 4).filter(|_| closing);
    let spaced = sign == '.' && closing;

    if digits(first) == 4 {
        let day = third.filter(|token| token.is_attached && digits(token) <= 2)?.number()?;
        return checked(tokens, day_of(day, two, Some(year(one)?))?, at + 5);
    }
    if digits(first) > 2 || !(second.is_attached || spaced) {
        return None;
    }
    let year_of = |token: &Token| match digits(token) {
        4 => year(token.number()?),
        2 if token.is_attached => year(token.number()? + 2000),
        _ => None,
    };
    let (day, month) = match (one, two) {
        (1..=31, 1..=12) => (one, two),
        (1..=12, 1..=31) if sign != '.' => (two, one),
        _ => return None,
    };
    match third.filter(|token| token.is_attached || spaced).and_then(year_of) {
        Some(year) => checked(tokens, day_of(day, month, Some(year))?, at + 5),
        // 24/7 is a promise, not the 24th of July.
        None if sign == '-' || (sign == '/' && (one, two) == (24, 7)) => None,
        None => {
            let end = if sign == '.' && closing { at + 4 } else { at + 3 };
            let follows = tokens.get(end);
            let is_time = follows.is_some_and(|token| NO_DATE_AFTER.contains(&token.text.as_str()));
            if is_time {
                return None;
            }
            checked(tokens, day_of(day, month, None)?, end)
        }
    }
}

/// `24 November 2026`, `24th of Nov.`, `24. November`, `1er décembre`, `24-Nov-2026`, `24 de mayo`.
fn day_month(tokens: &[Token], at: usize) -> Option<(When, usize)> {
    let first = tokens.get(at)?;
    let day = first.number().filter(|_| digits(first) <= 2)?;
    if continues_a_number(tokens, at) {
        return None;
    }
    let mut next = at + 1;
    let mut skip = |accepts: &dyn Fn(&Token) -> bool| {
        if tokens.get(next).is_some_and(accepts) {
            next += 1;
        }
    };
    skip(&|token| token.is_attached && ORDINALS.contains(&token.text.as_str()));
    skip(&|token| token.is_attached && (token.is_sign('.') || token.is_sign('-')));
    skip(&|token| OF.contains(&token.text.as_str()));
    let name = tokens.get(next).filter(|token| token.kind == TokenKind::Word)?;
    let month = vocabulary::month(&name.text)?;
    // "On the 24 out of office": no October.
    if name.text == "out" && tokens.get(next + 1).is_some_and(|token| token.is_word("of")) {
        return None;
    }
    let (year, end) = match year_after_a_dash(tokens, next) {
        Some(year) => (Some(year), next + 3),
        None => year_after(tokens, next + 1),
    };
    checked(tokens, day_of(day, month, year)?, end)
}

/// `November 24, 2026`, `Nov. 24th`.
fn month_day(tokens: &[Token], at: usize) -> Option<(When, usize)> {
    let name = tokens.get(at).filter(|token| token.kind == TokenKind::Word)?;
    let month = vocabulary::month(&name.text).filter(|_| vocabulary::leads_a_day(&name.text))?;
    let mut next = at + 1;
    if tokens.get(next).is_some_and(|token| token.is_attached && token.is_sign('.')) {
        next += 1;
    }
    if tokens.get(next).is_some_and(|token| token.is_word("the")) {
        next += 1;
    }
    let number = tokens.get(next).filter(|token| digits(token) <= 2)?;
    let day = number.number()?;
    next += 1;
    if tokens
        .get(next)
        .is_some_and(|token| token.is_attached && ORDINALS.contains(&token.text.as_str()))
    {
        next += 1;
    }
    let (year, end) = year_after(tokens, next);
    checked(tokens, day_of(day, month, year)?, end)
}

fn named_day(tokens: &[Token], at: usize) -> Option<(When, usize)> {
    let word = |at: usize| {
        tokens.get(at).filter(|token| token.kind == TokenKind::Word).map(|token| token.text.as_str())
    };
    let here = word(at)?;
    let before = at.checked_sub(1).and_then(word);
    let when = if vocabulary::TODAY.contains(&here) {
        When::Today
    } else if vocabulary::TOMORROW.contains(&here) {
        if matches!(before, Some("guten" | "goede" | "de")) {
            return None;
        }
        When::Tomorrow
    } else {
        When::Weekday(vocabulary::weekday(before, here, word(at + 1))?)
    };
    let end = if word(at + 1) == Some("feira") { at + 2 } else { at + 1 };
    Some((when, end))
}

/// The `24` of `November 20 - 24`, which has no month of its own.
fn later_day_of_the_month(
    tokens: &[Token],
    when: When,
    start: usize,
    end: usize,
) -> Option<(When, usize)> {
    let When::Day { day, month, year } = when else { return None };
    // Only where the month came first does a bare number after a dash mean a day.
    if tokens[start].kind != TokenKind::Word {
        return None;
    }
    let link = tokens.get(end)?;
    let is_link = link.is_sign('-') || vocabulary::RANGE_LINKS.contains(&link.text.as_str());
    let later = tokens.get(end + 1).filter(|token| is_link && digits(token) <= 2)?;
    let is_own_date = numeric(tokens, end + 1).is_some() || day_month(tokens, end + 1).is_some();
    let is_time = tokens.get(end + 2).is_some_and(|token| {
        token.is_sign(':') || NO_DATE_AFTER.contains(&token.text.as_str()) || token.is_word("am")
    });
    let later_day = later.number().filter(|later| *later > day && !is_own_date && !is_time)?;
    let (own_year, _) = year_after(tokens, end + 2);
    Some((day_of(later_day, month, own_year.or(year))?, end + 2))
}

/// A year after a month or a day, and the token after what was read.
fn year_after(tokens: &[Token], at: usize) -> (Option<i32>, usize) {
    let mut next = at;
    if tokens
        .get(next)
        .is_some_and(|token| token.is_attached && (token.is_sign('.') || token.is_sign(',')))
    {
        next += 1;
    }
    if tokens.get(next).is_some_and(|token| OF.contains(&token.text.as_str())) {
        next += 1;
    }
    let found = tokens.get(next).filter(|token| digits(token) == 4).and_then(Token::number);
    match found.and_then(year) {
        Some(found) => (Some(found), next + 1),
        None => (None, at),
    }
}

/// The year of `24-Nov-2026` or `24-Nov-26`, given the place of the month.
fn year_after_a_dash(tokens: &[Token], month: usize) -> Option<i32> {
    let is_dash = |at: usize| tokens.get(at).is_some_and(|token| token.is_attached && token.is_sign('-'));
    if !(is_dash(month - 1) && is_dash(month + 1)) {
        return None;
    }
    let token = tokens.get(month + 2).filter(|token| token.is_attached)?;
    match digits(token) {
        4 => year(token.number()?),
        2 => year(token.number()? + 2000),
        _ => None,
    }
}

/// Whether the day at `at` is linked to an earlier day or date as the end of a range.
fn ends_range(tokens: &[Token], found: &[Mention], at: usize) -> bool {
    let mut place = at;
    // The link may stand before an article, a weekday and their commas.
    for _ in 0..5 {
        let Some(before) = place.checked_sub(1) else { return false };
        place = before;
        let token = &tokens[place];
        let word = token.text.as_str();
        let by_and = vocabulary::AND.contains(&word)
            && tokens[place.saturating_sub(6)..place]
                .iter()
                .any(|token| vocabulary::BETWEEN.contains(&token.text.as_str()));
        let is_link =
            token.is_sign('-') || vocabulary::RANGE_LINKS.contains(&word) || by_and;
        if is_link && follows_a_day(tokens, found, place) {
            return true;
        }
        let is_weekday =
            found.last().is_some_and(|last| (last.start..last.end).contains(&place))
                && vocabulary::weekday(None, word, None).is_some();
        let may_stand_between = vocabulary::FILLERS.contains(&word)
            || vocabulary::RANGE_LINKS.contains(&word)
            || is_weekday
            || matches!(word, "," | "." | "(" | "/");
        if !may_stand_between {
            return false;
        }
    }
    false
}

/// Whether a date, or the bare number of a day, ends just before `place`.
fn follows_a_day(tokens: &[Token], found: &[Mention], place: usize) -> bool {
    let mut end = place;
    while let Some(before) = end.checked_sub(1) {
        if found.iter().rev().take(3).any(|mention| mention.end == end) {
            return true;
        }
        let token = &tokens[before];
        let word = token.text.as_str();
        if token.number().is_some_and(|day| (1..=31).contains(&day)) {
            // The minutes of a time are no day.
            return !before.checked_sub(1).is_some_and(|sign| tokens[sign].is_sign(':'));
        }
        let skipped = vocabulary::RANGE_LINKS.contains(&word)
            || vocabulary::AND.contains(&word)
            || ORDINALS.contains(&word)
            // The t of the Dutch t/m.
            || matches!(word, "." | "," | ")" | "/" | "-" | "t");
        if !skipped || place - before > 4 {
            return false;
        }
        end = before;
    }
    false
}

/// Whether the number at `at` goes on from a number before it, as in a telephone number or a time.
fn continues_a_number(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).filter(|_| tokens[at].is_attached) else { return false };
    matches!(tokens[before].text.as_str(), "/" | ":" | "+" | ",")
        || (tokens[before].is_sign('.')
            && before > 0
            && tokens[before].is_attached
            && tokens[before - 1].kind == TokenKind::Number)
}

/// Refuses a date that runs on into more digits.
fn checked(tokens: &[Token], when: When, end: usize) -> Option<(When, usize)> {
    let runs_on = tokens.get(end).is_some_and(|token| {
        let digit_follows = || {
            tokens
                .get(end + 1)
                .is_some_and(|next| next.is_attached && next.kind == TokenKind::Number)
        };
        token.is_attached
            && (token.kind == TokenKind::Number
                || matches!(token.text.as_str(), "%" | "€" | "$")
                || (matches!(token.text.as_str(), "." | "/" | ":") && digit_follows()))
    });
    (!runs_on).then_some((when, end))
}

fn day_of(day: u32, month: u32, year: Option<i32>) -> Option<When> {
    ((1..=31).contains(&day) && (1..=12).contains(&month)).then_some(When::Day { day, month, year })
}

fn year(number: u32) -> Option<i32> {
    i32::try_from(number).ok().filter(|year| (2000..=2100).contains(year))
}

fn digits(token: &Token) -> usize {
    // What is no number has too many digits for every question asked here.
    if token.kind == TokenKind::Number { token.text.len() } else { usize::MAX }
}

/// `Monday, 24 November` and `24.11. (Monday)` mention one day.
fn drop_weekdays_beside_dates(tokens: &[Token], mut found: Vec<Mention>) -> Vec<Mention> {
    let is_near = |from: usize, to: usize| {
        from <= to
            && to - from <= 3
            && tokens[from..to].iter().all(|token| {
                matches!(token.text.as_str(), "," | "." | "(" | ")" | ":")
                    || matches!(token.text.as_str(), "the" | "den" | "dem" | "le" | "dia" | "de")
            })
    };
    let is_date = |mention: &Mention| matches!(mention.when, When::Day { .. });
    let beside: Vec<bool> = (0..found.len())
        .map(|at| {
            let mention = &found[at];
            let next = found.get(at + 1).is_some_and(|next| {
                is_date(next) && is_near(mention.end, next.start)
            });
            let before = at.checked_sub(1).map(|before| &found[before]).is_some_and(|before| {
                is_date(before) && is_near(before.end, mention.start)
            });
            matches!(mention.when, When::Weekday(_)) && (next || before)
        })
        .collect();
    let mut keep = beside.iter().map(|beside| !beside);
    found.retain(|_| keep.next().unwrap_or(true));
    found
}

#[cfg(test)]
mod tests {
    use super::{When, find};
    use crate::inbound::words;

    fn days(text: &str) -> Vec<(u32, u32, Option<i32>)> {
        find(&words::tokens(text))
            .into_iter()
            .filter_map(|mention| match mention.when {
                When::Day { day, month, year } => Some((day, month, year)),
                When::Weekday(_) | When::Today | When::Tomorrow => None,
            })
            .collect()
    }

    #[test]
    fn every_way_to_write_a_date_is_read() {
        for text in [
            "24 November 2026", "24th of November, 2026", "November 24th, 2026", "Nov. 24, 2026",
            "24. November 2026", "24.11.2026", "24.11.26", "24. 11. 2026", "2026-11-24",
            "2026/11/24", "24/11/2026", "24/11/26", "11/24/2026", "24-11-2026", "24-Nov-2026",
            "24-Nov-26", "24 novembre 2026", "24 de noviembre de 2026", "24 de novembro de 2026",
            "24 november 2026", "le mardi 24 nov. 2026", "24º de novembro de 2026",
            "Tuesday 24 November 2026", "(24.11.2026)",
        ] {
            assert_eq!(days(text), [(24, 11, Some(2026))], "{text}");
        }
        for text in ["1er décembre", "1st December", "1.12.", "1/12", "Dec 1", "1 dic", "1º dez"] {
            assert_eq!(days(text), [(1, 12, None)], "{text}");
        }
        assert_eq!(days("3. März, 4 août, 5 mrt, 6 out, 7 set, 8 Jänner").len(), 6);
    }

    #[test]
    fn a_day_comes_first_where_both_are_possible() {
        assert_eq!(days("03/12/2026"), [(3, 12, Some(2026))]);
    }

    #[test]
    fn numbers_that_are_no_dates_are_left_alone() {
        for text in [
            "24/7", "+49 30 24.11.22.33", "call 030/12/34", "9.30 Uhr", "at 10.12 Uhr", "14:30",
            "99.99.", "1.234.567", "10-12", "version 2.11.4.7", "24.13.2026", "24 out of office",
            "192.168.1.12", "30.11.9999", "12.11€", "in November 2026", "500 mar",
        ] {
            assert_eq!(days(text), [], "{text}");
        }
    }

    #[test]
    fn the_later_end_of_a_range_is_known() {
        for text in [
            "20-24 November", "20. - 24. November", "20.11.-24.11.", "from 20 to 24 November",
            "Nov 20-24", "Nov 20 - Nov 24", "November 20 to 24", "vom 20. bis 24. November",
            "du 20 au 24 novembre", "del 20 al 24 de noviembre", "de 20 a 24 de novembro",
            "dal 20 al 24 novembre", "van 20 tot en met 24 november", "20 t/m 24 november",
            "between 20 and 24 November", "zwischen dem 20. und 24. November",
            "from Fri 20 November to Tuesday, 24 November", "20.–24.11.", "20/11 - 24/11",
        ] {
            let found = find(&words::tokens(text));
            let last = found.last().expect("a date");
            assert!(matches!(last.when, When::Day { day: 24, month: 11, .. }), "{text}");
            assert!(last.ends_range, "{text}");
            assert!(found.iter().rev().skip(1).all(|mention| !mention.ends_range), "{text}");
        }
    }

    #[test]
    fn a_weekday_beside_its_date_is_the_same_day() {
        assert_eq!(find(&words::tokens("Monday, the 23 November")).len(), 1);
        assert_eq!(find(&words::tokens("23.11.2026 (Montag)")).len(), 1);
        assert_eq!(find(&words::tokens("Monday and also 24 November")).len(), 2);
    }

    #[test]
    fn weekdays_are_known_in_seven_languages() {
        for text in [
            "Monday", "Montag", "lundi", "lunes", "segunda-feira", "na segunda", "lunedì", "maandag",
        ] {
            let found = find(&words::tokens(text));
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].when, When::Weekday(chrono::Weekday::Mon), "{text}");
        }
        assert_eq!(find(&words::tokens("a segunda vez, mon ami")), []);
    }
}
