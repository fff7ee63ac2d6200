//! On which day is the person back? For every day that a notice mentions, the words around it tell
//! what it is: the day of return, the last day away, the beginning of something, or nothing to us.
//! A day of return goes before a last day; of several last days the latest counts.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::dates::{self, Mention, When};
use super::vocabulary::{self, Cue};
use crate::inbound::words::{self, Token, TokenKind};

/// A return further ahead is a misreading, or of no use to a campaign.
const AHEAD_DAYS_MAX: u64 = 400;
/// A date without a year is the next of its name, unless it passed this recently: then the notice
/// was left switched on, and says nothing.
const STALE_DAYS_MAX: u64 = 90;
/// Words between a cue and its date: a preposition stands close, a verb may stand further off.
const PREPOSITION_REACH: usize = 4;
const VERB_REACH: usize = 12;
/// Tokens that are looked at on each side of a date.
const WINDOW: usize = 24;

/// What the mail is about, subject and body taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    /// Someone is away.
    Absence,
    /// No word of it.
    SomethingElse,
}

/// What a mention means, in rising order of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    /// A day away, for all one can tell.
    DayAway,
    /// A last day, perhaps of something else.
    LastDay,
    /// A last day, in a sentence about an absence.
    LastDayAway,
    /// The day of return.
    Back,
}

/// Whether a text speaks of an absence at all.
pub(super) fn tells_of_absence(text: &str) -> bool {
    words::contains_any(&words::phrase_space(text), vocabulary::ABSENCE)
}

/// Reads the first day back; `today` is the sender's date when the notice came.
///
/// The answer lies between today and 400 days ahead.
pub(super) fn read(text: &str, about: Topic, today: NaiveDate) -> Option<NaiveDate> {
    let tokens = words::tokens(text);
    let mentions = dates::find(&tokens);
    let mut best: Option<(Meaning, NaiveDate)> = None;
    for at in 0..mentions.len() {
        let Some(meaning) = meaning(&tokens, &mentions, at) else { continue };
        // "Valid until 31 December" in an acknowledgement is about an offer.
        if meaning == Meaning::LastDay && about == Topic::SomethingElse {
            continue;
        }
        let Mention { when, otherwise, .. } = mentions[at];
        let back_on = resolve(when, meaning, today)
            .or_else(|| otherwise.and_then(|when| resolve(when, meaning, today)));
        let Some(back_on) = back_on else { continue };
        let is_better = best.is_none_or(|(known, date)| match meaning {
            Meaning::Back => known < Meaning::Back,
            Meaning::DayAway | Meaning::LastDay | Meaning::LastDayAway => {
                (meaning, back_on) > (known, date)
            }
        });
        if is_better {
            best = Some((meaning, back_on));
        }
    }
    best.map(|(_, back_on)| back_on)
}

fn meaning(tokens: &[Token], mentions: &[Mention], at: usize) -> Option<Meaning> {
    let mention = &mentions[at];
    let before = words_before(tokens, mentions, at);
    let after = words_after(tokens, mentions, at);
    let sentence = words_between(tokens, sentence_of(tokens, mention));
    let is_about_absence = sentence.iter().any(|word| vocabulary::ABSENCE.contains(word));
    let last_day = match mention.when {
        // "Monday to Friday" is mostly an office hour.
        When::Weekday(_) if !is_about_absence || speaks_of_returning(&sentence) => None,
        _ if is_about_absence => Some(Meaning::LastDayAway),
        When::Weekday(_)
        | When::Day { .. }
        | When::DayOfMonth { .. }
        | When::Today
        | When::Tomorrow => Some(Meaning::LastDay),
    };
    if mention.ends_range {
        return last_day;
    }
    match nearest_cue(&before) {
        Some((Cue::Back, _)) => Some(Meaning::Back),
        // "I will not be back until Monday": back on Monday.
        Some((Cue::Until, cue_start)) if negates_a_return(&before[..cue_start]) => {
            Some(Meaning::Back)
        }
        Some((Cue::Until | Cue::After, _)) => last_day,
        Some((Cue::From, _)) => {
            (speaks_of_returning(&before) || speaks_of_returning(&after)).then_some(Meaning::Back)
        }
        // "Not back before Monday" and "back by Monday" both end on Monday.
        Some((Cue::Before, _)) => {
            (names_a_return(&before) || names_a_return(&after)).then_some(Meaning::Back)
        }
        None if mention.when == When::Tomorrow => {
            speaks_of_returning(&after).then_some(Meaning::Back)
        }
        None if speaks_of_returning(&after) || speaks_of_returning(&before) => Some(Meaning::Back),
        None => match mention.when {
            When::Day { .. } | When::Today if is_about_absence => Some(Meaning::DayAway),
            When::Day { .. }
            | When::DayOfMonth { .. }
            | When::Weekday(_)
            | When::Today
            | When::Tomorrow => None,
        },
    }
}

