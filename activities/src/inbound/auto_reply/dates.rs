//! Finds the dates, weekdays and relative days that a notice mentions, in the ways seven languages
//! write them. What a date means in its sentence is not decided here.
//!
//! Numbers are read day first, month first only where nothing else is possible (`11/24/2026`) or a
//! date of the same text was written so. A date without a year needs a dot or a slash (`24.11.`,
//! `24/11`): `10-12` is a range of days.

mod written;

use chrono::Weekday;

use self::written::{ORDINALS, Order, day_of, digits};
use super::vocabulary;
use crate::inbound::words::{Token, TokenKind};

/// A day that a text mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// A date, perhaps without a year; it need not exist.
    Day { day: u32, month: u32, year: Option<i32> },
    /// A day of this month or the next: `the 30th`, `lundi 30`.
    DayOfMonth { day: u32, weekday: Option<Weekday> },
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
    /// What a date of numbers would be with day and month changed about, if that is a date too.
    pub(super) otherwise: Option<When>,
}

/// Returns all mentions in the order of the text.
pub(super) fn find(tokens: &[Token]) -> Vec<Mention> {
    let order = written::order_of(tokens);
    let mut found: Vec<Mention> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let hit = written::numeric(tokens, at, order)
            .or_else(|| written::day_month(tokens, at))
            .or_else(|| written::month_day(tokens, at))
            .or_else(|| ordinal_day(tokens, at))
            .or_else(|| named_day(tokens, at));
        let Some((when, end)) = hit else {
            at += 1;
            continue;
        };
        let ends_range = ends_range(tokens, &found, at);
        let otherwise = written::changed_about(tokens, when, at);
        found.push(Mention { when, start: at, end, ends_range, otherwise });
        if let Some((when, later_end)) = later_day_of_the_month(tokens, when, at, end) {
            found.push(Mention {
                when,
                start: later_end - 1,
                end: later_end,
                ends_range: true,
                otherwise: None,
            });
            at = later_end;
        } else {
            at = end;
        }
    }
    drop_weekdays_beside_dates(tokens, found)
}

/// `the 30th`, of a month that is not told. Only English writes an ending that is no other word.
fn ordinal_day(tokens: &[Token], at: usize) -> Option<(When, usize)> {
    let number = tokens.get(at).filter(|token| digits(token) <= 2)?;
    let day = number.number().filter(|day| (1..=31).contains(day))?;
    let ending = tokens.get(at + 1).filter(|token| token.is_attached)?;
    if written::continues_a_number(tokens, at)
        || !matches!(ending.text.as_str(), "st" | "nd" | "rd" | "th")
        || !at.checked_sub(1).is_some_and(|before| tokens[before].is_word("the"))
    {
        return None;
    }
    Some((When::DayOfMonth { day, weekday: None }, at + 2))
}

