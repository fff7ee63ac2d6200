//! The written forms of a date: numbers, and numbers with the name of a month.

use super::When;
use crate::inbound::auto_reply::vocabulary;
use crate::inbound::words::{Token, TokenKind};

/// Which number of `03/12/2026` is the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    DayFirst,
    MonthFirst,
}

/// Endings of ordinal numbers.
pub(super) const ORDINALS: &[&str] = &["st", "nd", "rd", "th", "er", "re", "o", "eme", "e"];
/// Words between day, month and year.
const OF: &[&str] = &["of", "de", "di", "del", "do", "du", "d", "des"];
/// Words that make the number before them a time or a price.
pub(super) const NO_DATE_AFTER: &[&str] = &["uhr", "h", "pm", "eur", "euro", "usd"];

/// `24.11.2026`, `24.11.`, `24/11/26`, `2026-11-24`, `24. 11. 2026`.
pub(super) fn numeric(tokens: &[Token], at: usize, order: Order) -> Option<(When, usize)> {
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
        (1..=12, 1..=31) if sign == '/' && order == Order::MonthFirst => (two, one),
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

/// How this text writes its dates: month first if one of them cannot be read otherwise.
pub(super) fn order_of(tokens: &[Token]) -> Order {
    let is_month_first = (0..tokens.len()).any(|at| {
        let second = tokens.get(at + 2).filter(|token| digits(token) <= 2).and_then(Token::number);
        tokens.get(at + 1).is_some_and(|sign| sign.is_sign('/'))
            && second.is_some_and(|second| second > 12)
            && tokens[at].number().is_some_and(|first| (1..=12).contains(&first))
            && numeric(tokens, at, Order::DayFirst).is_some()
    });
    if is_month_first { Order::MonthFirst } else { Order::DayFirst }
}

/// The other reading of a date written as numbers with slashes and a year.
pub(super) fn changed_about(tokens: &[Token], when: When, at: usize) -> Option<When> {
    match when {
        When::Day { day, month, year: year @ Some(_) }
            if day <= 12 && tokens[at + 1].is_sign('/') && digits(&tokens[at]) <= 2 =>
        {
            day_of(month, day, year)
        }
        When::Day { .. }
        | When::DayOfMonth { .. }
        | When::Weekday(_)
        | When::Today
        | When::Tomorrow => None,
    }
}

/// `24 November 2026`, `24th of Nov.`, `24. November`, `1er décembre`, `24-Nov-2026`, `24 de mayo`.
pub(super) fn day_month(tokens: &[Token], at: usize) -> Option<(When, usize)> {
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
pub(super) fn month_day(tokens: &[Token], at: usize) -> Option<(When, usize)> {
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

/// A year after a month or a day, and the token after what was read.
pub(super) fn year_after(tokens: &[Token], at: usize) -> (Option<i32>, usize) {
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
    let is_dash =
        |at: usize| tokens.get(at).is_some_and(|token| token.is_attached && token.is_sign('-'));
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

/// Whether the number at `at` goes on from a number before it, as in a telephone number or a time.
pub(super) fn continues_a_number(tokens: &[Token], at: usize) -> bool {
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

pub(super) fn day_of(day: u32, month: u32, year: Option<i32>) -> Option<When> {
    ((1..=31).contains(&day) && (1..=12).contains(&month)).then_some(When::Day { day, month, year })
}

fn year(number: u32) -> Option<i32> {
    i32::try_from(number).ok().filter(|year| (2000..=2100).contains(year))
}

pub(super) fn digits(token: &Token) -> usize {
    // What is no number has too many digits for every question asked here.
    if token.kind == TokenKind::Number { token.text.len() } else { usize::MAX }
}