/// The first day back, if the mention is a real day within reach.
fn resolve(when: When, meaning: Meaning, today: NaiveDate) -> Option<NaiveDate> {
    let is_back = meaning == Meaning::Back;
    let date = match when {
        When::Day { day, month, year: Some(year) } => NaiveDate::from_ymd_opt(year, month, day)?,
        When::Day { day, month, year: None } => of_this_name(day, month, today)?,
        When::DayOfMonth { day, weekday } => next_of_a_month(day, weekday, today)?,
        When::Weekday(weekday) => next_weekday(weekday, today, meaning)?,
        When::Today => today,
        When::Tomorrow => today.succ_opt()?,
    };
    let back_on = if is_back { date } else { date.succ_opt()? };
    let latest = today.checked_add_days(Days::new(AHEAD_DAYS_MAX))?;
    (today <= back_on && back_on <= latest).then_some(back_on)
}

/// The date without a year that a notice of today means; it may have passed of late.
fn of_this_name(day: u32, month: u32, today: NaiveDate) -> Option<NaiveDate> {
    let earliest = today.checked_sub_days(Days::new(STALE_DAYS_MAX))?;
    (earliest.year()..=earliest.year().checked_add(1)?)
        .filter_map(|year| NaiveDate::from_ymd_opt(year, month, day))
        .find(|date| *date >= earliest)
}

/// The next such day of a month, within the months that a notice without a month can mean.
fn next_of_a_month(day: u32, weekday: Option<Weekday>, today: NaiveDate) -> Option<NaiveDate> {
    today
        .iter_days()
        .take(95)
        .find(|date| date.day() == day && weekday.is_none_or(|weekday| date.weekday() == weekday))
}

fn next_weekday(weekday: Weekday, today: NaiveDate, meaning: Meaning) -> Option<NaiveDate> {
    let mut ahead = weekday.days_since(today.weekday());
    // Nobody who is away on a Monday is "back on Monday" the same day.
    if ahead == 0 && meaning == Meaning::Back {
        ahead = 7;
    }
    today.checked_add_days(Days::new(ahead.into()))
}

/// The cue that decides: the nearest within its reach, and of those that end together the longest.
/// Returns it with the index of its first word.
fn nearest_cue(before: &[&str]) -> Option<(Cue, usize)> {
    let mut best: Option<(Cue, usize, usize)> = None;
    for (phrase, cue) in vocabulary::CUES {
        let length = phrase.split(' ').count();
        let reach = match cue {
            Cue::Back => VERB_REACH,
            Cue::Until | Cue::From | Cue::After | Cue::Before => PREPOSITION_REACH,
        };
        let last_start = before.len().checked_sub(length);
        let Some(start) = last_start.and_then(|last| {
            (0..=last)
                .rev()
                .find(|start| phrase.split(' ').eq(before[*start..*start + length].iter().copied()))
        }) else {
            continue;
        };
        let end = start + length;
        let is_nearer =
            best.is_none_or(|(_, known_start, known_end)| (end, known_start) > (known_end, start));
        if before.len() - end <= reach && is_nearer {
            best = Some((*cue, start, end));
        }
    }
    best.map(|(cue, start, _)| (cue, start))
}

fn names_a_return(words: &[&str]) -> bool {
    words.iter().any(|word| vocabulary::RETURNING.contains(word))
}

/// Whether the words speak of being back, and not of not being so.
fn speaks_of_returning(words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .any(|(at, word)| vocabulary::RETURNING.contains(word) && !is_negated(words, at))
}