fn named_day(tokens: &[Token], at: usize) -> Option<(When, usize)> {
    let word = |at: usize| {
        tokens
            .get(at)
            .filter(|token| token.kind == TokenKind::Word)
            .map(|token| token.text.as_str())
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
    match when {
        When::Weekday(weekday) => Some(numbered(tokens, weekday, end)),
        When::Day { .. } | When::DayOfMonth { .. } | When::Today | When::Tomorrow => {
            Some((when, end))
        }
    }
}

/// `lundi 30`, `Montag, den 30.`: a weekday that the day of the month makes one date.
fn numbered(tokens: &[Token], weekday: Weekday, end: usize) -> (When, usize) {
    let mut next = end;
    while next < end + 2
        && tokens.get(next).is_some_and(|token| {
            matches!(token.text.as_str(), "," | "the" | "den" | "dem" | "dia" | "le" | "el" | "il")
        })
    {
        next += 1;
    }
    let number = tokens.get(next).filter(|token| digits(token) <= 2).and_then(Token::number);
    let is_own_date = written::numeric(tokens, next, Order::DayFirst).is_some()
        || written::day_month(tokens, next).is_some()
        || written::month_day(tokens, next).is_some();
    // A time, a price, a distance: "Monday 9 am", "lundi 14h", "Monday 10-12".
    let follows = tokens.get(next + 1);
    let is_day = follows.is_none_or(|token| {
        let ends = matches!(token.text.as_str(), "." | "," | ")" | "!" | ";");
        let links = vocabulary::RANGE_LINKS.contains(&token.text.as_str());
        ends || links || token.kind == TokenKind::Break || ORDINALS.contains(&token.text.as_str())
    });
    match number {
        Some(day) if (1..=31).contains(&day) && is_day && !is_own_date => {
            (When::DayOfMonth { day, weekday: Some(weekday) }, next + 1)
        }
        Some(_) | None => (When::Weekday(weekday), end),
    }
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
    let is_own_date = written::numeric(tokens, end + 1, Order::DayFirst).is_some()
        || written::day_month(tokens, end + 1).is_some();
    let is_time = tokens.get(end + 2).is_some_and(|token| {
        token.is_sign(':')
            || written::NO_DATE_AFTER.contains(&token.text.as_str())
            || token.is_word("am")
    });
    let later_day = later.number().filter(|later| *later > day && !is_own_date && !is_time)?;
    let (own_year, _) = written::year_after(tokens, end + 2);
    Some((day_of(later_day, month, own_year.or(year))?, end + 2))
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
        let is_link = token.is_sign('-') || vocabulary::RANGE_LINKS.contains(&word) || by_and;
        if is_link && follows_a_day(tokens, found, place) {
            return true;
        }
        let is_weekday = found.last().is_some_and(|last| (last.start..last.end).contains(&place))
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

/// `Monday, 24 November` and `24.11. (Monday)` mention one day, which the date then covers whole.
fn drop_weekdays_beside_dates(tokens: &[Token], found: Vec<Mention>) -> Vec<Mention> {
    let is_near = |from: usize, to: usize| {
        from <= to
            && to - from <= 3
            && tokens[from..to].iter().all(|token| {
                matches!(
                    token.text.as_str(),
                    "," | "." | "(" | ")" | ":" | "the" | "den" | "dem" | "le" | "dia" | "de"
                )
            })
    };
    let is_date = |mention: &Mention| matches!(mention.when, When::Day { .. });
    let is_weekday = |mention: &Mention| matches!(mention.when, When::Weekday(_));
    let mut kept: Vec<Mention> = Vec::with_capacity(found.len());
    for mut mention in found {
        match kept.last_mut() {
            Some(last)
                if is_near(last.end, mention.start) && is_date(last) && is_weekday(&mention) =>
            {
                last.end = mention.end;
            }
            Some(last)
                if is_near(last.end, mention.start) && is_weekday(last) && is_date(&mention) =>
            {
                mention.start = last.start;
                *last = mention;
            }
            Some(_) | None => kept.push(mention),
        }
    }
    kept
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
                When::DayOfMonth { .. } | When::Weekday(_) | When::Today | When::Tomorrow => None,
            })
            .collect()
    }

    #[test]
    fn every_way_to_write_a_date_is_read() {
        for text in [
            "24 November 2026",
            "24th of November, 2026",
            "November 24th, 2026",
            "Nov. 24, 2026",
            "24. November 2026",
            "24.11.2026",
            "24.11.26",
            "24. 11. 2026",
            "2026-11-24",
            "2026/11/24",
            "24/11/2026",
            "24/11/26",
            "11/24/2026",
            "24-11-2026",
            "24-Nov-2026",
            "24-Nov-26",
            "24 novembre 2026",
            "24 de noviembre de 2026",
            "24 de novembro de 2026",
            "24 november 2026",
            "le mardi 24 nov. 2026",
            "24º de novembro de 2026",
            "Tuesday 24 November 2026",
            "(24.11.2026)",
        ] {
            assert_eq!(days(text), [(24, 11, Some(2026))], "{text}");
        }
        for text in ["1er décembre", "1st December", "1.12.", "1/12", "Dec 1", "1 dic", "1º dez"]
        {
            assert_eq!(days(text), [(1, 12, None)], "{text}");
        }
        assert_eq!(days("3. März, 4 août, 5 mrt, 6 out, 7 set, 8 Jänner").len(), 6);
    }

    #[test]
    fn a_day_comes_first_where_both_are_possible() {
        assert_eq!(days("03/12/2026"), [(3, 12, Some(2026))]);
        assert_eq!(days("11/23 - 12/4"), [(23, 11, None), (4, 12, None)]);
        assert_eq!(days("23/11 - 4/12"), [(23, 11, None), (4, 12, None)]);
    }

    #[test]
    fn numbers_that_are_no_dates_are_left_alone() {
        for text in [
            "24/7",
            "+49 30 24.11.22.33",
            "call 030/12/34",
            "9.30 Uhr",
            "at 10.12 Uhr",
            "14:30",
            "99.99.",
            "1.234.567",
            "10-12",
            "version 2.11.4.7",
            "24.13.2026",
            "24 out of office",
            "192.168.1.12",
            "30.11.9999",
            "12.11€",
            "in November 2026",
            "500 mar",
        ] {
            assert_eq!(days(text), [], "{text}");
        }
    }

    #[test]
    fn the_later_end_of_a_range_is_known() {
        for text in [
            "20-24 November",
            "20. - 24. November",
            "20.11.-24.11.",
            "from 20 to 24 November",
            "Nov 20-24",
            "Nov 20 - Nov 24",
            "November 20 to 24",
            "vom 20. bis 24. November",
            "du 20 au 24 novembre",
            "del 20 al 24 de noviembre",
            "de 20 a 24 de novembro",
            "dal 20 al 24 novembre",
            "van 20 tot en met 24 november",
            "20 t/m 24 november",
            "between 20 and 24 November",
            "zwischen dem 20. und 24. November",
            "from Fri 20 November to Tuesday, 24 November",
            "20.–24.11.",
            "20/11 - 24/11",
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
    fn a_day_of_a_month_that_is_not_told_is_known_by_its_weekday_or_ending() {
        for (text, day) in [("lundi 30.", 30), ("Montag, den 30.", 30), ("the 30th", 30)] {
            let found = find(&words::tokens(text));
            assert_eq!(found.len(), 1, "{text}");
            assert!(matches!(found[0].when, When::DayOfMonth { day: found, .. } if found == day));
        }
        for text in ["Monday 9 am", "lundi 14h", "Monday 10-12", "Monday 9:00", "30th floor"] {
            let found = find(&words::tokens(text));
            assert!(!found.iter().any(|m| matches!(m.when, When::DayOfMonth { .. })), "{text}");
        }
    }

    #[test]
    fn weekdays_are_known_in_seven_languages() {
        for text in [
            "Monday",
            "Montag",
            "lundi",
            "lunes",
            "segunda-feira",
            "na segunda",
            "lunedì",
            "maandag",
        ] {
            let found = find(&words::tokens(text));
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].when, When::Weekday(chrono::Weekday::Mon), "{text}");
        }
        assert_eq!(find(&words::tokens("a segunda vez, mon ami")), []);
    }
}
