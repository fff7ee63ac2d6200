//! Every clock change of ten years, in every zone. From a day before to two days after it each
//! quarter of an hour is held against the definition: all offsets, changes and windows here fall on
//! quarters, so that nothing lies between. Questions are asked at each quarter near the change, and
//! every six hours of the lead's day further off.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use chrono::{DateTime, Datelike, Days, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use machine::calendar::{self, Calendar, Weekday, Window};

use crate::{Reading, at, time, window};

const QUARTER: TimeDelta = TimeDelta::minutes(15);

struct Change {
    zone: Tz,
    at: DateTime<Utc>,
    /// What the clock shows when it is moved, and what it is moved to.
    shown: [NaiveDateTime; 2],
}

fn offset(zone: Tz, at: DateTime<Utc>) -> TimeDelta {
    at.with_timezone(&zone).naive_local() - at.naive_utc()
}

/// Every change from 2024 to 2034, found by comparing the offsets of one day and the next.
static CHANGES: LazyLock<Vec<Change>> = LazyLock::new(|| {
    let mut found = Vec::new();
    for zone in TZ_VARIANTS {
        let mut day = at("2024-01-01T00:00:00Z");
        let end = at("2035-01-01T00:00:00Z");
        let mut before = offset(zone, day);
        while day < end {
            let next = day + TimeDelta::days(1);
            let after = offset(zone, next);
            if before != after {
                let (mut low, mut high) = (day, next);
                while high - low > TimeDelta::seconds(1) {
                    let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
                    if offset(zone, middle) == before { low = middle } else { high = middle }
                }
                let whole = |seconds: i64| seconds % QUARTER.num_seconds() == 0;
                assert!(whole(high.timestamp()) && whole(after.num_seconds()), "{zone} at {high}");
                let shown = [before, after].map(|offset| high.naive_utc() + offset);
                found.push(Change { zone, at: high, shown });
            }
            (day, before) = (next, after);
        }
    }
    assert!(found.len() > 4_000, "only {} changes found", found.len());
    found
});

/// Windows whose edges lie before, at, inside and after what the change skips or repeats.
fn calendars(change: &Change) -> Vec<Calendar> {
    let [low, high] = {
        let [from, to] = change.shown;
        if from < to { [from, to] } else { [to, from] }
    };
    let clock = |local: NaiveDateTime| local.format("%H:%M").to_string();
    let middle = low + QUARTER;
    let hour = TimeDelta::hours(1);
    let spans = [
        (low, high),
        (low - hour, middle),
        (middle, high + hour),
        (middle, middle + QUARTER),
        (low - hour, low),
        (high, high + hour),
        (high + hour, low - hour),
        (middle + QUARTER, middle),
    ];
    let today = low.date();
    let holidays = BTreeSet::from([today.succ_opt().unwrap()]);
    let starts = |days: Vec<Weekday>, from, to| Window {
        days,
        from: time(&clock(from)),
        to: time(&clock(to)),
    };
    let mut calendars: Vec<Calendar> = spans
        .into_iter()
        .map(|(from, to)| Calendar {
            windows: vec![starts(Weekday::ALL.to_vec(), from, to)],
            holidays: BTreeSet::new(),
        })
        .collect();
    // On that day alone, beside another window, and with the day itself or the next one off.
    let that_day = vec![Weekday::from(today.weekday())];
    calendars.push(Calendar {
        windows: vec![
            starts(that_day, middle, high + hour),
            window(&Weekday::ALL, "09:00", "12:00"),
        ],
        holidays: BTreeSet::new(),
    });
    calendars.push(Calendar {
        windows: vec![starts(Weekday::ALL.to_vec(), low - hour, middle)],
        holidays: holidays.clone(),
    });
    // Always open: a day off in each week, or the closing lies a year ahead.
    let later = today + Days::new(4);
    calendars.push(Calendar { windows: vec![], holidays: &holidays | &BTreeSet::from([later]) });
    calendars.push(Calendar { windows: vec![], holidays: BTreeSet::from([today, later]) });
    calendars
}

/// One question to a calendar near a change, with the answers of the definition.
struct Question<'a> {
    calendar: &'a Calendar,
    zone: Tz,
    now: DateTime<Utc>,
    /// The first open and the first closed instant from `now` on; `None`: not before `last`.
    opens: Option<DateTime<Utc>>,
    closes: Option<DateTime<Utc>>,
    last: DateTime<Utc>,
}

fn ask(check: impl Fn(&Question<'_>) -> bool) {
    for change in CHANGES.iter() {
        let zone = change.zone;
        let instants: Vec<(DateTime<Utc>, Reading)> = (-26 * 4..=50 * 4)
            .map(|quarters| change.at + QUARTER * quarters)
            .map(|instant| (instant, Reading::of(zone, instant)))
            .collect();
        let last = instants.last().unwrap().0;
        for calendar in &calendars(change) {
            let (mut opens, mut closes) = (None, None);
            for &(now, ref reading) in instants.iter().rev() {
                if reading.is_open(calendar) {
                    opens = Some(now);
                } else {
                    closes = Some(now);
                }
                let near = (now - change.at).abs() < TimeDelta::hours(4);
                if near || reading.minute_of_day % (6 * 60) == 0 {
                    let question = Question { calendar, zone, now, opens, closes, last };
                    assert!(
                        check(&question),
                        "{zone} at {now}: opens {opens:?}, closes {closes:?}; answered {:?}, \
                         {:?}; {calendar:?}",
                        calendar.next_opening(zone, now),
                        calendar.closes_at(zone, now),
                    );
                }
            }
        }
    }
}

#[test]
fn openings_are_those_of_the_definition() {
    ask(|question| {
        let Question { calendar, zone, now, opens, last, .. } = *question;
        calendar.next_opening(zone, now).is_ok_and(|opening| match opens {
            Some(opens) => opening.at == opens,
            None => opening.at > last,
        })
    });
}

#[test]
fn closings_are_those_of_the_definition() {
    ask(|question| {
        let Question { calendar, zone, now, opens, closes, last } = *question;
        let closing = calendar.closes_at(zone, now);
        let open = opens == Some(now);
        calendar.is_open(zone, now) == open
            && match closes {
                _ if !open => closing.is_none(),
                Some(closes) => closing == Some(closes),
                None => closing > Some(last),
            }
    });
}

#[test]
fn wall_times_are_resolved_as_the_clock_shows_them() {
    for change in CHANGES.iter() {
        let [from, to] = change.shown;
        let zone = change.zone;
        let gap = to - from;
        for minutes in (-180..180).step_by(15) {
            let local = from + TimeDelta::minutes(minutes);
            let resolved = calendar::resolve_local(zone, local);
            let shown = resolved.with_timezone(&zone).naive_local();
            if from <= local && local < to {
                assert_eq!(shown, local + gap, "{zone} {local}");
            } else {
                assert_eq!(shown, local, "{zone} {local}");
                // The first: as long before, the clock showed something else.
                let earlier = resolved - gap.abs();
                assert_ne!(earlier.with_timezone(&zone).naive_local(), local, "{zone}");
            }
            let time = time(&local.format("%H:%M").to_string());
            assert_eq!(calendar::next_local_time(zone, time, resolved), resolved, "{zone}");
        }
    }
}