fn negates_a_return(words: &[&str]) -> bool {
    let is_return = |word: &str| {
        vocabulary::CUES.iter().any(|(phrase, cue)| *cue == Cue::Back && *phrase == word)
    };
    words.iter().enumerate().any(|(at, word)| is_return(word) && is_negated(words, at))
}

fn is_negated(words: &[&str], at: usize) -> bool {
    words[at.saturating_sub(5)..at].iter().any(|word| vocabulary::NEGATIONS.contains(word))
}

/// The words of the same sentence before a mention, as far as the mention before it.
fn words_before<'a>(tokens: &'a [Token], mentions: &[Mention], at: usize) -> Vec<&'a str> {
    let mention = &mentions[at];
    let (start, _) = sentence_of(tokens, mention);
    let start = match at.checked_sub(1).map(|before| &mentions[before]) {
        Some(before) => start.max(before.end),
        None => start,
    };
    words_between(tokens, (start, mention.start))
}

/// The words of the same sentence after a mention. Where another follows, only those that a comma
/// or an "and" parts from it: in "from 20 November and back on the 25th" the words belong to the 25th.
fn words_after<'a>(tokens: &'a [Token], mentions: &[Mention], at: usize) -> Vec<&'a str> {
    let mention = &mentions[at];
    let (_, end) = sentence_of(tokens, mention);
    let end = match mentions.get(at + 1).filter(|next| next.start < end) {
        Some(next) => (mention.end..next.start)
            .rev()
            .find(|place| {
                tokens[*place].is_sign(',')
                    || vocabulary::AND.contains(&tokens[*place].text.as_str())
            })
            .unwrap_or(mention.end),
        None => end,
    };
    words_between(tokens, (mention.end, end))
}

fn words_between(tokens: &[Token], (start, end): (usize, usize)) -> Vec<&str> {
    tokens[start..end.max(start)]
        .iter()
        .filter(|token| token.kind == TokenKind::Word)
        .map(|token| token.text.as_str())
        .collect()
}

/// The tokens of the mention's sentence, or as much of it as is looked at.
fn sentence_of(tokens: &[Token], mention: &Mention) -> (usize, usize) {
    let first = mention.start.saturating_sub(WINDOW);
    let last = tokens.len().min(mention.end + WINDOW);
    let start = (first..mention.start)
        .rev()
        .find(|at| ends_sentence(tokens, *at))
        .map_or(first, |at| at + 1);
    // A date may end in the dot that also ends its sentence.
    let ends_here = mention.end > 0 && ends_sentence(tokens, mention.end - 1);
    let end = if ends_here {
        mention.end
    } else {
        (mention.end..last).find(|at| ends_sentence(tokens, *at)).unwrap_or(last)
    };
    (start, end)
}

fn ends_sentence(tokens: &[Token], at: usize) -> bool {
    let token = &tokens[at];
    match token.kind {
        TokenKind::Break => return true,
        TokenKind::Word | TokenKind::Number => return false,
        TokenKind::Sign => {}
    }
    match token.text.as_str() {
        "!" | "?" | ";" => true,
        "." => {
            let next = tokens.get(at + 1);
            if next.is_some_and(|next| next.is_attached) {
                return false;
            }
            let Some(before) = at.checked_sub(1).map(|before| &tokens[before]) else { return true };
            match before.kind {
                // After a number the dot may belong to it: only a capital that starts no month or
                // weekday begins a sentence.
                TokenKind::Number => next.is_some_and(|next| {
                    next.is_capital
                        && vocabulary::month(&next.text).is_none()
                        && vocabulary::weekday(None, &next.text, None).is_none()
                }),
                // Abbreviations are short.
                TokenKind::Word => {
                    before.text.len() > 2
                        && !(before.text.len() <= 4 && vocabulary::month(&before.text).is_some())
                }
                TokenKind::Sign | TokenKind::Break => true,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::{Topic, read, tells_of_absence};

    /// Friday, 20 November 2026.
    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 20).expect("a date")
    }

    #[track_caller]
    fn back_on(text: &str, expected: Option<&str>) {
        let expected = expected.map(|date| date.parse::<NaiveDate>().expect("a date"));
        let about = if tells_of_absence(text) { Topic::Absence } else { Topic::SomethingElse };
        assert_eq!(read(text, about, today()), expected, "{text}");
    }

    #[test]
    fn until_means_the_last_day_away_and_back_on_the_day_of_return() {
        back_on("I am out of the office until 24 November.", Some("2026-11-25"));
        back_on("I am out of the office and will be back on 24 November.", Some("2026-11-24"));
        back_on("Away through Nov 24, returning Nov 25.", Some("2026-11-25"));
        back_on("I will not be back in the office until 24 November.", Some("2026-11-24"));
        back_on("I won't be returning until the 24th of November.", Some("2026-11-24"));
        back_on("I am away until I return on 1 December.", Some("2026-12-01"));
        back_on("I'll be back by 24 November at the latest.", Some("2026-11-24"));
        back_on("I'm not back before 24 November.", Some("2026-11-24"));
        back_on("I am away and will answer after 24 November.", Some("2026-11-25"));
    }

    #[test]
    fn a_beginning_is_no_return() {
        back_on("I will be on leave from 20 November.", None);
        back_on("I am out from 20 November and will be back on 25 November.", Some("2026-11-25"));
        back_on("I am available again from 24 November.", Some("2026-11-24"));
        back_on("I am not available from 23 November.", None);
        back_on("Ab dem 20.11. bin ich nicht erreichbar.", None);
        back_on("Ich bin ab dem 3. Dezember im Urlaub.", None);
        back_on("Ich bin ab dem 3. Dezember wieder im Büro.", Some("2026-12-03"));
    }

    #[test]
    fn german_verbs_may_come_last() {
        back_on("Am 3. Dezember bin ich wieder da.", Some("2026-12-03"));
        back_on("Ich kehre am 25.11.2026 ins Büro zurück.", Some("2026-11-25"));
        back_on("Ich bin erst ab Montag, dem 30.11., wieder erreichbar.", Some("2026-11-30"));
        back_on(
            "Bis einschließlich 24.11. bin ich im Urlaub. In dringenden Fällen ...",
            Some("2026-11-25"),
        );
        back_on("Ich bin nicht vor dem 24.11. zurück.", Some("2026-11-24"));
    }

    #[test]
    fn other_languages_say_the_same() {
        back_on("Je suis absent jusqu'au 24 novembre inclus.", Some("2026-11-25"));
        back_on("Je serai de retour le mercredi 25 novembre.", Some("2026-11-25"));
        back_on("En congés du 20 au 24 novembre.", Some("2026-11-25"));
        back_on("Je ne serai pas de retour avant le 1er décembre.", Some("2026-12-01"));
        back_on("Estaré fuera de la oficina hasta el 24 de noviembre.", Some("2026-11-25"));
        back_on("No volveré hasta el 24 de noviembre.", Some("2026-11-24"));
        back_on("Estaré de vuelta el lunes.", Some("2026-11-23"));
        back_on("Estarei ausente até 24 de novembro.", Some("2026-11-25"));
        back_on("Retorno no dia 24/11.", Some("2026-11-24"));
        back_on("Volto na segunda.", Some("2026-11-23"));
        back_on("Sono in ferie fino al 24 novembre.", Some("2026-11-25"));
        back_on("Rientrerò il 25/11/2026.", Some("2026-11-25"));
        back_on("Ik ben afwezig tot en met 24 november.", Some("2026-11-25"));
        back_on("Ik ben weer aanwezig op woensdag 25 november.", Some("2026-11-25"));
    }

    #[test]
    fn weekdays_are_the_next_of_their_name() {
        back_on("I am out until Monday.", Some("2026-11-24"));
        back_on("Back on Monday!", Some("2026-11-23"));
        back_on("Back on Friday.", Some("2026-11-27"));
        back_on("Out of office until Friday.", Some("2026-11-21"));
        back_on("Our office hours are Monday to Friday, 9-17.", None);
        back_on("We are open from Monday until Friday.", None);
    }

    #[test]
    fn relative_days_count_from_the_day_of_the_notice() {
        back_on("I am out of the office today.", Some("2026-11-21"));
        back_on("I'm away and back tomorrow.", Some("2026-11-21"));
        back_on("Guten Morgen, wir haben Ihre Mail erhalten.", None);
        back_on("Thanks for writing today, we answer soon.", None);
    }

    #[test]
    fn years_are_inferred_within_reach() {
        back_on("Back on 3 January.", Some("2027-01-03"));
        back_on("Back on 19 November.", None);
        back_on("Out until 19 November.", Some("2026-11-20"));
        back_on("Back on 15 August.", Some("2027-08-15"));
        back_on("Out until 24.11.2025.", None);
        back_on("Out until 24.11.2028.", None);
        back_on("Back on 31 November.", None);
        back_on("Back on 29 February.", None);
    }

    #[test]
    fn a_day_of_return_wins_over_any_last_day() {
        back_on("Closed until 2 January 2027. I am back on 24 November.", Some("2026-11-24"));
        back_on("Away 20.11.2026 - 24.11.2026\nBack: 26.11.2026", Some("2026-11-26"));
        back_on("I am away until 24 November, then again until 30 November.", Some("2026-12-01"));
    }

    #[test]
    fn notices_in_the_words_of_everyday() {
        back_on(
            "I will be out of the office starting 11/23/2026 and will not return until 11/30/2026.",
            Some("2026-11-30"),
        );
        back_on("OOO 11/23 - 12/4", Some("2026-12-05"));
        back_on("I'm back on 12/1/2026.", Some("2026-12-01"));
        back_on("Out 11/23-11/27, back the 30th.", Some("2026-11-30"));
        back_on("Limited access until Monday 11/30.", Some("2026-12-01"));
        back_on("Return date: 30/11/2026", Some("2026-11-30"));
        back_on("My first day back is 30 November.", Some("2026-11-30"));
        back_on(
            "Offline from Friday, Nov 20th until Sunday, Nov 29th (inclusive).",
            Some("2026-11-30"),
        );
        back_on(
            "Our offices are closed Thursday and Friday and will reopen Monday, November 30.",
            Some("2026-11-30"),
        );
        back_on(
            "I'm out today, Friday 20 November, and will be back Monday 23 November.",
            Some("2026-11-23"),
        );
        back_on(
            "Bis zum 27.11.2026 nicht im Haus. Ab dem 30.11.2026 bin ich wieder erreichbar.",
            Some("2026-11-30"),
        );
        back_on(
            "In der Zeit vom 23.11.2026 bis einschließlich 04.12.2026 bin ich nicht erreichbar.",
            Some("2026-12-05"),
        );
        back_on("Rückkehr: Montag, den 30. November", Some("2026-11-30"));
        back_on("Ab Montag wieder im Büro", Some("2026-11-23"));
        back_on("Am 23.11. und 24.11. bin ich nicht im Büro.", Some("2026-11-25"));
        back_on("Heute in Terminen und ab morgen wieder erreichbar.", Some("2026-11-21"));
        back_on("In Elternzeit bis voraussichtlich Januar 2028.", None);
        back_on("Je suis absent du lundi 23 au vendredi 27 novembre.", Some("2026-11-28"));
        back_on("Absent jusqu'au lundi 30.", Some("2026-12-01"));
        back_on("Estaré fuera del lunes 23 al viernes 27 de noviembre.", Some("2026-11-28"));
        back_on("De vacaciones hasta el lunes 30.", Some("2026-12-01"));
        back_on("Estarei de férias até dia 27/11.", Some("2026-11-28"));
        back_on("Sarò di nuovo in ufficio dal 30 novembre.", Some("2026-11-30"));
        back_on("Op maandag 30 november ben ik weer bereikbaar.", Some("2026-11-30"));
    }

    #[test]
    fn texts_without_a_return_tell_none() {
        back_on("We got your request. Our winter offer is valid until 31 December.", None);
        back_on("I work Monday to Wednesday. I'm never in on Thursday.", None);
        back_on("Thank you for your message. We answer within 24 hours, 24/7.", None);
        back_on("Your ticket #20261124 was received on 20 November 2026.", None);
        back_on("Until further notice I am away.", None);
        back_on("", None);
    }
}
